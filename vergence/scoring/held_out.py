"""The report on held-out comparisons: does a reward model order them, can its certainty be believed, does it look?"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import compress
from typing import Any

import numpy as np

from vergence.evaluation.statistics import Interval, clustered_difference, clustered_share
from vergence.pairs.comparisons import Comparison, Member
from vergence.scoring.reliability import (
    ReliabilityBin,
    clustered_mean,
    expected_calibration_error,
    fitted_temperature,
    log_loss,
    reliability,
    wins,
)
from vergence.types import Doubles, Metrics

MemberScores = Callable[[Sequence[Member]], Doubles]
"""Members [N] -> raw scores [N]."""
QUANTILES = (0, 5, 25, 50, 75, 95, 100)


@dataclass(frozen=True, slots=True)
class ImageSwap:
    """What happens to a good response's score when it is judged with another problem's picture."""

    count: int
    drop: Interval
    """Mean of score with the right picture - score with the wrong one, in the unit of the scores given."""
    lowered: Interval
    """Share of responses whose score falls."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutReport:
    """Everything measured on held-out comparisons."""

    accuracy: Interval
    """Share in the right order, ties half."""
    by_source: dict[str, Interval]
    counts: dict[str, int]
    """Source -> comparisons."""
    longer_wins: Interval
    """What a judge would score that only prefers the longer response, ties half."""
    margin_over_longer: Interval
    """Accuracy minus that of the length judge on the same comparisons."""
    margin_over_chance: Interval
    """Accuracy minus 0.5."""
    log_loss: float
    calibration_error: float
    """Expected calibration error of sigmoid(gap)."""
    bins: list[ReliabilityBin]
    temperature: float
    """At which sigmoid(gap / temperature) fits best."""
    image_swap: ImageSwap | None
    """None where no comparison has a picture to swap."""
    score_quantiles: dict[str, float]
    """Per cent -> raw score; absolute scores of a Bradley-Terry model have no meaning of their own."""


def measured(comparisons: Sequence[Comparison], swaps: Sequence[Comparison], scores: MemberScores) -> HeldOutReport:
    """Score both members of every comparison once, and report. At least one comparison is needed."""
    every = [*comparisons, *swaps]
    values = scores([one.better for one in every] + [one.worse for one in every])
    gaps = values[: len(every)] - values[len(every) :]
    gaps, swapped = gaps[: len(comparisons)], gaps[len(comparisons) :]
    problems = [one.better[0].problem.id for one in comparisons]
    right, longer = wins(gaps), wins(length_gaps(comparisons))
    accuracy = clustered_share(right, problems)
    bins = reliability(gaps)
    sources = sorted({one.source for one in comparisons})
    of_source = {name: np.array([one.source == name for one in comparisons]) for name in sources}
    low = np.percentile(values, QUANTILES)
    return HeldOutReport(
        accuracy=accuracy,
        by_source={
            name: clustered_share(right[inside], list(compress(problems, inside))) for name, inside in of_source.items()
        },
        counts={name: int(inside.sum()) for name, inside in of_source.items()},
        longer_wins=clustered_share(longer, problems),
        margin_over_longer=clustered_difference(right - longer, problems),
        margin_over_chance=Interval(accuracy.mean - 0.5, accuracy.low - 0.5, accuracy.high - 0.5),
        log_loss=log_loss(gaps),
        calibration_error=expected_calibration_error(bins),
        bins=bins,
        temperature=fitted_temperature(gaps),
        image_swap=_image_swap(swaps, swapped),
        score_quantiles={str(name): float(value) for name, value in zip(QUANTILES, low, strict=True)},
    )


def length_gaps(comparisons: Sequence[Comparison]) -> Doubles:
    """Tokens of the better response minus tokens of the worse, [N]."""
    return np.array([float(len(one.better[1].token_ids) - len(one.worse[1].token_ids)) for one in comparisons])


def held_out_metrics(report: HeldOutReport) -> Metrics:
    """The figures that go into the log."""
    metrics = {
        "held_out/pair_accuracy": report.accuracy.mean,
        "held_out/margin_over_longer": report.margin_over_longer.mean,
        "held_out/log_loss": report.log_loss,
        "held_out/calibration_error": report.calibration_error,
        "held_out/temperature": report.temperature,
    }
    metrics |= {f"held_out/pair_accuracy_{source}": one.mean for source, one in report.by_source.items()}
    if report.image_swap is not None:
        metrics["held_out/image_swap_drop"] = report.image_swap.drop.mean
        metrics["held_out/image_swap_lowered"] = report.image_swap.lowered.mean
    return metrics


def as_details(report: HeldOutReport) -> dict[str, Any]:
    """The whole report as plain values, for summary.json."""
    swap = report.image_swap
    return {
        "held_out_pair_accuracy": report.accuracy.mean,
        "held_out_pair_accuracy_by_source": {name: one.mean for name, one in report.by_source.items()},
        "longer_is_better_accuracy": report.longer_wins.mean,
        "held_out_pairs": sum(report.counts.values()),
        "held_out_pairs_by_source": report.counts,
        "intervals": {
            "pair_accuracy": _ends(report.accuracy),
            "margin_over_longer": _ends(report.margin_over_longer),
            "margin_over_chance": _ends(report.margin_over_chance),
        }
        | {f"pair_accuracy_{name}": _ends(one) for name, one in report.by_source.items()},
        "margin_over_longer": report.margin_over_longer.mean,
        "margin_over_chance": report.margin_over_chance.mean,
        "log_loss": report.log_loss,
        "calibration_error": report.calibration_error,
        "temperature": report.temperature,
        "reliability": [asdict(one) for one in report.bins],
        "score_quantiles": report.score_quantiles,
    } | (
        {
            "image_swap": {
                "responses": swap.count,
                "drop": swap.drop.mean,
                "drop_interval": _ends(swap.drop),
                "lowered": swap.lowered.mean,
                "lowered_interval": _ends(swap.lowered),
            }
        }
        if swap is not None
        else {}
    )


def _ends(interval: Interval) -> list[float | None]:
    """Low and high; None for an end that is not known, because JSON has no infinity."""
    return [float(end) if np.isfinite(end) else None for end in (interval.low, interval.high)]


def _image_swap(swaps: Sequence[Comparison], gaps: Doubles) -> ImageSwap | None:
    if not swaps:
        return None
    problems = [one.better[0].problem.id for one in swaps]
    return ImageSwap(len(swaps), clustered_mean(gaps, problems), clustered_share(wins(gaps), problems))
