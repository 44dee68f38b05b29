"""Curves of several seeds as one: the mean, in a band of one standard deviation to each side."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np

from vergence.report.read import Points, points
from vergence.study.read import Finished
from vergence.study.schema import FigureSection

GRID = 61
"""Places at which curves are read where their seeds were not measured at the same ones."""
SPENT = {"tokens": "spent/tokens", "cpu_seconds": "spent/cpu_seconds"}
"""What the horizontal axis may be, beside the step, and the metric that tells it."""


@dataclass(frozen=True, slots=True)
class Band:
    """One line of a figure."""

    label: str
    place: int
    """Among the variants of the figure, those without data counted, so that figures give a variant one colour."""
    points: tuple[tuple[float, float, float], ...]
    """(x, mean, standard deviation) in the order of x; the deviation of a single seed is 0."""
    seeds: int


def bands(figure: FigureSection, runs: Mapping[str, Sequence[Finished]]) -> list[Band]:
    """A band for each variant (in the order given) that has data; `runs` are its finished seeds."""
    found = []
    for place, (label, of_variant) in enumerate(runs.items()):
        curves = [one for run in of_variant if (one := curve(figure, run.metrics.get(figure.stage, [])))]
        together = at_common_steps(curves) if figure.against == "step" else at_common_places(curves)
        if together:
            found.append(Band(label, place, together, len(curves)))
    return found


def curve(figure: FigureSection, rows: Sequence[Mapping[str, Any]]) -> Points:
    """One seed's (x, value), where both were logged."""
    if figure.against == "step":
        return points(rows, figure.metric)
    spent = SPENT[figure.against]
    logged = [row for row in rows if row.get(figure.metric) is not None and row.get(spent) is not None]
    return tuple((float(row[spent]), float(row[figure.metric])) for row in logged)


def at_common_steps(curves: Sequence[Points]) -> tuple[tuple[float, float, float], ...]:
    """Mean and deviation at the steps that every curve has, so that no seed enters or leaves on the way."""
    if not curves:
        return ()
    values = [dict(one) for one in curves]
    common = sorted(set.intersection(*(set(one) for one in values)))
    return tuple((step, *_mean_and_deviation([one[step] for one in values])) for step in common)


def at_common_places(curves: Sequence[Points]) -> tuple[tuple[float, float, float], ...]:
    """Mean and deviation at evenly spaced places that every curve covers, read between its points by straight lines."""
    if not curves:
        return ()
    low, high = max(one[0][0] for one in curves), min(one[-1][0] for one in curves)
    if low > high:
        return ()
    places = np.linspace(low, high, GRID if high > low else 1)
    read = [np.interp(places, [x for x, _ in one], [y for _, y in one]) for one in curves]
    return tuple(
        (float(x), *_mean_and_deviation([float(one[place]) for one in read])) for place, x in enumerate(places)
    )


def _mean_and_deviation(values: Iterable[float]) -> tuple[float, float]:
    found = list(values)
    return fmean(found), stdev(found) if len(found) > 1 else 0.0
