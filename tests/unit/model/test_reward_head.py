"""A reward model's raw score, against transformers' own forward pass of one response at a time, in every family."""

import numpy as np
import pytest
import torch
from families import DISTINCT, model_inputs, picture_problems, tiny_policy

from vergence.errors import ModelError
from vergence.model.policy import encode
from vergence.model.reward_head import RAW, Calibration, RewardModel, fresh_head, load_reward_model, save_reward_model
from vergence.model.vision import CachedTower
from vergence.scoring.wording import wording_of
from vergence.types import Finish

CPU = torch.device("cpu")
TEXTS = ("yes", "no no no", "42")


def plain_score(model: RewardModel, prompt, completion) -> float:
    """The whole Hugging Face model over one sequence: the head on the last hidden state of the last token."""
    policy = model.backbone
    ids = torch.from_numpy(np.concatenate([prompt.token_ids, completion.token_ids]))[None]
    with torch.no_grad():
        hidden = policy.model.model(**model_inputs(policy, prompt, ids)).last_hidden_state[0, -1]
        return float(model.head(hidden)[0])


@pytest.mark.parametrize("family", DISTINCT)
def test_raw_scores_are_those_of_the_plain_forward_pass(family: str, tmp_path) -> None:
    policy = tiny_policy(family, tmp_path / "policies")
    model = RewardModel(policy, fresh_head(policy, 0), CachedTower(policy), RAW, microbatch_tokens=200)
    members = [
        (encode(policy, problem), wording_of(policy).completion(text, finish))
        for problem in picture_problems(tmp_path / "pictures", 5)
        for text, finish in zip(TEXTS, (Finish.STOP, Finish.STOP, Finish.LENGTH), strict=True)
    ]
    expected = [plain_score(model, prompt, completion) for prompt, completion in members]
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(expected, model.raw(members), atol=2e-5)


def test_no_member_has_no_score(tmp_path) -> None:
    policy = tiny_policy("llava", tmp_path)
    assert (0,) == RewardModel(policy, fresh_head(policy, 0), CachedTower(policy), RAW).raw([]).shape


def test_another_picture_is_another_score_and_another_prompt_without_pictures_is_not(tmp_path) -> None:
    policy = tiny_policy("internvl", tmp_path / "policies")
    model = RewardModel(policy, fresh_head(policy, 0), CachedTower(policy), RAW)
    first, second, *_ = picture_problems(tmp_path / "pictures", 2)
    wording = wording_of(policy)
    completion = wording.completion("yes")
    own, swapped = (
        wording.prompt(type(first)(name, "what?", images, "", "any", frozenset(), ""))
        for name, images in (("own", first.images), ("swapped", second.images))
    )
    same = wording.prompt(type(first)("same", "what?", first.images, "", "any", frozenset(), ""))
    scores = model.raw([(own, completion), (swapped, completion), (same, completion)])
    assert abs(scores[0] - scores[1]) > 1e-4
    assert scores[0] == pytest.approx(scores[2], abs=1e-6)


def test_a_completion_ends_with_the_end_token_unless_it_was_cut_off(tmp_path) -> None:
    policy = tiny_policy("llava", tmp_path)
    write = wording_of(policy).completion
    whole, cut = write("yes"), write("yes", Finish.LENGTH)
    assert [*cut.token_ids, policy.tokenizer.eos_token_id] == whole.token_ids.tolist()
    assert policy.tokenizer.decode(cut.token_ids) == "yes"


def test_a_calibration_is_the_median_and_half_the_middle_68_per_cent() -> None:
    """0, 1, ..., 100: median 50, from 16 to 84."""
    found = Calibration.measured(np.random.default_rng(0).permutation(101).astype(float))
    assert Calibration(50.0, 34.0) == found
    np.testing.assert_allclose([-1.0, 0.0, 1.0], found.apply(np.array([16.0, 50.0, 84.0])))
    assert Calibration(3.0, 1e-6) == Calibration.measured(np.full(5, 3.0))


def test_weights_and_calibration_survive_saving(tmp_path) -> None:
    policy = tiny_policy("llava", tmp_path / "policies")
    model = RewardModel(policy, fresh_head(policy, 3), CachedTower(policy), Calibration(0.1, 0.7))
    save_reward_model(model, tmp_path / "rm", example_question="what?")
    again = load_reward_model(tmp_path / "rm", CPU, microbatch_tokens=77)
    assert torch.equal(model.head.weight, again.head.weight)
    assert (Calibration(0.1, 0.7), 77) == (again.calibration, again.microbatch_tokens)
    with pytest.raises(ModelError, match=r"no reward\.json"):
        load_reward_model(tmp_path, CPU)
