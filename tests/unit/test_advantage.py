"""Advantages within a group: R1V2's Eq. 6 by a slow loop, and what counts as effective."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.advantage import (
    advantage_metrics,
    effective_samples,
    group_centred,
    group_normalised,
    is_effective,
    judge,
)

from .builders import completion, doubles, judged, scored

rewards_of_a_group = st.lists(st.floats(-20, 20), min_size=2, max_size=12)


def equation_6(rewards: Sequence[float]) -> list[float]:
    """(r - mean) / std over the group; 1e-4 beside the standard deviation keeps tiny spreads from blowing up."""
    mean = sum(rewards) / len(rewards)
    variance = 0.0
    for reward in rewards:
        variance += (reward - mean) ** 2
    return [(reward - mean) / (math.sqrt(variance / len(rewards)) + 1e-4) for reward in rewards]


def test_one_right_of_four_by_hand() -> None:
    """Mean 1/4, std sqrt(3)/4: the right one gets sqrt(3), the wrong ones -1/sqrt(3), but for the 1e-4."""
    expected = [math.sqrt(3), -1 / math.sqrt(3), -1 / math.sqrt(3), -1 / math.sqrt(3)]
    assert pytest.approx(expected, rel=3e-4) == group_normalised(doubles([1, 0, 0, 0])).tolist()


@given(rewards_of_a_group)
def test_normalised_is_equation_6(rewards: list[float]) -> None:
    assert pytest.approx(equation_6(rewards), rel=1e-9, abs=1e-9) == group_normalised(doubles(rewards)).tolist()


def test_a_spread_far_below_the_constant_is_not_blown_up_to_unit_size() -> None:
    """r = +-1e-6: 1e-6 / (1e-6 + 1e-4)."""
    assert pytest.approx([1 / 101, -1 / 101]) == group_normalised(doubles([1e-6, -1e-6])).tolist()


def test_centred_keeps_the_size_of_the_reward() -> None:
    assert pytest.approx([1.0, 0.0, -1.0]) == group_centred(doubles([3.0, 2.0, 1.0])).tolist()


@pytest.mark.parametrize("advantage", [group_normalised, group_centred])
@given(rewards=rewards_of_a_group, shift=st.floats(-5, 5), data=st.data())
def test_sum_is_zero_order_is_kept_and_a_common_shift_is_nothing(advantage, rewards, shift, data) -> None:
    values = advantage(doubles(rewards))
    assert pytest.approx(0.0, abs=1e-6) == values.sum()
    order = data.draw(st.permutations(range(len(rewards))))
    assert pytest.approx(values[order], abs=1e-9) == advantage(doubles(rewards)[order])
    assert pytest.approx(values, abs=1e-7) == advantage(doubles(rewards) + shift)


@pytest.mark.parametrize(
    ("rules", "effective"),
    [
        ([1.0, 0.0], True),
        ([1.0, 1.0, 1.0], False),
        ([0.0, 0.0], False),
        ([0.1 + 0.2, 0.3], False),  # the same number after rounding, and not the same float
        ([1.0, 1.0 + 5e-7], False),
        ([1.0, 1.0 + 2e-6], True),
        ([1.5, 1.5, 1.0], True),
    ],
)
def test_effective_means_that_rules_differ_by_more_than_rounding(rules: list[float], effective: bool) -> None:
    assert effective == is_effective(doubles(rules))


@pytest.mark.parametrize("advantage", [group_normalised, group_centred])
@pytest.mark.parametrize("rules", [[1.0] * 3, [0.0] * 3, [0.1 + 0.2, 0.3, 0.3]])
def test_a_group_that_rules_cannot_tell_apart_has_no_advantage_at_all(advantage, rules: list[float]) -> None:
    """Not small: exactly zero, even though floats, or a preference model, would tell its members apart."""
    for rewards in (rules, [rules[0] + 0.2, rules[1] - 0.1, rules[2]]):
        result = judge(scored(rules, rewards), advantage)
        assert not result.effective
        assert [0.0, 0.0, 0.0] == result.advantages.tolist()


def test_advantages_of_an_effective_group_are_made_of_the_whole_reward() -> None:
    """Rules (1, 1, 0), whole reward (1.2, 1.0, 0.0): the preference ranks the two right ones."""
    result = judge(scored([1.0, 1.0, 0.0], [1.2, 1.0, 0.0]), group_normalised)
    assert result.effective
    assert pytest.approx(equation_6([1.2, 1.0, 0.0])) == result.advantages.tolist()
    assert result.advantages[0] > result.advantages[1] > 0 > result.advantages[2]


def test_judging_keeps_the_group() -> None:
    group = scored([1.0, 0.0])
    assert judge(group, group_centred).scored is group


def test_effective_samples_are_those_with_an_advantage_in_order() -> None:
    texts = [completion("a"), completion("b"), completion("c")]
    group = judge(scored([1.0, 0.5, 0.0], texts=texts), group_centred)  # the middle one is exactly at the mean
    dead = judge(scored([1.0, 1.0]), group_centred)
    samples = effective_samples([dead, group])
    assert ["a", "c"] == [sample.completion.text for sample in samples]
    assert [0.5, -0.5] == [sample.advantage for sample in samples]
    assert [1.0, 0.0] == [sample.reward for sample in samples]
    assert all(sample.prompt is group.scored.group.prompt for sample in samples)
    assert samples[0].completion is texts[0]


def test_metrics_by_hand() -> None:
    """Of five groups two teach, two are all right, one is all wrong."""
    groups = [
        judged([1.0, -1.0], effective=True, accuracy=[1.0, 0.0]),
        judged([0.0, 0.0], effective=False, accuracy=[1.0, 1.0]),
        judged([0.0, 0.0], effective=False, accuracy=[0.0, 0.0]),
        judged([0.5, -0.5], effective=True, accuracy=[1.0, 0.0]),
        judged([0.0, 0.0], effective=False, accuracy=[1.0, 1.0]),
    ]
    expected = {"effective/fresh": 0.4, "effective/all_right": 0.4, "effective/all_wrong": 0.2}
    assert pytest.approx(expected) == advantage_metrics(groups)


def test_dead_groups_are_zeros_of_the_rewards_own_length() -> None:
    assert np.zeros(4).tolist() == judge(scored([0.0] * 4), group_normalised).advantages.tolist()
