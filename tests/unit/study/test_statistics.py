"""Mean, spread and paired differences, against a library and against numbers worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vergence.study.statistics import interval_half_width, paired_difference, spread


def test_spread_by_hand():
    found = spread([1.0, 2.0, 6.0])  # mean 3, squares 4 + 1 + 9 = 14, over n - 1 = 2
    assert (found.count, found.mean) == (3, 3.0)
    assert found.deviation == pytest.approx(math.sqrt(7))
    assert spread([5.0]).deviation is None


def test_difference_by_hand():
    # gaps 1, 2, 3: mean 2, s = 1; t(0.975, 2) = 4.302653 from a printed table
    found = paired_difference({0: 2.0, 1: 4.0, 2: 6.0}, {0: 1.0, 1: 2.0, 2: 3.0})
    assert found is not None
    assert (found.count, found.mean, found.higher, found.lower) == (3, 2.0, 3, 0)
    assert found.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-6)
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-6)
    assert not found.clear


def test_only_seeds_that_both_have_are_compared():
    found = paired_difference({0: 5.0, 1: 1.0, 7: 100.0}, {1: 1.0, 0: 3.0, 2: -100.0})
    assert found is not None
    assert (found.count, found.mean, found.higher, found.lower) == (2, 1.0, 1, 0)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    assert paired_difference({}, {}) is None


def test_one_seed_has_no_interval():
    found = paired_difference({3: 1.0}, {3: 2.0})
    assert found is not None
    assert (found.mean, found.low, found.high, found.clear, found.lower) == (-1.0, None, None, False, 1)


@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_the_same_difference_in_every_seed_has_no_interval_and_is_not_clear(gap: float):
    """0.3 - 0.2 and 0.9 - 0.8 differ by rounding, and an interval of that width would exclude 0."""
    theirs = {0: 0.2, 1: 0.8, 2: 0.4}
    found = paired_difference({seed: value + gap for seed, value in theirs.items()}, theirs)
    assert found is not None
    assert (found.mean, found.low, found.high, found.clear) == (pytest.approx(gap), None, None, False)


def test_an_interval_on_either_side_of_zero_is_clear():
    gaps = {0: 1.0, 1: 1.1, 2: 1.2}
    zeros = dict.fromkeys(gaps, 0.0)
    above, below = paired_difference(gaps, zeros), paired_difference(zeros, gaps)
    assert above is not None
    assert below is not None
    assert above.clear
    assert below.clear
    assert (above.higher, below.lower) == (3, 3)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=12))
def test_the_interval_is_that_of_a_t_test(values: list[float]):
    half = interval_half_width(values)
    if np.std(values) < 1e-6:
        return
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert half == pytest.approx((expected.high - expected.low) / 2, rel=1e-9)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(3.0, 2.0, size=(4000, 5))
    covered = [abs(row.mean() - 3.0) <= interval_half_width(row.tolist()) for row in draws]
    assert abs(np.mean(covered) - 0.95) < 0.012  # three standard errors of 4000 trials
