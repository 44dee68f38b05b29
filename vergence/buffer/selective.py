"""The Selective Sample Buffer (R1V2's SSB): keeps samples that can teach, and tops batches up with them.

    fresh effective samples first; then past ones, drawn without replacement with probability ~ |A|^alpha;
    then the fresh ones enter, and the oldest leave.

The paper leaves capacity, eviction, exponent, mixing, age and correction open; docs/equations.md lists what is chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from vergence.advantage import effective_samples
from vergence.buffer.selection import Ask, Selected
from vergence.records import restore_samples, sample_records
from vergence.types import Draw, JudgedGroup, Origin, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferLimits:
    """What a buffer keeps, and how it chooses."""

    capacity: int
    """Samples kept at most; the oldest leave first. 0 keeps nothing: plain GRPO."""
    exponent: float
    """alpha in |A|^alpha: 0 draws uniformly, 1 is the paper's "weighted by the absolute advantage"."""
    max_age: int
    """Policy versions after which a sample is dropped."""
    max_uses: int
    """How often one sample is replayed at most."""


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    sample: Sample
    uses: int


@final
class SampleBuffer:
    """The buffer's whole state is the ordered list of kept samples and how often each was replayed."""

    def __init__(self, limits: BufferLimits) -> None:
        self.limits = limits
        self._kept: list[_Kept] = []

    def __len__(self) -> int:
        return len(self._kept)

    def gather(self, ask: Ask, step: int) -> list[JudgedGroup]:
        """One batch of prompts a step."""
        return ask(step)

    def select(self, judged: Sequence[JudgedGroup], size: int, *, version: int, rng: np.random.Generator) -> Selected:
        """The fresh effective samples, topped up; places that stay empty count."""
        draws = self.top_up(effective_samples(judged), size, version=version, rng=rng)
        return Selected(tuple(draws), size, len(self))

    def top_up(self, fresh: Sequence[Sample], size: int, *, version: int, rng: np.random.Generator) -> list[Draw]:
        """All fresh samples, then as many kept ones as `size` leaves room for and the buffer can give.

        The fresh samples enter the buffer after the draw, so none of them is drawn twice. `version` is the policy's
        number now: samples more than `max_age` versions old are dropped before the draw.
        """
        limits = self.limits
        self._kept = [kept for kept in self._kept if version - kept.sample.completion.policy_version <= limits.max_age]
        chosen = self._choose(max(0, size - len(fresh)), rng)
        draws = [Draw(sample, Origin.FRESH, 0) for sample in fresh]
        for place in chosen:
            kept = self._kept[place]
            self._kept[place] = _Kept(kept.sample, kept.uses + 1)
            draws.append(Draw(kept.sample, Origin.REPLAY, version - kept.sample.completion.policy_version))
        self._kept = [kept for kept in self._kept if kept.uses < limits.max_uses]
        self._kept += [_Kept(sample, 0) for sample in fresh]
        self._kept = self._kept[max(0, len(self._kept) - limits.capacity) :]
        return draws

    def _choose(self, count: int, rng: np.random.Generator) -> list[int]:
        """Places of `count` kept samples without replacement, each drawn in proportion to |A|^alpha of what is left."""
        priorities = np.array([abs(kept.sample.advantage) ** self.limits.exponent for kept in self._kept])
        drawable = int((priorities > 0).sum())
        count = min(count, drawable)
        if count == 0:
            return []
        chosen: list[int] = rng.choice(len(priorities), count, replace=False, p=priorities / priorities.sum()).tolist()
        return chosen

    def state_dict(self) -> dict[str, Any]:
        """Every kept sample, in order, with its number of uses."""
        return sample_records([kept.sample for kept in self._kept]) | {"uses": [kept.uses for kept in self._kept]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        samples = restore_samples(state)
        self._kept = [_Kept(sample, uses) for sample, uses in zip(samples, state["uses"], strict=True)]
