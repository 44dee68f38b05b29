"""Learning-rate schedules, by hand and against transformers."""

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from vergence.update.schedule import WHOLE, Span, constant, cosine, span_of


def test_constant_is_one_for_ever() -> None:
    assert [1.0, 1.0, 1.0] == [constant()(span) for span in (Span(0.0, 0.1), Span(0.5, 0.6), Span(1.0, 1.0))]


@pytest.mark.parametrize(
    ("update", "factor"),
    [
        (0, 0.5),  # ten updates, of which two rise
        (1, 1.0),
        (2, 1.0),  # then 0.1 + 0.9 (1 + cos(pi k / 8)) / 2 with k = 0 ..
        (4, 0.8681980515339464),  # cos(pi / 4) = 0.70710678
        (6, 0.55),  # half-way
    ],
)
def test_cosine_rises_and_falls(update: int, factor: float) -> None:
    assert pytest.approx(factor) == cosine(warmup=0.2, floor=0.1)(span_of(update, 10))


def test_at_the_end_of_a_stage_it_has_reached_its_floor() -> None:
    assert pytest.approx(0.1) == cosine(warmup=0.2, floor=0.1)(Span(1.0, 1.0))
    assert 0.0 == cosine(warmup=1.0, floor=0.0)(Span(1.0, 1.0))


def test_without_warm_up_the_first_update_has_the_full_rate() -> None:
    assert 1.0 == cosine(warmup=0.0, floor=0.0)(span_of(0, 10))


def test_a_single_update_has_the_full_rate() -> None:
    assert 1.0 == cosine(warmup=0.1, floor=0.0)(WHOLE)


def test_with_equal_updates_it_falls_as_that_of_transformers() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=8, num_training_steps=40)
    ours, expected = [], []
    for step in range(10):
        for update in range(4):
            ours.append(cosine(warmup=0.2, floor=0.0)(span_of(step, 10, update=update, updates=4)))
            expected.append(theirs.get_last_lr()[0])
            optimizer.step()
            theirs.step()
    assert pytest.approx(expected[8:]) == ours[8:]
    assert pytest.approx(expected[1:9]) == ours[:8]


def test_cosine_never_leaves_floor_to_one_and_never_rises_after_warm_up() -> None:
    factors = [cosine(warmup=0.1, floor=0.05)(span_of(update, 200)) for update in range(200)]
    assert sorted(factors[:20]) == factors[:20]
    assert sorted(factors[20:], reverse=True) == factors[20:]
    assert all(0.05 - 1e-9 <= factor <= 1.0 for factor in factors)


def test_an_update_stands_for_its_share_of_its_step() -> None:
    assert Span(0.5, 0.625) == span_of(2, 4, update=0, updates=2)
    assert Span(0.625, 0.75) == span_of(2, 4, update=1, updates=2)
    assert Span(0.5, 0.75) == span_of(2, 4)


def test_a_budget_decides_where_it_is_ahead_of_the_steps() -> None:
    assert Span(0.7, 0.75) == span_of(2, 4, spent=0.7)
    assert Span(0.9, 0.9) == span_of(2, 4, spent=0.9)
    assert Span(0.5, 0.75) == span_of(2, 4, spent=0.1)
    assert Span(1.0, 1.0) == span_of(2, 4, spent=1.3)  # a step may overdraw it
