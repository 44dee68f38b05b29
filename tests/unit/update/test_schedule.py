"""Learning-rate schedules, by hand."""

import pytest

from vergence.update.schedule import constant, cosine


def test_constant_is_one_for_ever() -> None:
    assert [1.0, 1.0, 1.0] == [constant()(update) for update in (0, 7, 10**6)]


@pytest.mark.parametrize(
    ("update", "factor"),
    [
        (0, 0.5),  # ten updates, of which two rise
        (1, 1.0),
        (2, 1.0),  # then 0.1 + 0.9 (1 + cos(pi k / 8)) / 2 with k = 0 ..
        (4, 0.8681980515339464),  # cos(pi / 4) = 0.70710678
        (6, 0.55),  # half-way
        (10, 0.1),
        (1000, 0.1),  # and stays there
    ],
)
def test_cosine_rises_falls_and_stays(update: int, factor: float) -> None:
    assert pytest.approx(factor) == cosine(10, warmup=0.2, floor=0.1)(update)


def test_without_warm_up_the_first_update_has_the_full_rate() -> None:
    assert 1.0 == cosine(10, warmup=0.0, floor=0.0)(0)


def test_a_single_update_has_the_full_rate() -> None:
    assert 1.0 == cosine(1, warmup=0.1, floor=0.0)(0)


def test_cosine_never_leaves_floor_to_one_and_never_rises_after_warm_up() -> None:
    factors = [cosine(200, warmup=0.1, floor=0.05)(update) for update in range(220)]
    assert sorted(factors[:20]) == factors[:20]
    assert sorted(factors[20:], reverse=True) == factors[20:]
    assert all(0.05 <= factor <= 1.0 for factor in factors)
