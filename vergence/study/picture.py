"""A frame for a chart that stands alone as an SVG file: its size, its axes, its colours."""

from collections.abc import Sequence
from dataclasses import dataclass

from vergence.report.markup import Html, join, tag
from vergence.report.numerals import MINUS
from vergence.report.svg import ticks

COLOURS = ("#1f5f99", "#cc5a14", "#2e8b57", "#a8407a", "#b8860b", "#3aa0c8", "#6b6b6b", "#20242a")
"""One for each line of a figure."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'DejaVu Sans', sans-serif"
SOFT, GRID = "#5c6670", "#dfe3e7"


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to a coordinate."""

    levels: tuple[float, ...]
    """Where its ticks are; the first and the last are its ends."""
    begin: float
    """Coordinate of the first level."""
    end: float

    def __call__(self, value: float) -> float:
        """The coordinate of a value."""
        low, high = self.levels[0], self.levels[-1]
        return self.begin + (value - low) / (high - low) * (self.end - self.begin)


def axis(values: Sequence[float], begin: float, end: float) -> Axis:
    """An axis with round levels around all values."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(1.0, abs(low), abs(high)):
        half = 0.5 * abs(low) if abs(low) > 1e-6 else 0.5
        low, high = low - half, high + half
    return Axis(tuple(ticks(low, high, 5)), begin, end)


def spoken(value: float) -> str:
    """A tick's label: 0.25, 1,500, 200,000."""
    return f"{value:,.10g}".replace("-", MINUS)


def text(x: float, y: float, said: str, *, anchor: str = "start", size: int = 12, fill: str = SOFT) -> Html:
    """A line of text."""
    return tag("text", said, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, font_size=size, fill=fill)


def line(x1: float, y1: float, x2: float, y2: float, *, stroke: str = GRID, width: float = 1.0) -> Html:
    """A straight line."""
    places = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return tag("line", **{key: f"{value:.1f}" for key, value in places.items()}, stroke=stroke, stroke_width=width)


def picture(width: float, height: float, title: str, parts: Sequence[Html]) -> str:
    """The whole file."""
    return (
        tag(
            "svg",
            tag("rect", width=f"{width:.0f}", height=f"{height:.0f}", fill="#ffffff"),
            text(14.0, 24.0, title, size=14, fill="#1c2126"),
            join(parts),
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {width:.0f} {height:.0f}",
            width=f"{width:.0f}",
            height=f"{height:.0f}",
            font_family=FONT,
            role="img",
            aria_label=title,
        )
        + "\n"
    )
