"""avg@k with its interval, and pass@k."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from vergence.evaluation.statistics import (
    Z95,
    Interval,
    clustered_difference,
    clustered_share,
    mean_at_k,
    pass_at_k,
)

answers = st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=3, max_size=3), min_size=2, max_size=20)


def once(right: int, wrong: int) -> list[list[float]]:
    return [[1.0]] * right + [[0.0]] * wrong


def test_wilson_for_eight_of_ten() -> None:
    """A textbook case: 0.4902 to 0.9433."""
    found = mean_at_k(once(8, 2))
    assert pytest.approx((0.8, 0.490162, 0.943318), abs=1e-6) == (found.mean, found.low, found.high)


@given(st.integers(0, 40), st.integers(0, 40))
def test_wilsons_ends_are_the_shares_that_the_data_would_just_reject(right: int, wrong: int) -> None:
    """|p - share| = z sqrt(share (1 - share) / n): the equation that Wilson solves, put back."""
    if right + wrong == 0:
        return
    found = mean_at_k(once(right, wrong))
    for end in (found.low, found.high):
        distance = Z95 * math.sqrt(end * (1 - end) / (right + wrong))
        assert pytest.approx(abs(found.mean - end), abs=1e-7) == distance
    assert 0.0 <= found.low <= found.mean + 1e-12
    assert found.mean - 1e-12 <= found.high <= 1.0


@pytest.mark.parametrize(("right", "count"), [(0, 3), (3, 3), (1, 30), (29, 30), (150, 300)])
def test_one_answer_a_problem_has_scipys_wilson_interval(right: int, count: int) -> None:
    expected = binomtest(right, count).proportion_ci(0.95, method="wilson")
    found = mean_at_k(once(right, count - right))
    assert pytest.approx((expected.low, expected.high), abs=1e-12) == (found.low, found.high)


def test_z_is_the_two_sided_95_percent_quantile() -> None:
    assert pytest.approx(0.975) == 0.5 * (1 + math.erf(Z95 / math.sqrt(2)))


def wilson(mean: float, effective: float) -> tuple[float, float]:
    """The roots of (mean - x)^2 = z^2 x (1 - x) / n, by the formula for quadratic equations."""
    square = Z95**2 / effective
    a, b, c = 1 + square, -(2 * mean + square), mean**2
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


@given(answers)
def test_with_several_answers_it_is_wilsons_with_the_effective_number(right: list[list[float]]) -> None:
    """By slow loops: the correlation of moments, moved towards 1 by 3 / (3 + m^2), in N / (1 + (k - 1) rho)."""
    count, each = len(right), len(right[0])
    means = [sum(row) / each for row in right]
    mean = sum(means) / count
    between = sum((value - mean) ** 2 for value in means) / (count - 1)
    fewer = min(count - 1, sum(any(row) for row in right), sum(not all(row) for row in right))
    rho = 1.0
    if 0 < mean < 1:
        design = count * each * between / count / (mean * (1 - mean))
        rho = min(1.0, max(0.0, (design - 1) / (each - 1)))
        rho += (1 - rho) * 3 / (3 + fewer**2)
    found = mean_at_k(right)
    assert pytest.approx((mean, *wilson(mean, count * each / (1 + (each - 1) * rho))), abs=1e-9) == (
        found.mean,
        found.low,
        found.high,
    )


def test_all_right_of_three_problems_is_as_sure_as_three_answers_make_it() -> None:
    """3 / (3 + z^2) = 0.4385, Wilson's lower end for three of three; five answers to each tell no more of others."""
    found, one = mean_at_k([[1.0] * 5] * 3), mean_at_k(once(3, 0))
    assert pytest.approx(3 / (3 + 1.959963984540054**2)) == found.low
    assert (1.0, 1.0) == (found.mean, found.high)
    assert pytest.approx((one.low, one.high)) == (found.low, found.high)


@given(answers)
def test_wrong_answers_have_the_mirrored_interval(right: list[list[float]]) -> None:
    found, mirrored = mean_at_k(right), mean_at_k([[1 - value for value in row] for row in right])
    assert pytest.approx((1 - found.high, 1 - found.low), abs=1e-9) == (mirrored.low, mirrored.high)
    assert found.low < found.high
    assert found.low <= found.mean <= found.high


def test_answers_that_are_all_alike_count_once() -> None:
    few, many = mean_at_k(once(8, 2)), mean_at_k([[1.0] * 16] * 8 + [[0.0] * 16] * 2)
    assert pytest.approx((few.low, few.high)) == (many.low, many.high)


def test_one_problem_is_one_answer() -> None:
    found = mean_at_k([[1.0, 0.0]])
    assert pytest.approx((0.5, *wilson(0.5, 1.0))) == (found.mean, found.low, found.high)


def covered(problems: int, each: int, rate: float, correlation: float, sets: int) -> float:
    """Of beta-binomial sets with a seed of their own."""
    rng = np.random.default_rng([problems, each, int(1000 * rate)])
    strength = (1 - correlation) / correlation
    counts = rng.binomial(each, rng.beta(rate * strength, (1 - rate) * strength, (sets, problems)))
    rows = [[1.0] * count + [0.0] * (each - count) for count in range(each + 1)]
    found = [mean_at_k([rows[count] for count in one]) for one in counts.tolist()]
    return sum(one.low <= rate <= one.high for one in found) / sets


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
@pytest.mark.parametrize(("problems", "each", "correlation"), [(30, 5, 0.3), (30, 16, 0.7), (100, 5, 0.5)])
def test_it_covers_the_truth_in_about_95_of_100_sets(problems: int, each: int, correlation: float, rate: float) -> None:
    """About 93 to 98 in the long run (docs/results/intervals.md); 500 sets have a standard error of 1.

    Three of them to each side. Mean +- 1.96 standard errors covers 40 to 92 at a rate of 0.02.
    """
    assert 0.90 <= covered(problems, each, rate, correlation, 500) <= 1.0


def test_the_old_interval_would_fail_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def normal(right: list[list[float]]) -> Interval:
        means = np.array([np.mean(row) for row in right])
        half = Z95 * means.std(ddof=1) / math.sqrt(len(means))
        return Interval(float(means.mean()), float(means.mean() - half), float(means.mean() + half))

    monkeypatch.setitem(globals(), "mean_at_k", normal)
    assert covered(30, 16, 0.02, 0.7, 500) < 0.6


@pytest.mark.parametrize("problems", [30, 100])
def test_one_answer_a_problem_is_covered_in_95_of_100_cases_in_the_mean_over_rates(problems: int) -> None:
    """Exact, by summing binomial chances; single rates jump about it (Brown, Cai and DasGupta 2001)."""
    ends = [mean_at_k(once(right, problems - right)) for right in range(problems + 1)]
    chances = [
        sum(
            math.comb(problems, right) * rate**right * (1 - rate) ** (problems - right)
            for right, one in enumerate(ends)
            if one.low <= rate <= one.high
        )
        for rate in np.linspace(0.02, 0.98, 97)
    ]
    assert 0.945 < float(np.mean(chances)) < 0.957
    assert min(chances) > 0.92


def test_a_share_of_clusters_of_one_size_is_avg_at_k() -> None:
    right = [[1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    names = [str(place) for place, row in enumerate(right) for _ in row]
    found, expected = clustered_share([value for row in right for value in row], names), mean_at_k(right)
    assert pytest.approx((expected.mean, expected.low, expected.high)) == (found.mean, found.low, found.high)


def test_a_share_of_single_values_is_wilsons_ties_included() -> None:
    """6 and two halves of 10."""
    found = clustered_share([1.0] * 6 + [0.5] * 2 + [0.0] * 2, [str(place) for place in range(10)])
    assert pytest.approx((0.7, *wilson(0.7, 10.0))) == (found.mean, found.low, found.high)


def test_a_large_cluster_makes_a_share_less_sure() -> None:
    values = [1.0, 0.0] * 10
    even = clustered_share(values, [str(place // 2) for place in range(20)])
    lopsided = clustered_share([1.0] * 10 + [0.0] * 10, ["a"] * 10 + [str(place) for place in range(10)])
    assert even.mean == lopsided.mean == 0.5
    assert lopsided.high - lopsided.low > 1.3 * (even.high - even.low)


def test_a_difference_of_single_values_is_agresti_and_mins() -> None:
    """Twelve pairs, 5 better, 1 worse: (5 - 1) / 14, of 14 with half a pair more in each of the four cells.

    Variance (b + c - (b - c)^2 / n) / n^2 with b = 5.5, c = 1.5, n = 14.
    """
    values = [1.0] * 5 + [-1.0] + [0.0] * 6
    found = clustered_difference(values, [str(place) for place in range(12)])
    half = Z95 * math.sqrt((7 - 4**2 / 14) / 14**2)
    assert pytest.approx((4 / 12, 4 / 14 - half, 4 / 14 + half)) == (found.mean, found.low, found.high)


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.5, 1.0])
def test_equal_differences_have_an_interval_that_is_no_point(value: float) -> None:
    found = clustered_difference([value] * 20, [str(place // 2) for place in range(20)])
    assert found.low < found.high
    assert found.low <= value <= found.high
    assert -1.0 <= found.low
    assert found.high <= 1.0


@pytest.mark.parametrize(
    ("right", "share"),
    [
        ([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]], 0.75),
        ([[0.0], [1.0]], 0.5),
        ([[0.0, 0.0]], 0.0),
        ([[1.0, 1.0]], 1.0),
    ],
)
def test_pass_at_k_is_the_share_of_problems_with_a_right_answer(right: list[list[float]], share: float) -> None:
    assert share == pass_at_k(right)


@given(answers)
def test_pass_at_k_is_never_below_avg_at_k(right: list[list[float]]) -> None:
    assert mean_at_k(right).mean <= pass_at_k(right) + 1e-12
