"""What a buffer keeps, draws and drops as one: a single sample, or the samples of a group that can teach."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vergence.advantage.judging import TOLERANCE, effective_samples
from vergence.records import restore_samples, sample_records
from vergence.types import Doubles, JudgedGroup, Sample


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """Samples of one group that stay together."""

    samples: tuple[Sample, ...]
    """At least one, all of one prompt and one policy version."""
    uses: int
    """How often the entry was replayed."""

    @property
    def version(self) -> int:
        """The number of the policy that sampled it."""
        return self.samples[0].completion.policy_version

    @property
    def strength(self) -> float:
        """sum |A| over its samples: |A| of a single one."""
        return sum(abs(sample.advantage) for sample in self.samples)


Unit = Callable[[Sequence[JudgedGroup]], list[Entry]]
"""Judged groups -> what enters the buffer, in order."""


def single_samples(judged: Sequence[JudgedGroup]) -> list[Entry]:
    """Unit `sample`: each completion with an advantage by itself."""
    return [Entry((sample,), 0) for sample in effective_samples(judged)]


def whole_groups(judged: Sequence[JudgedGroup]) -> list[Entry]:
    """Unit `group`: the completions of an effective group together, those without advantage left out."""
    groups = [tuple(effective_samples([one])) for one in judged]
    return [Entry(samples, 0) for samples in groups if samples]


def priorities(entries: Sequence[Entry], exponent: float) -> Doubles:
    """(sum |A|)^alpha of each entry; exactly 0 where no advantage is left, whatever alpha."""
    return np.array([one.strength**exponent if one.strength > TOLERANCE else 0.0 for one in entries])


def draw_entries(weights: Doubles, count: int, rng: np.random.Generator) -> list[int]:
    """Places of `count` entries without replacement, each drawn in proportion to the weights of what is left.

    Fewer where fewer have a weight above 0.
    """
    count = min(count, int((weights > 0).sum()))
    if count == 0:
        return []
    chosen: list[int] = rng.choice(len(weights), count, replace=False, p=weights / weights.sum()).tolist()
    return chosen


def number_of_samples(entries: Sequence[Entry]) -> int:
    """Samples in all entries together."""
    return sum(len(one.samples) for one in entries)


def entry_records(entries: Sequence[Entry]) -> dict[str, Any]:
    """Entries as plain values; prompts are stored once."""
    return sample_records([sample for one in entries for sample in one.samples]) | {
        "sizes": [len(one.samples) for one in entries],
        "uses": [one.uses for one in entries],
    }


def restore_entries(record: dict[str, Any]) -> list[Entry]:
    """The inverse of `entry_records`."""
    samples = iter(restore_samples(record))
    return [
        Entry(tuple(next(samples) for _ in range(size)), uses)
        for size, uses in zip(record["sizes"], record["uses"], strict=True)
    ]
