"""What several seeds say: mean and spread, and paired differences with Student's interval."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.special import stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Spread:
    """Values of one figure over seeds."""

    count: int
    mean: float
    deviation: float | None
    """Standard deviation with n - 1; None for a single value."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of a variant minus that of the reference, over the seeds that both have."""

    count: int
    mean: float
    low: float | None
    """Lower end of the interval of the mean; None for a single seed, or where all seeds have the same difference."""
    high: float | None
    higher: int
    """Seeds in which the variant's figure is the higher one."""
    lower: int
    """Seeds in which it is the lower one; equal ones are in neither."""

    @property
    def clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of one value or more."""
    return Spread(len(values), fmean(values), stdev(values) if len(values) > 1 else None)


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Seed by seed; None where no seed is in both.

    The interval is mean +- t(0.975, n - 1) s / sqrt(n), with s the standard deviation of the n differences: pairing
    takes out what a seed does to both, such as its parents and its data. Differences that are all equal have no spread
    from which an interval could be made: one of width 0 would be called clear, however few the seeds.
    """
    gaps = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    if not gaps:
        return None
    mean = fmean(gaps)
    alike = all(math.isclose(gap, mean, rel_tol=1e-9, abs_tol=1e-12) for gap in gaps)
    half = None if alike else interval_half_width(gaps)
    return Difference(
        count=len(gaps),
        mean=mean,
        low=None if half is None else mean - half,
        high=None if half is None else mean + half,
        higher=sum(gap > 0 for gap in gaps),
        lower=sum(gap < 0 for gap in gaps),
    )


def interval_half_width(values: Sequence[float]) -> float:
    """Half of the 95 % confidence interval of the mean of two values or more, by Student's t."""
    quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    return quantile * stdev(values) / math.sqrt(len(values))
