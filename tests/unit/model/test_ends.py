"""Responses end alike, whoever wrote them: a family with several end tokens, of which its template and its tokenizer
name different ones.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from families import picture_problems, tiny_policy

from vergence.errors import ModelError
from vergence.model.ends import end_of_turn, ended_alike
from vergence.model.policy import Policy, encode
from vergence.model.reward_head import RAW, RewardModel, fresh_head
from vergence.model.vision import CachedTower
from vergence.pairs.comparisons import Comparison, Shares, compared_groups
from vergence.scoring.wording import wording_of
from vergence.stages.align import caption_targets
from vergence.stages.mpo.offline import file_pairs
from vergence.stages.reward_model.loop import loss_parts
from vergence.types import Caption, Completion, Finish, RolloutGroup, ScoredGroup

TURN = "<end_of_utterance>"
CLOSING = (
    "{% for message in messages %}{% for part in message.content %}{% if part.type == 'image' %}<image>{% else %}"
    "{{ part.text }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
)
"""What instruction-tuned checkpoints have: each turn is closed by a token of its own."""


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    """Its tokenizer's end token is <eos>; it may also end with the token that closes its turns."""
    policy = tiny_policy("smolvlm", tmp_path / "models")
    policy.tokenizer.chat_template = CLOSING
    policy.model.generation_config.eos_token_id = [policy.tokenizer.eos_token_id, turn_of(policy)]
    return policy


def turn_of(policy: Policy) -> int:
    (found,) = policy.tokenizer(TURN, add_special_tokens=False)["input_ids"]
    assert found != policy.tokenizer.eos_token_id
    return int(found)


def sampled(policy: Policy, text: str, *ends: int) -> Completion:
    """A text with whatever the sampler ended it with; nothing is a response that was cut off."""
    ids = np.array([*policy.tokenizer(text, add_special_tokens=False)["input_ids"], *ends], dtype=np.int64)
    return Completion(ids, np.full(len(ids), -1.0, np.float32), Finish.STOP if ends else Finish.LENGTH, 0, text)


def test_the_end_of_a_turn_is_what_the_chat_template_writes_behind_one(policy: Policy) -> None:
    assert turn_of(policy) == end_of_turn(policy)


@pytest.mark.parametrize(
    "template",
    [
        None,
        "{{ messages[0].content[0].text }}",  # no place for a response
        CLOSING.replace(TURN, "."),  # closes with a token that ends nothing
        CLOSING.replace("{% for part", "{{ raise_exception('no responses') }}{% for part"),
    ],
)
def test_where_the_template_does_not_say_it_is_the_tokenizers(policy: Policy, template: str | None) -> None:
    policy.tokenizer.chat_template = template
    assert policy.tokenizer.eos_token_id == end_of_turn(policy)


def test_a_template_that_takes_text_alone_is_understood(policy: Policy) -> None:
    policy.tokenizer.chat_template = (
        "{% for message in messages %}{% if message.role == 'assistant' %}{{ message.content + '<end_of_utterance>' }}"
        "{% endif %}{% endfor %}"
    )
    assert turn_of(policy) == end_of_turn(policy)


def test_a_model_without_any_end_token_is_refused(policy: Policy) -> None:
    policy.model.generation_config.eos_token_id = None
    policy.tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no end token; name eos_token_id in its generation_config"):
        end_of_turn(policy)


def test_only_the_end_of_a_finished_response_is_replaced(policy: Policy) -> None:
    turn, eos = turn_of(policy), policy.tokenizer.eos_token_id
    (a, b) = policy.tokenizer("ab", add_special_tokens=False)["input_ids"]
    for ends in ((turn,), (eos,)):
        assert [a, b, turn] == ended_alike(sampled(policy, "ab", *ends), (turn, eos), turn).token_ids.tolist()
    cut = sampled(policy, "ab")
    assert cut is ended_alike(cut, (turn, eos), turn)
    bare = Completion(np.array([a]), np.zeros(1, np.float32), Finish.STOP, 0, "a")  # from somewhere without end tokens
    assert [a, turn] == ended_alike(bare, (turn, eos), turn).token_ids.tolist()


@pytest.fixture
def model(policy: Policy) -> RewardModel:
    return RewardModel(policy, fresh_head(policy, 0), CachedTower(policy), RAW)


def test_a_reward_model_scores_a_text_alike_whichever_token_ended_it_and_a_cut_off_one_as_cut_off(
    policy: Policy, model: RewardModel, tmp_path: Path
) -> None:
    (problem,) = picture_problems(tmp_path / "pictures", 1)
    prompt, write = encode(policy, problem), wording_of(policy).completion
    turn, eos = turn_of(policy), policy.tokenizer.eos_token_id
    every = [sampled(policy, "yes", turn), sampled(policy, "yes", eos), write("yes"), sampled(policy, "yes")]
    every.append(write("yes", Finish.LENGTH))
    scores = [model.raw([(prompt, one)])[0] for one in every]  # each alone, so that all are computed alike
    assert scores[0] == scores[1] == scores[2]
    assert scores[3] == scores[4]
    assert abs(scores[0] - scores[3]) > 1e-6, "that a response was cut off is told"


def test_a_reward_model_learns_nothing_from_the_tokens_that_end_two_equal_texts(
    policy: Policy, model: RewardModel, tmp_path: Path
) -> None:
    """Bradley-Terry over a text against itself: log 2, and no gradient, whoever wrote the two."""
    (problem,) = picture_problems(tmp_path / "pictures", 1)
    prompt = encode(policy, problem)
    sides = sampled(policy, "yes", policy.tokenizer.eos_token_id), wording_of(policy).completion("yes")
    model.head.weight.requires_grad_(True)
    (part,) = loss_parts(model, [Comparison((prompt, sides[0]), (prompt, sides[1]), "corruption")])
    loss = part().loss
    loss.backward()
    assert pytest.approx(np.log(2), abs=1e-6) == loss.item()
    assert model.head.weight.grad is not None
    assert float(model.head.weight.grad.abs().max()) < 1e-6


def test_a_response_and_its_damaged_version_are_cut_into_tokens_and_end_alike(policy: Policy, tmp_path: Path) -> None:
    """The response was sampled with the other end token, and in tokens of which its text does not tell."""
    (problem,) = picture_problems(tmp_path / "pictures", 1)
    good = sampled(policy, "it is 2", policy.tokenizer.eos_token_id)
    ones = np.ones(1)
    group = RolloutGroup(encode(policy, problem), (good,))
    scored = ScoredGroup(group, {"accuracy": ones, "format": ones}, {}, ones, ones)
    shares = Shares(rule=0.0, reasoning=0.0, elsewhere=0.0, wrong_image=0.0)
    (made,) = compared_groups([scored], shares, wording_of(policy), np.random.default_rng(0))
    for _, one in (made.better, made.worse):
        body = policy.tokenizer(one.text, add_special_tokens=False)["input_ids"]
        assert [*body, turn_of(policy)] == one.token_ids.tolist()
    assert ("it is 2", Finish.STOP) == (made.better[1].text, made.better[1].finish)
    assert made.worse[1].text != "it is 2"


def test_captions_to_imitate_end_as_a_turn_does(policy: Policy, tmp_path: Path) -> None:
    (problem,) = picture_problems(tmp_path / "pictures", 1)
    ((_, target),) = caption_targets(policy, [Caption(problem, "it is 2")])
    assert turn_of(policy) == target.token_ids[-1]


def test_both_sides_of_a_pair_from_a_file_end_alike_or_were_cut_off(policy: Policy, tmp_path: Path) -> None:
    """Named tokens with either end, texts alone, and responses that were cut off, in tokens or as text."""
    eos = policy.tokenizer.eos_token_id
    tokens = {text: policy.tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("yes", "no")}
    shared = {"question": "what?", "images": [], "chosen": "yes", "rejected": "no"}
    rows = [
        shared | {"chosen_tokens": [*tokens["yes"], eos], "rejected_tokens": [*tokens["no"], turn_of(policy)]},
        shared | {"chosen_tokens": [*tokens["yes"], eos]},
        shared | {"rejected_tokens": tokens["no"]},
        shared | {"rejected_finish": "length"},
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ended, cut = [*tokens["no"], turn_of(policy)], tokens["no"]
    pairs = file_pairs(path, policy, 99, seed=0)
    assert [[*tokens["yes"], turn_of(policy)]] * 4 == [pair.chosen.token_ids.tolist() for pair in pairs]
    assert [ended, ended, cut, cut] == [pair.rejected.token_ids.tolist() for pair in pairs]
    assert [Finish.STOP, Finish.STOP, Finish.LENGTH, Finish.LENGTH] == [pair.rejected.finish for pair in pairs]
