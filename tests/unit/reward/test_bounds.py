"""Bounds of the preference score: by hand, their ranges, what they leave alone, and the state of the running one."""

import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.reward.bounds import RunningQuantile, clip_bound, no_bound, sigmoid_bound, zscore_bound

from ..builders import doubles, through_a_file

SCORES = st.lists(st.floats(-500, 500), min_size=2, max_size=12)
BATCHES = st.lists(SCORES, min_size=2, max_size=6)


def ranks_by_counting(seen: list[float], batch: list[float], window: int) -> tuple[list[float], list[float]]:
    """The quantiles of a batch and what is kept, by a loop."""
    everything = seen + batch
    reference = everything[-max(window, len(batch)) :]
    found = [
        (sum(one < score for one in reference) + 0.5 * sum(one == score for one in reference)) / len(reference)
        for score in batch
    ]
    return found, everything[-window:]


def test_sigmoid_by_hand() -> None:
    assert pytest.approx([0.5, 0.75, 0.25]) == sigmoid_bound(doubles([0.0, math.log(3), -math.log(3)])).tolist()


def test_clip_by_hand() -> None:
    assert [-1.0, -0.25, 0.5, 1.0] == clip_bound(doubles([-7.0, -0.25, 0.5, 7.0])).tolist()


def test_no_bound_lets_everything_through() -> None:
    assert [-15.5, 7.53] == no_bound(doubles([-15.5, 7.53])).tolist()


def test_zscore_by_hand() -> None:
    """Mean 2, deviations -2, 0, 2, 0: variance 2."""
    root = math.sqrt(2)
    assert pytest.approx([-root, 0.0, root, 0.0]) == zscore_bound(doubles([0.0, 2.0, 4.0, 2.0])).tolist()


@pytest.mark.parametrize("score", [0.0, 0.1, -1e9, 3e-5])
def test_equal_scores_have_zscore_0_and_quantile_one_half(score: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [0.0] * 7 == zscore_bound(np.full(7, score)).tolist()
        assert [0.5] * 7 == RunningQuantile(100)(np.full(7, score)).tolist()


def test_a_spread_that_is_rounding_alone_is_none() -> None:
    """Scores of a float32 model that differ in the last bit are not blown up to size 1."""
    noisy = np.array([7.1, np.nextafter(np.float32(7.1), np.float32(8))], np.float32).astype(np.float64)
    assert noisy[0] != noisy[1]
    assert [0.0, 0.0] == zscore_bound(noisy).tolist()


def test_no_score_is_too_large_for_a_bound() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for bound in (sigmoid_bound, clip_bound, zscore_bound, RunningQuantile(4)):
            assert np.isfinite(bound(doubles([-1e6, 0.0, 1e6]))).all()


@given(SCORES)
def test_bounds_keep_the_order_and_their_range(scores: list[float]) -> None:
    ordered = sorted(scores)
    furthest = math.sqrt(len(scores) - 1)
    ranges = (
        (sigmoid_bound, 0.0, 1.0),
        (clip_bound, -1.0, 1.0),
        (zscore_bound, -furthest - 1e-9, furthest + 1e-9),
        (RunningQuantile(5), 0.0, 1.0),
        (no_bound, -500.0, 500.0),
    )
    for bound, low, high in ranges:
        values = bound(doubles(ordered)).tolist()
        assert len(ordered) == len(values)
        assert all(left <= right + 1e-12 for left, right in pairwise(values))
        assert low <= values[0] <= values[-1] <= high


@given(SCORES)
def test_zscore_and_quantile_know_no_units(scores: list[float]) -> None:
    """Whole numbers, so that the change of units is exact."""
    whole = np.round(doubles(scores))
    np.testing.assert_allclose(zscore_bound(whole), zscore_bound(4 * whole + 1024), atol=1e-9)
    assert RunningQuantile(5)(whole).tolist() == RunningQuantile(5)(4 * whole + 1024).tolist()


def test_running_quantile_by_hand() -> None:
    """Among 1 2 3 the ranks are 1/6 3/6 5/6; then the last four of 3 1 2 | 2 5 are 1 2 2 5."""
    quantile = RunningQuantile(4)
    assert pytest.approx([5 / 6, 1 / 6, 3 / 6]) == quantile(doubles([3.0, 1.0, 2.0])).tolist()
    assert pytest.approx([(1 + 2 / 2) / 4, (3 + 1 / 2) / 4]) == quantile(doubles([2.0, 5.0])).tolist()


@given(BATCHES, st.integers(1, 20))
def test_running_quantile_counts(batches: list[list[float]], window: int) -> None:
    quantile, seen = RunningQuantile(window), list[float]()
    for batch in batches:
        expected, seen = ranks_by_counting(seen, batch, window)
        assert pytest.approx(expected) == quantile(doubles(batch)).tolist()


@given(BATCHES, st.integers(1, 20))
def test_a_restored_quantile_goes_on_to_the_bit(batches: list[list[float]], window: int) -> None:
    whole, first = RunningQuantile(window), RunningQuantile(window)
    for batch in batches[:-1]:
        whole(doubles(batch))
        first(doubles(batch))
    second = RunningQuantile(window)
    second.load_state_dict(through_a_file(first.state_dict()))
    assert whole(doubles(batches[-1])).tolist() == second(doubles(batches[-1])).tolist()
    assert whole.state_dict() == second.state_dict()


def test_a_fresh_quantile_can_be_saved_and_restored() -> None:
    quantile = RunningQuantile(3)
    quantile.load_state_dict(through_a_file(RunningQuantile(3).state_dict()))
    assert [0.25, 0.75] == quantile(doubles([1.0, 2.0])).tolist()


def test_scores_that_rise_as_a_whole_gain_nothing() -> None:
    """A policy that finds 5 spreads more in every batch is paid 0.5 on average once the window has moved along."""
    rng = np.random.default_rng(0)
    quantile = RunningQuantile(64)
    means = [quantile(rng.normal(size=64) + 5 * turn).mean() for turn in range(4)]
    assert pytest.approx([0.5] * 4) == means
