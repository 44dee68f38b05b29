"""The normal band of a signal, learnt at the start of a stage, and the two-sided alarm beyond it.

    band    mean +- max(k * std, absolute, relative * |mean|),  over the first readings of the stage
    alarm   `patience` readings in a row beyond the same edge

A signal is one figure of metrics.jsonl; a reading is its value in one step. Everything here is a pure function over
frozen values: the state goes in and comes out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np


class Side(StrEnum):
    """An edge of a band."""

    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Band:
    """What counts as normal, edges included; an infinite edge is never crossed."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How one signal is watched."""

    signal: str
    """Its name in metrics.jsonl."""
    sides: frozenset[Side]
    """The edges that are watched."""
    learn: int
    """Readings that the band is learnt from; 0 learns none, and `limits` alone count."""
    spread: float
    """k: half the width of the band, in standard deviations of those readings."""
    absolute: float
    """Half the width is never less than this, in units of the signal."""
    relative: float
    """Half the width is never less than this share of the mean's size."""
    limits: Band
    """Beyond it a reading is outside in any case, while the band is being learnt too."""
    patience: int
    """Readings in a row that must be beyond an edge."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What is known of a signal so far."""

    learnt: tuple[float, ...] = ()
    """The first readings, as many as the band is learnt from."""
    below: int = 0
    """Readings in a row under the band."""
    above: int = 0
    """Readings in a row over it."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A signal that has left its band."""

    signal: str
    side: Side
    value: float
    """The reading that completed the row."""
    band: Band
    readings: int
    """How many in a row were outside."""

    def __str__(self) -> str:
        edge, word = (self.band.low, "below") if self.side is Side.LOW else (self.band.high, "above")
        return f"{self.signal} = {self.value:.4g}, {word} {edge:.4g} for {self.readings} readings in a row"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one value came to."""

    watched: Watched
    """The state after it."""
    band: Band
    """The one it was held against."""
    outside: bool
    """Beyond a watched edge."""
    alarm: Alarm | None
    """None where the row is not complete."""


def learn_band(values: Sequence[float], *, spread: float, absolute: float, relative: float) -> Band:
    """mean +- max(spread * std, absolute, relative * |mean|); the standard deviation divides by n - 1."""
    mean = float(np.mean(values))
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    half = max(spread * deviation, absolute, relative * abs(mean))
    return Band(mean - half, mean + half)


def band_of(rule: Rule, watched: Watched) -> Band:
    """The band as it stands: limits alone until enough was read, then what is inside both; unwatched edges infinite."""
    low, high = rule.limits.low, rule.limits.high
    if rule.learn and len(watched.learnt) == rule.learn:
        learnt = learn_band(watched.learnt, spread=rule.spread, absolute=rule.absolute, relative=rule.relative)
        low, high = max(low, learnt.low), min(high, learnt.high)
    return Band(low if Side.LOW in rule.sides else -math.inf, high if Side.HIGH in rule.sides else math.inf)


def read(rule: Rule, watched: Watched, value: float) -> Reading:
    """One more reading. What is not a number counts as outside on no side and is learnt from by nobody.

    A row that raises an alarm starts anew, so that the next alarm takes `patience` further readings. Nothing is learnt
    from a reading that is beyond the limits.
    """
    band = band_of(rule, watched)
    below, above = value < band.low, value > band.high
    counted = replace(watched, below=watched.below + 1 if below else 0, above=watched.above + 1 if above else 0)
    if len(watched.learnt) < rule.learn and math.isfinite(value) and not (below or above):
        counted = replace(counted, learnt=(*watched.learnt, value))
    for side, row in ((Side.LOW, counted.below), (Side.HIGH, counted.above)):
        if row == rule.patience:
            alarm = Alarm(rule.signal, side, value, band, row)
            return Reading(calm(counted), band, True, alarm)
    return Reading(counted, band, below or above, None)


def calm(watched: Watched) -> Watched:
    """The same knowledge with no row begun: after an alarm, and after other weights were put in place."""
    return replace(watched, below=0, above=0)
