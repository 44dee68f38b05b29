"""Responses that are continued: exactly as the policy would have gone on itself, for every family of models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from families import DISTINCT, picture_problems, tiny_policy

from vergence.model.response import ResponseText
from vergence.model.vision import CachedTower
from vergence.rollout.continuation import Beginning, continue_responses, joined
from vergence.rollout.local import LocalGenerator
from vergence.types import Completion, Finish, RolloutGroup, Sampling

from ..builders import completion, prompt

GREEDY = Sampling(num_completions=1, max_new_tokens=12, temperature=0.0)


@pytest.mark.parametrize("family", DISTINCT)
def test_a_greedy_response_that_is_cut_is_continued_to_itself(family: str, tmp_path: Path) -> None:
    policy = tiny_policy(family, tmp_path)
    tower = CachedTower(policy)
    problems = picture_problems(tmp_path, 4)
    groups = LocalGenerator(policy, tower).generate(problems, GREEDY, seed=0, version=0)
    cuts = [1, 5, 8, 3]
    beginnings = [
        Beginning(group.prompt, group.completions[0].token_ids[:cut]) for group, cut in zip(groups, cuts, strict=True)
    ]
    assert all(len(group.completions[0].token_ids) > cut for group, cut in zip(groups, cuts, strict=True))
    continued = continue_responses(policy, tower, beginnings, GREEDY, seed=1, version=3)
    for group, beginning, more in zip(groups, beginnings, continued, strict=True):
        whole = joined(ResponseText(policy), beginning, more, max_new_tokens=12)
        original = group.completions[0]
        assert original.token_ids.tolist() == whole.token_ids.tolist()
        assert (original.finish, original.text, 3) == (whole.finish, whole.text, whole.policy_version)
        rest = original.sampler_logprobs[len(beginning.token_ids) :]
        np.testing.assert_allclose(more.completions[0].sampler_logprobs[: len(rest)], rest, atol=2e-4)


def test_a_beginning_takes_the_positions_of_a_completion_on_every_axis() -> None:
    """Three axes that end at 5, 4 and 7: completions go on at 8, on all of them."""
    axes = np.array([[0, 1, 5], [0, 1, 4], [0, 1, 7]])
    one = replace(prompt(), token_ids=np.array([1, 2, 3]), positions=axes)
    whole = Beginning(one, np.array([7, 9])).as_prompt()
    assert [1, 2, 3, 7, 9] == whole.token_ids.tolist()
    assert [[0, 1, 5, 8, 9], [0, 1, 4, 8, 9], [0, 1, 7, 8, 9]] == whole.positions.tolist()
    assert whole.problem is one.problem


def spelt(ids: np.ndarray) -> str:
    return " ".join(map(str, ids))


@pytest.mark.parametrize(
    ("limit", "tokens", "finish"),
    [(9, [1, 2, 10, 11], Finish.STOP), (4, [1, 2, 10, 11], Finish.STOP), (3, [1, 2, 10], Finish.LENGTH)],
)
def test_a_joined_response_is_held_to_the_limit_of_a_whole_one(limit: int, tokens: list[int], finish: Finish) -> None:
    beginning = Beginning(prompt(), np.array([1, 2]))
    more: Completion = completion(logprobs=[-1.0, -2.0])
    whole = joined(spelt, beginning, RolloutGroup(beginning.as_prompt(), (more,)), max_new_tokens=limit)
    assert tokens == whole.token_ids.tolist()
    assert finish is whole.finish
    assert " ".join(map(str, tokens)) == whole.text
    assert [0.0] * len(tokens) == whole.sampler_logprobs.tolist()
