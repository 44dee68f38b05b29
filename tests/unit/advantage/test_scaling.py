"""Advantages: R1V2's Eq. 6 by a slow loop, its rivals by hand, and what all of them have in common."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.advantage.scaling import (
    Advantage,
    batch_scaled,
    decoupled_components,
    group_centred,
    group_normalised,
)

from ..builders import scored

rewards_of_a_group = st.lists(st.floats(-20, 20), min_size=2, max_size=12)
ACCURACY_ALONE = decoupled_components(lambda: {"accuracy": 1.0})
EACH = pytest.mark.parametrize(
    "advantage", [group_normalised, group_centred, batch_scaled, ACCURACY_ALONE], ids=["group", "none", "batch", "gdpo"]
)


def of(advantage: Advantage, *groups: Sequence[float]) -> list[list[float]]:
    """Advantages of groups with these rewards, all of them accuracy."""
    return [one.tolist() for one in advantage([scored(rewards) for rewards in groups])]


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
    assert [pytest.approx(expected, rel=3e-4)] == of(group_normalised, [1, 0, 0, 0])


@given(st.lists(rewards_of_a_group, min_size=1, max_size=4))
def test_normalised_is_equation_6_group_by_group(groups: list[list[float]]) -> None:
    expected = [pytest.approx(equation_6(rewards), rel=1e-9, abs=1e-9) for rewards in groups]
    assert expected == of(group_normalised, *groups)


def test_a_spread_far_below_the_constant_is_not_blown_up_to_unit_size() -> None:
    """r = +-1e-6: 1e-6 / (1e-6 + 1e-4)."""
    assert [pytest.approx([1 / 101, -1 / 101])] == of(group_normalised, [1e-6, -1e-6])


def test_centred_keeps_the_size_of_the_reward() -> None:
    assert [[1.0, 0.0, -1.0], [0.25, -0.25]] == of(group_centred, [3.0, 2.0, 1.0], [0.5, 0.0])


def test_batch_scaled_by_hand() -> None:
    """All rewards: 1, 0, 1, 1, mean 3/4 and std sqrt(3)/4. The group without a spread stays at 0."""
    spread = math.sqrt(3) / 4 + 1e-4
    assert [pytest.approx([0.5 / spread, -0.5 / spread]), [0.0, 0.0]] == of(batch_scaled, [1.0, 0.0], [1.0, 1.0])


def test_batch_scaled_keeps_groups_in_proportion_where_equation_6_does_not() -> None:
    (large, *_), (small, *_) = of(batch_scaled, [1.0, 0.0], [0.2, 0.0])
    assert pytest.approx(5.0) == large / small
    (large, *_), (small, *_) = of(group_normalised, [1.0, 0.0], [0.2, 0.0])
    assert pytest.approx(1.0, abs=1e-2) == large / small


def test_gdpo_by_hand() -> None:
    """Accuracy (1, 1, 0, 0) and format 0.5 x (1, 0, 1, 0): each becomes +-1, weighted 1 and 0.5.

    B = 1.5, 0.5, -0.5, -1.5 with std sqrt(5)/2.
    """
    accuracy, form = [1.0, 1.0, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0]
    group = scored([1.5, 1.0, 0.5, 0.0], terms={"accuracy": accuracy, "format": form})
    advantage = decoupled_components(lambda: {"accuracy": 1.0, "format": 0.5})
    unit = math.sqrt(5) / 2
    assert pytest.approx([1.5 / unit, 0.5 / unit, -0.5 / unit, -1.5 / unit], rel=1e-3) == advantage([group])[0]


def test_gdpo_gives_a_component_its_weight_however_little_it_differs() -> None:
    """A sum hides a preference score that differs by a hundredth; GDPO does not, and a weight of 0 does."""
    rules, score = [1.0, 1.0, 0.0, 0.0], [0.01, 0.0, 0.01, 0.0]
    group = scored([1.01, 1.0, 0.01, 0.0], terms={"accuracy": rules, "preference": score})
    weights = {"accuracy": 1.0, "preference": 1.0}
    advantage = decoupled_components(lambda: weights)
    (summed,) = group_normalised([group])
    assert summed[0] - summed[1] < 0.03
    (apart,) = advantage([group])
    assert pytest.approx(apart[0] - apart[1], rel=0.02) == apart[1] - apart[3]
    weights["preference"] = 0.0  # what a controller does
    (without,) = advantage([group])
    assert pytest.approx([1.0, 1.0, -1.0, -1.0], rel=1e-3) == without


def test_gdpo_normalises_over_the_batch_after_the_sum() -> None:
    """Two groups of +-1, one of zeros: std sqrt(2/3)."""
    advantages = of(ACCURACY_ALONE, [1.0, 0.0], [5.0, 0.0], [1.0, 1.0])
    size = 1 / math.sqrt(2 / 3)
    assert [pytest.approx([size, -size], rel=1e-3)] * 2 + [[0.0, 0.0]] == advantages


@EACH
@given(rewards=rewards_of_a_group, shift=st.floats(-5, 5), data=st.data())
def test_sum_is_zero_order_is_kept_and_a_common_shift_is_nothing(
    advantage: Advantage, rewards: list[float], shift: float, data: st.DataObject
) -> None:
    (values,) = of(advantage, rewards)
    assert pytest.approx(0.0, abs=1e-6) == sum(values)
    order = data.draw(st.permutations(range(len(rewards))))
    assert [pytest.approx([values[place] for place in order], abs=1e-8)] == of(
        advantage, [rewards[place] for place in order]
    )
    assert [pytest.approx(values, abs=1e-6)] == of(advantage, [reward + shift for reward in rewards])


@EACH
@given(st.lists(rewards_of_a_group, min_size=1, max_size=4))
def test_each_group_has_an_advantage_of_its_own_length_that_is_finite(
    advantage: Advantage, groups: list[list[float]]
) -> None:
    values = of(advantage, *groups)
    assert [len(rewards) for rewards in groups] == [len(one) for one in values]
    assert all(np.isfinite(one).all() for one in values)
