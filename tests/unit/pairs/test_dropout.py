"""Which responses are continued, and from where."""

from dataclasses import replace

import numpy as np
import pytest

from vergence.pairs.dropout import Begun, first_half, responses_to_continue
from vergence.pairs.rules import is_good
from vergence.types import RolloutGroup

from ..builders import completion, prompt
from .making import answering, one_group


@pytest.mark.parametrize(("tokens", "half"), [(1, 0), (2, 1), (5, 2), (8, 4)])
def test_the_first_half_is_rounded_down(tokens: int, half: int) -> None:
    whole = completion(logprobs=[-1.0] * tokens)
    assert whole.token_ids[:half].tolist() == first_half(whole).tolist()


def rows(*good: int):
    return [(answering("15", tokens=4), one, 1, 0.0) for one in good]


def test_only_good_responses_are_continued_and_at_most_so_many() -> None:
    groups = [one_group(rows(1, 0, 1, 1)), one_group(rows(0, 0)), one_group(rows(0, 1))]
    begun = responses_to_continue(groups, is_good, 2, np.random.default_rng(0))
    assert [(0, 0), (0, 1), (2, 0)] == [(one.group, one.turn) for one in begun]
    assert {one.place for one in begun if one.group == 0} <= {0, 2, 3}
    assert len({one.place for one in begun if one.group == 0}) == 2, "without replacement"
    assert Begun(2, 1, 0) == begun[-1]


def test_every_good_response_has_its_turn_with_some_seed() -> None:
    group = one_group(rows(1, 1, 1))
    drawn = {responses_to_continue([group], is_good, 1, np.random.default_rng(seed))[0].place for seed in range(30)}
    assert {0, 1, 2} == drawn


def test_a_response_of_one_token_and_a_prompt_without_a_picture_are_left_out() -> None:
    short = one_group([(answering("15", tokens=1), 1, 1, 0.0)])
    seen = one_group(rows(1))
    text = replace(seen, group=RolloutGroup(prompt(images=()), seen.group.completions))
    begun = responses_to_continue([short, text, seen], is_good, 3, np.random.default_rng(0))
    assert [Begun(2, 0, 0)] == begun
