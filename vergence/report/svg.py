"""Line charts as inline SVG: pure functions from data to a string."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from vergence.report.markup import Html, join, tag
from vergence.report.numerals import figure, percent
from vergence.report.read import Points

WIDTH, HEIGHT = 380.0, 172.0
LEFT, RIGHT, TOP, BOTTOM = 42.0, 10.0, 8.0, 30.0
"""Margins; the labels of the axes stand in them."""
SMOOTHED_FROM = 60
"""Series of at least this many points are drawn thin, with their running mean on top."""
MARKED_UP_TO = 30
"""Series of at most this many points show each of them."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart."""

    label: str
    points: Points


@dataclass(frozen=True, slots=True)
class Shade:
    """A range of values that is shaded behind the lines, e.g. what is normal."""

    begin: float
    """The step from which it is known."""
    low: float | None
    """None where it has no lower end."""
    high: float | None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened in a step."""

    step: float
    label: str
    """What it was, for whoever points at it."""
    kind: str
    """Its class in the style sheet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What one picture shows."""

    title: str
    series: Sequence[Series]
    steps: tuple[float, float]
    """First and last step of the stage, so that all charts of a stage have one axis."""
    share: bool = False
    """Whether the values are shares, to be printed in per cent."""
    low: float | None = None
    """The value axis reaches down to this at least."""
    high: float | None = None
    """The value axis reaches up to this at least."""
    shades: Sequence[Shade] = ()
    marks: Sequence[Mark] = ()


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to a coordinate of the picture."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        return self.begin + (value - self.low) / (self.high - self.low) * (self.end - self.begin)


def draw(chart: Chart) -> Html:
    """The chart with title, axes and legend; behind each label stands the value at which its line ends."""
    spoken: Callable[[float], str] = percent if chart.share else figure
    main = [smoothed(series.points) for series in chart.series]
    legend = [
        tag("span", tag("i", class_=f"key s{place}"), f"{series.label} ", tag("b", spoken(line[-1][1])))
        for place, (series, line) in enumerate(zip(chart.series, main, strict=True))
    ]
    caption = tag(
        "figcaption",
        tag("span", chart.title, tag("small", " %") if chart.share else "", class_="title"),
        tag("span", join(legend), class_="legend"),
    )
    return tag("figure", caption, _plot(chart, main), class_="chart")


def smoothed(points: Points) -> Points:
    """The running mean over a twentieth of a long series, at the same steps; a short series as it is.

    The window is narrower at the beginning, where curves are steep, and ends with the series.
    """
    if len(points) < SMOOTHED_FROM:
        return points
    reaches = [min(place, len(points) // 40) for place in range(len(points))]
    return tuple(
        (step, fmean(value for _, value in points[place - reach : place + reach + 1]))
        for place, ((step, _), reach) in enumerate(zip(points, reaches, strict=True))
    )


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers that enclose low..high, evenly spaced by 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    pace = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / pace + 1e-9), math.ceil(high / pace - 1e-9)
    return [round(pace * place, 12) for place in range(first, last + 1)]


def _plot(chart: Chart, main: Sequence[Points]) -> Html:
    levels = _levels(chart)
    across = _Scale(*_widened(*chart.steps), LEFT, WIDTH - RIGHT)
    up = _Scale(levels[0], levels[-1], HEIGHT - BOTTOM, TOP)
    lines = [
        _line(place, series, line, across, up)
        for place, (series, line) in enumerate(zip(chart.series, main, strict=True))
    ]
    return tag(
        "svg",
        join(_shade(shade, chart.steps[1], across, up) for shade in chart.shades),
        _value_axis(levels, up, chart.share),
        _step_axis(chart.steps, across),
        join(lines),
        join(_mark(mark, across) for mark in chart.marks),
        viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}",
        role="img",
        aria_label=f"{chart.title}: {', '.join(series.label for series in chart.series)}",
    )


def _line(place: int, series: Series, main: Points, across: _Scale, up: _Scale) -> Html:
    def polyline(points: Points, kind: str) -> Html:
        places = " ".join(f"{across(step):.1f},{up(value):.1f}" for step, value in points)
        return tag("polyline", points=places, class_=kind)

    raw = polyline(series.points, "raw") if main is not series.points else ""
    marks = [
        tag("circle", cx=f"{across(step):.1f}", cy=f"{up(value):.1f}", r=2.2)
        for step, value in (main if len(main) <= MARKED_UP_TO else ())
    ]
    return tag("g", raw, polyline(main, "line"), join(marks), class_=f"s{place}")


def _shade(shade: Shade, last: float, across: _Scale, up: _Scale) -> Html:
    high = up.end if shade.high is None else up(shade.high)
    low = up.begin if shade.low is None else up(shade.low)
    left, right = across(min(shade.begin, last)), across.end
    corners = {"x": f"{left:.1f}", "y": f"{high:.1f}", "width": f"{right - left:.1f}", "height": f"{low - high:.1f}"}
    return tag("rect", class_="shade", **corners)


def _mark(mark: Mark, across: _Scale) -> Html:
    x = f"{across(mark.step):.1f}"
    line = tag("line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM)
    return tag("g", tag("title", mark.label), line, class_=f"mark-{mark.kind}")


def _value_axis(levels: Sequence[float], up: _Scale, share: bool) -> Html:
    places = _places([100 * level for level in levels] if share else levels)
    parts = []
    for level in levels:
        height = f"{up(level):.1f}"
        label = f"{100 * level if share else level:,.{places}f}".replace("-", "\N{MINUS SIGN}")
        kind = "zero" if level == 0 else "grid"
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=height, y2=height, class_=kind))
        parts.append(tag("text", label, x=LEFT - 6, y=height, dy="0.32em", text_anchor="end"))
    return join(parts)


def _step_axis(steps: tuple[float, float], across: _Scale) -> Html:
    first, last = steps
    marks = [step for step in ticks(first, max(last, first + 1), 5) if first <= step <= last and step == round(step)]
    parts = [tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM, class_="axis")]
    for step in marks:
        x = f"{across(step):.1f}"
        parts.append(tag("line", x1=x, x2=x, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM + 4, class_="axis"))
        parts.append(tag("text", f"{step:.0f}", x=x, y=HEIGHT - BOTTOM + 15, text_anchor="middle"))
    parts.append(tag("text", "step", x=WIDTH - RIGHT, y=HEIGHT - 3, text_anchor="end", class_="name"))
    return join(parts)


def _levels(chart: Chart) -> list[float]:
    """Where the value axis has its ticks; the first and the last of them are its ends."""
    found = [value for series in chart.series for _, value in series.points]
    shaded = [edge for shade in chart.shades for edge in (shade.low, shade.high)]
    found += [bound for bound in (chart.low, chart.high, *shaded) if bound is not None]
    return ticks(*_widened(min(found), max(found)), 5)


def _widened(low: float, high: float) -> tuple[float, float]:
    """A range that is not empty."""
    if high - low > 1e-9 * max(1.0, abs(low), abs(high)):
        return low, high
    half = 0.5 * abs(low) if abs(low) > 1e-6 else 0.5
    return low - half, high + half


def _places(levels: Sequence[float]) -> int:
    """Decimals that tell neighbouring ticks apart."""
    pace = levels[1] - levels[0]
    return max(0, -math.floor(math.log10(pace) + 1e-9))
