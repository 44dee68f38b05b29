"""Learning-rate schedules: functions of how far a stage has come, to a factor of the base rate.

Progress is a share of the stage and not a number of updates, because nobody knows beforehand how many updates there
will be: steps whose groups teach nothing make fewer, and a budget may be spent before the last step. A stage that is
ended by what is measured (a target, early stopping, an alarm) ends in the middle of its schedule.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a stage that an update stands for, as shares of the whole: 0 <= begin <= end <= 1."""

    begin: float
    end: float


WHOLE = Span(0.0, 1.0)
"""Of an update that is a stage of its own."""

Schedule = Callable[[Span], float]


def span_of(step: int, steps: int, *, update: int = 0, updates: int = 1, spent: float = 0.0) -> Span:
    """Of update `update` of the `updates` that step `step` of `steps` makes, all counted from 0.

    `spent` is the share of the stage's budget that was spent before the step. Where it is ahead of the steps it
    decides, so that a stage which its budget ends has gone through its schedule.
    """
    begin, end = ((step + (update + more) / updates) / steps for more in (0, 1))
    return Span(min(1.0, max(begin, spent)), min(1.0, max(end, spent)))


def constant() -> Schedule:
    """Always 1."""
    return lambda span: 1.0


def cosine(*, warmup: float, floor: float) -> Schedule:
    """Linear from 0 to 1 over the first `warmup` share of the stage, then half a cosine down to `floor` at its end.

        span.end / warmup                                      span.begin < warmup, at most 1
        floor + (1 - floor) (1 + cos(pi p)) / 2                else, p = (span.begin - warmup) / (1 - warmup)

    The rise counts the update itself, so the first one is not lost to a rate of 0. With equal updates these are the
    factors of transformers' cosine schedule, whose rise is one update behind.
    """

    def factor(span: Span) -> float:
        if span.begin < warmup:
            return min(1.0, span.end / warmup)
        progress = (span.begin - warmup) / (1 - warmup) if warmup < 1 else 1.0
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor
