"""The Selective Sample Buffer (R1V2's SSB): keeps samples that can teach, and tops batches up with them.

    fresh effective samples first; then past ones, drawn without replacement with probability ~ |A|^alpha;
    then the fresh ones enter, and the oldest (or the least) leave.

The paper leaves unit, capacity, eviction, exponent, mixing, age and correction open; docs/equations.md lists what is
chosen, and docs/buffer.md when to choose what.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from vergence.advantage.judging import TOLERANCE
from vergence.buffer.entries import (
    Entry,
    Unit,
    draw_entries,
    entry_records,
    number_of_samples,
    priorities,
    restore_entries,
)
from vergence.buffer.fresh import effective_groups, fresh_draws, sampled, zero_advantage_draws
from vergence.buffer.mixed import KeptAdvantages
from vergence.buffer.selection import Ask, Selected
from vergence.types import Draw, JudgedGroup, Origin

Leaving = Callable[[Sequence[Entry], float], list[int]]
"""(entries from the oldest to the newest, alpha) -> their places in the order in which they leave a full buffer."""


def oldest_first(entries: Sequence[Entry], exponent: float) -> list[int]:
    """Eviction `oldest`: in the order in which they came."""
    return list(range(len(entries)))


def lowest_first(entries: Sequence[Entry], exponent: float) -> list[int]:
    """Eviction `lowest`: the lowest priority leaves first, and among equal ones the oldest."""
    order: list[int] = np.argsort(priorities(entries, exponent), kind="stable").tolist()
    return order


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferLimits:
    """What a buffer keeps, and how it chooses."""

    capacity: int
    """Samples kept at most. 0 keeps nothing: plain GRPO."""
    exponent: float
    """alpha in (sum |A|)^alpha: 0 draws uniformly, 1 is the paper's "weighted by the absolute advantage"."""
    max_age: int
    """Policy versions after which an entry is dropped."""
    max_uses: int
    """How often one entry is replayed at most."""
    target: float
    """Share of the batch up to which it is filled."""


@final
class SampleBuffer:
    """Strategy `ssb`. Its state is the ordered list of kept entries, their uses, and what advantages are made of."""

    def __init__(self, limits: BufferLimits, unit: Unit, leaving: Leaving, advantages: KeptAdvantages) -> None:
        self.limits = limits
        self._unit = unit
        self._leaving = leaving
        self._advantages = advantages
        self._kept: list[Entry] = []

    def __len__(self) -> int:
        """Samples, whatever the unit."""
        return number_of_samples(self._kept)

    def gather(self, ask: Ask, step: int) -> list[JudgedGroup]:
        """One batch of prompts a step."""
        return ask(step)

    def select(self, judged: Sequence[JudgedGroup], size: int, *, version: int, rng: np.random.Generator) -> Selected:
        """All fresh effective samples, then kept ones as far as there is room; places that stay empty count.

        The fresh samples enter the buffer after the draw, so none of them is drawn twice. `version` is the policy's
        number now: entries more than `max_age` versions old are dropped before the draw.
        """
        limits = self.limits
        young = [entry for entry in self._kept if version - entry.version <= limits.max_age]
        kept = self._advantages.renew(young, judged, version)
        draws = fresh_draws(judged)
        chosen = self._choose(kept, round(limits.target * size) - len(draws), rng)
        for place in chosen:
            kept[place] = replace(kept[place], uses=kept[place].uses + 1)
            draws += replays(kept[place], version)
        kept = [entry for entry in kept if entry.uses < limits.max_uses]
        self._kept = self._within_capacity(kept + self._unit(judged))
        counts = sampled(judged, effective_groups(judged))
        return Selected(tuple(draws), tuple(zero_advantage_draws(judged)), size, len(self), counts)

    def warm(self, judged: Sequence[JudgedGroup]) -> None:
        """Groups that version 0 sampled before the first step enter as if they were those of a step before it."""
        self._advantages.renew((), judged, 0)
        self._kept = self._within_capacity(self._kept + self._unit(judged))

    def _choose(self, kept: Sequence[Entry], room: int, rng: np.random.Generator) -> list[int]:
        """Places of the entries that are replayed; one that is too large for the room that is left is passed over."""
        chosen = []
        for place in draw_entries(priorities(kept, self.limits.exponent), max(0, room), rng):
            size = len(replays(kept[place], 0))
            if size <= room:
                chosen.append(place)
                room -= size
        return chosen

    def _within_capacity(self, entries: list[Entry]) -> list[Entry]:
        excess = number_of_samples(entries) - self.limits.capacity
        gone = set()
        for place in self._leaving(entries, self.limits.exponent):
            if excess <= 0:
                break
            gone.add(place)
            excess -= len(entries[place].samples)
        return [entry for place, entry in enumerate(entries) if place not in gone]

    def state_dict(self) -> dict[str, Any]:
        """Every kept sample, in order, with its number of uses."""
        return entry_records(self._kept) | self._advantages.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._kept = restore_entries(state)
        self._advantages.load_state_dict(state)


def replays(entry: Entry, version: int) -> list[Draw]:
    """The entry's samples as replayed ones, without those whose advantage has vanished."""
    return [
        Draw(sample, Origin.REPLAY, version - entry.version, entry.uses)
        for sample in entry.samples
        if abs(sample.advantage) > TOLERANCE
    ]
