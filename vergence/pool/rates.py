"""Solve rates: how often a policy solves each problem, and which problems are worth training on.

A problem that is always solved, or never, gives groups without advantage. R1V2 applies its buffer "ahead of time" and
calls the result a filtered prompt pool; VL-Rethinker, Skywork-OR1 and InternVL3.5 filter in the same way.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Band:
    """Solve rates that are kept, both ends included."""

    low: float
    high: float

    def holds(self, rate: float) -> bool:
        """Whether a problem with this solve rate is kept; 1e-9 of rounding does not decide."""
        return self.low - 1e-9 <= rate <= self.high + 1e-9


def solve_rates(rows: Iterable[Mapping[str, Any]]) -> list[float]:
    """For each row of samples the share of its responses that are right."""
    return [float(np.mean(row["components"]["accuracy"])) for row in rows]


def pool_rows(
    rows: Sequence[Mapping[str, Any]], rates: Sequence[float], samples: int, band: Band
) -> list[dict[str, Any]]:
    """The rows of the data file that are kept, each with its solve rate and the number of samples behind it."""
    return [
        dict(row) | {"solve_rate": rate, "samples": samples}
        for row, rate in zip(rows, rates, strict=True)
        if band.holds(rate)
    ]


@dataclass(frozen=True, slots=True)
class PoolSummary:
    """What became of the problems of a data file."""

    problems: int
    kept: int
    all_right: int
    all_wrong: int
    mean: float
    """Mean solve rate: the policy's sampled accuracy."""
    histogram: tuple[tuple[float, int], ...]
    """(solve rate, problems): every rate that can occur, k / K."""


def summarise(rates: Sequence[float], samples: int, band: Band) -> PoolSummary:
    """Counts and the histogram."""
    solved = [round(rate * samples) for rate in rates]
    return PoolSummary(
        problems=len(rates),
        kept=sum(band.holds(rate) for rate in rates),
        all_right=sum(count == samples for count in solved),
        all_wrong=sum(count == 0 for count in solved),
        mean=float(np.mean(rates)),
        histogram=tuple((count / samples, solved.count(count)) for count in range(samples + 1)),
    )
