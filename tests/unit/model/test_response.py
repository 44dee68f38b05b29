"""The text that is graded is the text that was generated, and a tag that the template wrote counts as written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import NAMES, SPECIAL, picture_problems, tiny_policy

from vergence.digits.tokens import build_tokenizer
from vergence.model.policy import Policy, encode
from vergence.model.response import ResponseText, silent_token_ids
from vergence.model.vision import CachedTower
from vergence.reward.form import BOXED, TAGS
from vergence.reward.form_watch import FormWatch
from vergence.reward.hybrid import RULES, RuleReward
from vergence.reward.rules import format_reward
from vergence.rollout.continuation import Beginning, joined
from vergence.rollout.decode import sample_groups
from vergence.rollout.stream import stream_tokens
from vergence.types import Completion, Finish, Grade, Prompt, RolloutGroup, Sampling, Verdict, own_part, response

from ..builders import RIGHT, completion, problem, prompt

TAG_TOKENS = ["<think>", "</think>", "<answer>", "</answer>"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def with_special_tags(policy: Policy) -> list[int]:
    """The ids of the four tags, which the tokenizer takes for special from now on; they replace letters a to d."""
    tokenizer = policy.tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": TAG_TOKENS}, replace_extra_special_tokens=False)
    ids = tokenizer.convert_tokens_to_ids(TAG_TOKENS)
    assert {"<think>", "</answer>"} <= set(tokenizer.all_special_tokens)
    assert "" == tokenizer.decode(ids, skip_special_tokens=True), "which is what graders were given"
    return [int(one) for one in ids]


@pytest.mark.parametrize("family", NAMES)
def test_special_tokens_that_stand_for_text_are_part_of_it(family: str, folder: Path) -> None:
    policy = tiny_policy(family, folder)
    think, thought, answer, answered = with_special_tags(policy)
    a, b = policy.tokenizer.convert_tokens_to_ids(["a", "b"])
    end = policy.tokenizer.eos_token_id
    text_of = ResponseText(policy)
    assert "<think>a</think><answer>b</answer>" == text_of([think, a, thought, answer, b, answered, end])
    silent = [SPECIAL.index(one) for one in ("<pad>", "<bos>", "<eos>", "<unk>", "<image>")]
    assert "ab" == text_of(np.array([a, *silent, b])), "what stands for no text is none"
    assert ["a", "", "ba"] == text_of.batch([[a], [], [b, a]])


@pytest.mark.parametrize("family", ["internvl", "qwen2_5_vl", "gemma3"])
def test_what_stands_around_a_picture_is_no_text(family: str, folder: Path) -> None:
    """Written by the placeholder (InternVL, Gemma) or by the chat template (Qwen)."""
    around = [SPECIAL.index(one) for one in ("<img>", "</img>")]
    assert set(around) <= silent_token_ids(tiny_policy(family, folder))


def test_the_digits_are_read_as_before() -> None:
    """Every token of the task: text is text, and no special token was ever part of it."""
    from vergence.model.families.internvl import FAMILY

    class Model:
        config = type(
            "Config", (), {"image_token_id": 6, "get_text_config": lambda self: self, "image_seq_length": 16}
        )()
        generation_config = type("Generation", (), {"eos_token_id": 2, "suppress_tokens": None})()

    tokenizer = build_tokenizer()
    from vergence.digits.tower import tower_image_processor

    policy = Policy(Model(), tokenizer, tower_image_processor(), FAMILY, torch.float32)
    ids = list(range(len(tokenizer)))
    assert tokenizer.decode(ids, skip_special_tokens=True) == ResponseText(policy)(ids)


def test_everybody_who_decodes_reads_the_same(folder: Path) -> None:
    """Sampling, streaming and joining, by a policy that writes special tags."""
    policy = tiny_policy("internvl", folder, seed=3)
    with_special_tags(policy)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        policy.model.resize_token_embeddings(len(policy.tokenizer), mean_resizing=False)
    (asked,) = picture_problems(folder / "p", 1)
    one, tower = encode(policy, asked), CachedTower(policy)
    sampling = Sampling(num_completions=32, max_new_tokens=24, temperature=100.0)  # any token, whatever the rounding
    (group,) = sample_groups(policy, [one], sampling, tower, seed=0, version=0)
    written = [policy.tokenizer.convert_ids_to_tokens(each.token_ids.tolist()) for each in group.completions]
    assert any(set(TAG_TOKENS) & set(tokens) for tokens in written), "the sample has some of them"
    for tokens, each in zip(written, group.completions, strict=True):
        assert [tokens.count(tag) for tag in TAG_TOKENS] == [each.text.count(tag) for tag in TAG_TOKENS]
    *_, streamed = stream_tokens(policy, one, tower, max_new_tokens=24, temperature=100.0, seed=0)
    assert group.completions[0].text == streamed
    first = Beginning(one, group.completions[0].token_ids[:3])
    rest = RolloutGroup(
        first.as_prompt(),
        (Completion(group.completions[0].token_ids[3:], np.zeros(0, np.float32), Finish.STOP, 0, ""),),
    )
    assert group.completions[0].text == joined(ResponseText(policy), first, rest, max_new_tokens=24).text


# ── what the template writes ─────────────────────────────────────────────────────────────────────────────────────────

GENERATION = "{% if add_generation_prompt %}a: "


@pytest.mark.parametrize(
    ("written", "prefill"),
    [
        ("<think>", "<think>"),
        ("<think>\\n", "<think>\n"),
        ("<think>\\n\\n</think>\\n\\n", "<think>\n\n</think>\n\n"),
        ("", ""),
        ("think ", ""),
        ("<user>", ""),
    ],
)
def test_a_prompt_says_which_tags_its_template_wrote(written: str, prefill: str, folder: Path) -> None:
    policy = tiny_policy("internvl", folder)
    template = policy.tokenizer.chat_template
    policy.tokenizer.chat_template = f"{template}{GENERATION}{written.encode().decode('unicode_escape')}{{% endif %}}"
    (asked,) = picture_problems(folder / "p", 1)
    assert prefill == encode(policy, asked).prefill
    policy.tokenizer.chat_template = template + "{{ '' }}"
    assert "" == encode(policy, problem(question="answer behind <think>", images=())).prefill, "the user wrote this one"


def written(text: str, prefill: str, finish: Finish = Finish.STOP) -> tuple[Prompt, Completion]:
    from dataclasses import replace

    return replace(prompt(), prefill=prefill), completion(text, finish=finish)


@pytest.mark.parametrize(
    ("form", "text", "prefill", "formed"),
    [
        (TAGS, "5+6=11</think><answer>11</answer>", "<think>\n", 1.0),
        (TAGS, "5+6=11</think><answer>11</answer>", "", 0.0),
        (TAGS, "<think>5+6=11</think><answer>11</answer>", "<think>\n", 0.0),  # written twice
        (BOXED, "5+6=11</think>\\boxed{11}", "<think>\n", 1.0),
        (BOXED, "5+6=\\boxed{11}", "<think>\n", 0.0),  # it never stops thinking
        (BOXED, "5+6=\\boxed{11}", "", 1.0),
    ],
)
def test_a_tag_of_the_template_counts_as_written(form: Any, text: str, prefill: str, formed: float) -> None:
    assert formed == format_reward(form)(*written(text, prefill))


@pytest.mark.parametrize(
    ("prefill", "text", "left"),
    [
        ("<think>\n", "<think>\n5</think>", "5</think>"),
        ("<think>\n", "<think>5</think>", "5</think>"),
        ("<think>\n", "5</think>", "5</think>"),
        ("", "<think>5</think>", "<think>5</think>"),
    ],
)
def test_a_response_to_imitate_is_taught_without_what_the_template_writes(prefill: str, text: str, left: str) -> None:
    one, _ = written("", prefill)
    assert left == own_part(one, text)


def test_graders_and_functions_read_what_was_said_and_the_tag_before_it() -> None:
    asked: list[str] = []

    class Listening:
        def grade(self, responses: Any) -> list[Grade]:
            asked.extend(text for _, text in responses)
            return [Grade(Verdict.WRONG, None, "") for _ in responses]

    one, said = written("5</think>", "<think>")
    RuleReward(RULES, Listening())([RolloutGroup(one, (said, said))])
    assert ["<think>5</think>"] * 2 == asked
    assert "5</think>" == said.text, "the completion itself is what was generated"
    assert "<think>5</think>" == response(one, said)


# ── nobody has the form ──────────────────────────────────────────────────────────────────────────────────────────────


def told(form: Any, *texts: str, finish: Finish = Finish.STOP, prefill: str = "") -> list[str]:
    lines: list[str] = []
    watch = FormWatch(form, lines.append)
    one, _ = written("", prefill)
    for _ in range(2):  # the second batch is not looked at
        watch.look([RolloutGroup(one, tuple(completion(text, finish=finish) for text in texts))])
    return lines


@pytest.mark.parametrize(
    ("form", "texts", "reason"),
    [
        (TAGS, ["15", "16", "<think>5</think>15"], "2 times: no <think>"),
        (TAGS, ["<think>5</think>15"], "1 times: no <answer>"),
        (TAGS, ["<think>5</think><answer>1</answer><answer>2</answer>"], "2 <answer> in place of one"),
        (TAGS, ["so: <think>5</think><answer>1</answer>"], "text outside of the tags"),
        (BOXED, ["5</think>15"], "no \\boxed{...} behind the thought"),
        (BOXED, ["\\boxed{1} \\boxed{2}"], "2 boxes in place of one"),
        (BOXED, ["<think>5"], "a thought without </think>"),
    ],
)
def test_a_first_batch_without_the_form_is_told_once_with_its_reason(form: Any, texts: list[str], reason: str) -> None:
    (line,) = told(form, *texts)
    assert reason in line
    assert f'none of the first {len(texts)} responses has the form "{form.name}"' in line


def test_cut_responses_are_told_as_cut_and_a_single_good_one_is_enough() -> None:
    assert "1 times: cut off at max_new_tokens" in told(TAGS, RIGHT, finish=Finish.LENGTH)[0]
    assert [] == told(TAGS, "15", RIGHT)
    assert [] == told(TAGS, "5</think><answer>1</answer>", prefill="<think>")
