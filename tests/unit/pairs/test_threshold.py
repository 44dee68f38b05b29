"""tau: a number, or the quantile of a round's margins."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from vergence.pairs.threshold import given as number
from vergence.pairs.threshold import quantile

FINITE = some.floats(-100, 100)


def interpolated(values: list[float], share: float) -> float:
    """Linear interpolation between order statistics, written out."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def test_a_given_threshold_is_the_number_whatever_the_margins_are() -> None:
    assert [7.0, 7.0] == [number(7.0)([]), number(7.0)([1.0, 20.0])]


@given(some.lists(FINITE, min_size=1, max_size=40), some.floats(0, 1))
def test_the_quantile_is_that_of_the_margins(margins: list[float], share: float) -> None:
    assert pytest.approx(interpolated(margins, share), abs=1e-9) == quantile(share)(margins)


@given(some.lists(FINITE, min_size=1, max_size=40), some.floats(0, 1), some.floats(0.1, 9), some.floats(-50, 50))
def test_another_scale_and_zero_of_the_reward_model_keep_the_same_pairs(
    margins: list[float], share: float, scale: float, shift: float
) -> None:
    """Gaps of `scale * score + shift` are `scale * gap`: the same candidates lie below the quantile, up to rounding."""
    tau, scaled = quantile(share)(margins), quantile(share)([scale * one for one in margins])
    clear = [one for one in margins if abs(one - tau) > 1e-9]
    assert [one > tau for one in clear] == [scale * one > scaled for one in clear]


@given(some.lists(FINITE, min_size=1, max_size=40, unique=True), some.floats(0, 1), some.floats(0.01, 1))
def test_margins_that_shrink_from_round_to_round_do_not_starve_later_rounds(
    margins: list[float], share: float, factor: float
) -> None:
    """Whatever the round, the share of its candidates that is refused is the one that was asked for."""
    tau, count = quantile(share), len(margins)
    for round_ in range(3):
        now = [factor**round_ * one for one in margins]
        refused = sum(one < tau(now) - 1e-9 for one in now)
        assert refused <= share * (count - 1) + 1


def test_a_round_without_candidates_has_no_threshold() -> None:
    assert -math.inf == quantile(0.5)([])
