"""Solve rates, the band, and the counts, by hand."""

import pytest

from vergence.pool.rates import Band, PoolSummary, pool_rows, solve_rates, summarise

ROWS = [{"components": {"accuracy": row}} for row in ([1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [1] * 4)]
RATES = [1.0, 0.0, 0.25, 0.75, 1.0]


def test_a_solve_rate_is_the_share_of_right_responses() -> None:
    assert RATES == solve_rates(ROWS)


@pytest.mark.parametrize(
    ("low", "high", "kept"),
    [(0.1, 0.9, [0.25, 0.75]), (0.25, 0.75, [0.25, 0.75]), (0.0, 1.0, RATES), (1.0, 1.0, [1.0, 1.0]), (0.4, 0.6, [])],
)
def test_both_ends_of_the_band_are_kept(low: float, high: float, kept: list[float]) -> None:
    assert kept == [rate for rate in RATES if Band(low, high).holds(rate)]


def test_rounding_does_not_decide_at_the_ends() -> None:
    assert Band(0.1, 0.3).holds(0.1 + 0.2)
    assert not Band(0.1, 0.3).holds(0.3001)


def test_kept_rows_keep_their_keys_and_get_two() -> None:
    data = [{"id": str(index), "target": "t"} for index in range(5)]
    expected = [
        {"id": "2", "target": "t", "solve_rate": 0.25, "samples": 4},
        {"id": "3", "target": "t", "solve_rate": 0.75, "samples": 4},
    ]
    assert expected == pool_rows(data, RATES, 4, Band(0.1, 0.9))


def test_the_summary_counts_every_problem_once() -> None:
    expected = PoolSummary(5, 2, 2, 1, 0.6, ((0.0, 1), (0.25, 1), (0.5, 0), (0.75, 1), (1.0, 2)))
    summary = summarise(RATES, 4, Band(0.1, 0.9))
    assert expected == summary
    assert summary.problems == sum(count for _, count in summary.histogram)


def test_thirds_fall_into_their_bins() -> None:
    rates = solve_rates([{"components": {"accuracy": [1] * k + [0] * (3 - k)}} for k in range(4)])
    assert (1, 1, 1, 1) == tuple(count for _, count in summarise(rates, 3, Band(0.1, 0.9)).histogram)
