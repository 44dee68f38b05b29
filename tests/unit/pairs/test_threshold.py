"""tau: a number, or the quantile of the first round's margins."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from vergence.errors import RunError
from vergence.pairs.threshold import Given, QuantileOfFirst, Threshold

from ..builders import through_a_file

FINITE = some.floats(-100, 100)


def quantile(values: list[float], share: float) -> float:
    """Linear interpolation between order statistics, written out."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def test_a_given_threshold_is_the_number_whatever_the_margins_are() -> None:
    threshold = Given(7.0)
    assert [7.0, 7.0] == [threshold.of([]), threshold.of([1.0, 20.0])]
    assert isinstance(threshold, Threshold)
    assert {} == threshold.state_dict()


@given(some.lists(FINITE, min_size=1, max_size=40), some.floats(0, 1))
def test_the_quantile_is_that_of_the_margins(margins: list[float], share: float) -> None:
    assert pytest.approx(quantile(margins, share), abs=1e-9) == QuantileOfFirst(share).of(margins)


@given(some.lists(FINITE, min_size=1, max_size=40), some.floats(0, 1), some.floats(0.1, 9), some.floats(-50, 50))
def test_another_scale_and_zero_of_the_reward_model_keep_the_same_pairs(
    margins: list[float], share: float, scale: float, shift: float
) -> None:
    """Gaps of `scale * score + shift` are `scale * gap`: the same candidates lie below the quantile, up to rounding."""
    tau, scaled = QuantileOfFirst(share).of(margins), QuantileOfFirst(share).of([scale * one for one in margins])
    clear = [one for one in margins if abs(one - tau) > 1e-9]
    assert [one > tau for one in clear] == [scale * one > scaled for one in clear]


def test_later_rounds_use_the_first_rounds_value() -> None:
    threshold = QuantileOfFirst(0.5)
    assert 2.0 == threshold.of([1.0, 2.0, 3.0])
    assert 2.0 == threshold.of([100.0, 200.0])
    assert 2.0 == threshold.of([])


def test_a_resumed_run_uses_the_same_value_and_an_unmeasured_one_measures() -> None:
    threshold, restored, fresh = QuantileOfFirst(0.5), QuantileOfFirst(0.5), QuantileOfFirst(0.5)
    fresh.load_state_dict(through_a_file(threshold.state_dict()))
    threshold.of([1.0, 2.0, 4.0])
    restored.load_state_dict(through_a_file(threshold.state_dict()))
    assert 2.0 == restored.of([100.0])
    assert 100.0 == fresh.of([100.0])


@pytest.mark.parametrize("margins", [[], [math.inf, 1.0]])
def test_a_first_round_without_finite_margins_is_an_error(margins: list[float]) -> None:
    with pytest.raises(RunError, match="quantile of the candidates' score gaps"):
        QuantileOfFirst(0.5).of(margins)
