"""Figures on gaps of known order, against sums by hand, brute force and simulation."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vergence.evaluation.statistics import Interval
from vergence.scoring.reliability import (
    clustered_mean,
    expected_calibration_error,
    fitted_temperature,
    log_loss,
    reliability,
    wins,
)

gaps_of_any_kind = st.lists(st.floats(-20, 20), min_size=1, max_size=40).map(np.array)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_a_tie_is_half_a_win() -> None:
    np.testing.assert_array_equal([1.0, 0.5, 0.0], wins(np.array([0.1, 0.0, -3.0])))


def test_values_of_one_cluster_are_drawn_together() -> None:
    """Four equal copies of 50 values tell as much as the 50 values do."""
    values = np.random.default_rng(0).normal(size=50)
    names = [str(index) for index in range(50)]
    single, copied = clustered_mean(values, names), clustered_mean(np.tile(values, 4), names * 4)
    assert astuple(copied) == pytest.approx(astuple(single))
    alone = clustered_mean(np.tile(values, 4), [str(index) for index in range(200)])
    assert alone.high - alone.low < 0.6 * (copied.high - copied.low)


def test_the_bootstrap_interval_is_about_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(2.0, 3.0, size=400)
    found = clustered_mean(values, [str(index) for index in range(400)])
    half = 1.96 * values.std() / 20
    assert (found.low, found.high) == (
        pytest.approx(values.mean() - half, abs=0.06),
        pytest.approx(values.mean() + half, abs=0.06),
    )


def test_one_cluster_has_no_interval() -> None:
    assert Interval(1.5, -math.inf, math.inf) == clustered_mean(np.array([1.0, 2.0]), ["p", "p"])


def test_equal_values_have_no_spread_and_so_no_interval() -> None:
    assert Interval(0.25, -math.inf, math.inf) == clustered_mean(np.full(8, 0.25), list("abcdefgh"))


def test_reliability_and_its_error_by_hand() -> None:
    """Confidences sigmoid(0.1) = 0.525 twice, once right, sigmoid(2) = 0.881 and sigmoid(3) = 0.953, both right."""
    bins = reliability(np.array([0.1, -0.1, 2.0, 3.0]), bins=5)
    assert [(0.5, 0.6, 2), (0.8, 0.9, 1), (0.9, 1.0, 1)] == [(one.low, one.high, one.count) for one in bins]
    assert [pytest.approx(sigmoid(0.1)), pytest.approx(sigmoid(2)), pytest.approx(sigmoid(3))] == [
        one.confidence for one in bins
    ]
    assert [0.5, 1.0, 1.0] == [one.accuracy for one in bins]
    error = (2 * (sigmoid(0.1) - 0.5) + (1 - sigmoid(2)) + (1 - sigmoid(3))) / 4
    assert error == pytest.approx(expected_calibration_error(bins))


@given(gaps_of_any_kind)
def test_bins_hold_every_comparison_once_and_the_error_is_a_share(gaps: np.ndarray) -> None:
    bins = reliability(gaps)
    assert len(gaps) == sum(one.count for one in bins)
    assert all(one.low - 1e-12 <= one.confidence <= one.high + 1e-12 for one in bins)
    assert wins(gaps).mean() == pytest.approx(sum(one.count * one.accuracy for one in bins) / len(gaps))
    assert 0 <= expected_calibration_error(bins) <= 1


@given(gaps_of_any_kind, st.floats(0.1, 10))
def test_the_log_loss_is_the_mean_of_minus_log_sigmoid(gaps: np.ndarray, temperature: float) -> None:
    slow = sum(-math.log(sigmoid(gap / temperature)) if gap / temperature > -30 else -gap / temperature for gap in gaps)
    assert slow / len(gaps) == pytest.approx(log_loss(gaps, temperature), abs=1e-9)


def test_a_coin_has_the_log_loss_of_a_coin() -> None:
    assert math.log(2) == pytest.approx(log_loss(np.zeros(3)))


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_orders_is_found(true: float) -> None:
    rng = np.random.default_rng(3)
    size = rng.normal(0, 3, 20_000)
    won = rng.random(20_000) < 1 / (1 + np.exp(-np.abs(size) / true))
    assert true == pytest.approx(fitted_temperature(np.where(won, np.abs(size), -np.abs(size))), rel=0.05)


@settings(max_examples=20)
@given(st.lists(st.floats(-5, 5).filter(lambda gap: abs(gap) > 0.01), min_size=2, max_size=20).map(np.array))
def test_no_temperature_of_a_grid_is_better(gaps: np.ndarray) -> None:
    best = log_loss(gaps, fitted_temperature(gaps))
    assert all(best <= log_loss(gaps, temperature) + 1e-6 for temperature in np.geomspace(1e-3, 1e3, 60))
