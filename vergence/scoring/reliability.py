"""What is said of scores on comparisons whose order is known: accuracy, margins, calibration. All with their spread.

A comparison has a gap: score of the better member minus score of the worse. Bradley-Terry claims that the first is
better with probability sigmoid(gap); the figures here say whether that claim can be believed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vergence.evaluation.statistics import Interval
from vergence.seeds import generator
from vergence.types import Doubles

RESAMPLES = 2000
"""Of the bootstrap."""


def wins(gaps: Doubles) -> Doubles:
    """1 where the better one scores higher, 0.5 for a tie, 0 otherwise; [N] -> [N]."""
    return (np.sign(gaps) + 1) / 2


def clustered_mean(values: Doubles, clusters: Sequence[str]) -> Interval:
    """Mean and 95 % bootstrap interval; values [N] of one cluster are drawn together, as they are not independent.

    Percentile bootstrap over clusters, for values without bounds; shares and their differences have intervals of their
    own (vergence/evaluation/statistics.py). One cluster alone, or values that are all equal, have no spread that could
    be measured: -inf..inf.
    """
    names, inverse = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(inverse, weights=values, minlength=len(names))
    counts = np.bincount(inverse, minlength=len(names)).astype(np.float64)
    mean = float(values.mean())
    if len(names) < 2 or values.min() == values.max():
        return Interval(mean, -np.inf, np.inf)
    drawn = generator("bootstrap", len(names)).integers(len(names), size=(RESAMPLES, len(names)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(mean, float(low), float(high))


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Comparisons about whose order the reward model was about equally sure."""

    low: float
    high: float
    count: int
    confidence: float
    """Mean of sigmoid(absolute gap)."""
    accuracy: float
    """Share in the right order; a tie counts half."""


def reliability(gaps: Doubles, bins: int = 10) -> list[ReliabilityBin]:
    """Predicted against observed, over equal bins of confidence in 0.5..1; empty bins are left out."""
    confidence = _sigmoid(np.abs(gaps))
    place = np.minimum(((confidence - 0.5) * 2 * bins).astype(int), bins - 1)
    right = wins(gaps)
    return [
        ReliabilityBin(
            low=0.5 + 0.5 * index / bins,
            high=0.5 + 0.5 * (index + 1) / bins,
            count=int(inside.sum()),
            confidence=float(confidence[inside].mean()),
            accuracy=float(right[inside].mean()),
        )
        for index in range(bins)
        if (inside := place == index).any()
    ]


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Mean distance of accuracy from confidence over the bins, weighted by their counts; 0 is perfect."""
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.accuracy - one.confidence) for one in bins) / total


def log_loss(gaps: Doubles, temperature: float = 1.0) -> float:
    """Mean of -log sigmoid(gap / temperature), the Bradley-Terry loss; log 2 = 0.693 is a coin's."""
    return float(np.logaddexp(0.0, -gaps / temperature).mean())


def fitted_temperature(gaps: Doubles) -> float:
    """The T at which sigmoid(gap / T) explains the comparisons best: above 1 the model is too sure, below 1 not enough.

    The loss is convex in 1/T; golden-section search over T in 1/1000..1000. Where no comparison is in the wrong order
    the best T is the smallest, and where none is in the right order the largest.
    """
    low, high = np.log(1e-3), np.log(1e3)
    ratio = (np.sqrt(5.0) - 1) / 2
    inner, outer = high - ratio * (high - low), low + ratio * (high - low)
    for _ in range(80):
        if log_loss(gaps, float(np.exp(inner))) <= log_loss(gaps, float(np.exp(outer))):
            high, outer = outer, inner
            inner = high - ratio * (high - low)
        else:
            low, inner = inner, outer
            outer = low + ratio * (high - low)
    return float(np.exp((low + high) / 2))


def _sigmoid(values: Doubles) -> Doubles:
    found: Doubles = np.exp(-np.logaddexp(0.0, -values))
    return found
