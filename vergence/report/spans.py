"""A stage cut into spans of steps, and rows of a table with a mean for each span."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from vergence.report.markup import Html, join, tag
from vergence.report.numerals import fixed
from vergence.report.read import Row, values

SPANS = 5
"""Spans that a stage is cut into at most."""


def spans_of(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """Consecutive spans of about equal length, at most `SPANS`."""
    count = min(SPANS, len(rows))
    bounds = [round(place * len(rows) / count) for place in range(count + 1)]
    return [rows[begin:end] for begin, end in pairwise(bounds)]


def span_head(corner: str, spans: Sequence[Sequence[Row]]) -> list[Html]:
    """The cells of the head of a table by span: a corner, then the steps of each span."""
    return [tag("th", corner), *(tag("th", _steps(span), class_="number") for span in spans)]


def by_span(label: str, spans: Sequence[Sequence[Row]], metric: str, class_: str | None = None) -> Html:
    """A row of a table: the mean of a metric over each span; empty where no step of a span has it."""
    cells = join(tag("td", _mean(values(span, metric)), class_="number") for span in spans)
    return tag("tr", tag("th", label, scope="row"), cells, class_=class_)


def _steps(span: Sequence[Row]) -> str:
    first, last = span[0]["step"], span[-1]["step"]
    return f"step {first}" if first == last else f"{first} \N{EN DASH} {last}"


def _mean(found: Sequence[float]) -> str:
    return fixed(fmean(found)) if found else ""
