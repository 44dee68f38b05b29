"""avg@k with its interval, and pass@k."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.evaluation.statistics import Z95, Interval, mean_at_k, pass_at_k

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


def test_z_is_the_two_sided_95_percent_quantile() -> None:
    assert pytest.approx(0.975) == 0.5 * (1 + math.erf(Z95 / math.sqrt(2)))


@given(answers)
def test_with_several_answers_the_spread_is_between_problems(right: list[list[float]]) -> None:
    """By a slow loop: standard error of the problems' means, cut at 0 and 1."""
    means = []
    for row in right:
        total = 0.0
        for value in row:
            total += value
        means.append(total / len(row))
    mean = sum(means) / len(means)
    variance = sum((value - mean) ** 2 for value in means) / (len(means) - 1)
    half = 1.959963984540054 * math.sqrt(variance / len(means))
    found = mean_at_k(right)
    expected = (mean, max(0.0, mean - half), min(1.0, mean + half))
    assert pytest.approx(expected, abs=1e-9) == (found.mean, found.low, found.high)


def test_repeating_every_answer_does_not_narrow_the_interval() -> None:
    """Answers to one problem are not independent; counting them as if they were would halve it."""
    few, many = (
        mean_at_k([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]]),
        mean_at_k([[1.0, 1.0] * 4, [0.0, 0.0] * 4, [1.0, 0.0] * 4]),
    )
    assert pytest.approx((few.low, few.high)) == (many.low, many.high)


def test_one_problem_says_nothing_about_the_others() -> None:
    assert Interval(0.5, 0.0, 1.0) == mean_at_k([[1.0, 0.0]])


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
