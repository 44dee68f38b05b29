"""The two figures of a study: curves over the course of a stage, and the seeds of every variant side by side."""

from collections.abc import Mapping, Sequence

from vergence.report.markup import Html, join, tag
from vergence.report.svg import smoothed
from vergence.study.curves import Band
from vergence.study.picture import COLOURS, SOFT, Axis, axis, line, picture, spoken, text
from vergence.study.statistics import interval_half_width, spread

WIDTH, HEIGHT = 720.0, 360.0
LEFT, TOP, BOTTOM, LEGEND = 64.0, 40.0, 44.0, 190.0
ROW = 30.0


def curves_svg(title: str, across: str, found: Sequence[Band]) -> str:
    """One line a variant with its band; long curves are smoothed as in a run's report. `found` has one at least."""
    smooth = [_smooth(band) for band in found]
    x = axis([one[0] for band in smooth for one in band], LEFT, WIDTH - LEGEND)
    edges = [mean + sign * deviation for band in smooth for _, mean, deviation in band for sign in (-1, 1)]
    y = axis(edges, HEIGHT - BOTTOM, TOP)
    frame = [line(LEFT, y(level), WIDTH - LEGEND, y(level)) for level in y.levels]
    frame += [text(LEFT - 8, y(level) + 4, spoken(level), anchor="end") for level in y.levels]
    frame += [text(x(level), HEIGHT - BOTTOM + 18, spoken(level), anchor="middle") for level in x.levels]
    frame.append(text(WIDTH - LEGEND, HEIGHT - 8, across, anchor="end"))
    coloured = [(points, COLOURS[band.place]) for points, band in zip(smooth, found, strict=True)]
    drawn = [_band(points, x, y, colour) for points, colour in coloured]
    lines = [_mean(points, x, y, colour) for points, colour in coloured]
    legend = [_entry(place, band) for place, band in enumerate(found)]
    return picture(WIDTH, HEIGHT, title, [*frame, *drawn, *lines, *legend])


def seeds_svg(title: str, found: Mapping[str, Sequence[float]]) -> str:
    """A row a variant: a dot for every seed, and the mean with its 95 % interval. Each has one value at least."""
    height = TOP + ROW * len(found) + BOTTOM
    left = 40.0 + 7.2 * max(len(name) for name in found)
    halves = {name: interval_half_width(values) if len(values) > 1 else 0.0 for name, values in found.items()}
    means = {name: spread(values).mean for name, values in found.items()}
    dots = [value for values in found.values() for value in values]
    # two seeds can have an interval that dwarfs everything; the axis goes as far as twice the width of the dots
    reach = max(dots) - min(dots)
    ends = [mean + sign * min(halves[name], reach) for name, mean in means.items() for sign in (-1, 1)]
    x = axis([*dots, *ends], left, WIDTH - 30.0)
    bottom = height - BOTTOM
    parts = [line(x(level), TOP, x(level), bottom) for level in x.levels]
    parts += [text(x(level), bottom + 18, spoken(level), anchor="middle") for level in x.levels]
    for place, (name, values) in enumerate(found.items()):
        y = TOP + ROW * (place + 0.5)
        low, high = (min(max(means[name] + sign * halves[name], x.levels[0]), x.levels[-1]) for sign in (-1, 1))
        parts.append(text(left - 14, y + 4, name, anchor="end"))
        parts += [_dot(x(value), y, 3.5, SOFT, 0.45) for value in values]
        parts.append(line(x(low), y, x(high), y, stroke=COLOURS[0], width=2.0))
        parts.append(_dot(x(means[name]), y, 5.0, COLOURS[0], 1.0))
    parts.append(text(WIDTH - 30, height - 8, "grey: seeds; blue: mean, 95 % interval", anchor="end"))
    return picture(WIDTH, height, title, parts)


def _smooth(band: Band) -> tuple[tuple[float, float, float], ...]:
    means = smoothed(tuple((x, mean) for x, mean, _ in band.points))
    deviations = smoothed(tuple((x, deviation) for x, _, deviation in band.points))
    return tuple((x, mean, deviation) for (x, mean), (_, deviation) in zip(means, deviations, strict=True))


def _band(points: Sequence[tuple[float, float, float]], x: Axis, y: Axis, colour: str) -> Html:
    upper = [(x(place), y(mean + deviation)) for place, mean, deviation in points]
    lower = [(x(place), y(mean - deviation)) for place, mean, deviation in reversed(points)]
    return tag("polygon", points=_places([*upper, *lower]), fill=colour, fill_opacity=0.14)


def _mean(points: Sequence[tuple[float, float, float]], x: Axis, y: Axis, colour: str) -> Html:
    places = [(x(place), y(mean)) for place, mean, _ in points]
    ends = join(_dot(*place, 2.4, colour, 1.0) for place in (places if len(places) <= 30 else places[-1:]))
    drawn = tag("polyline", points=_places(places), fill="none", stroke=colour, stroke_width=2)
    return join([drawn, ends])


def _entry(place: int, band: Band) -> Html:
    y = TOP + 12 + 32 * place
    left = WIDTH - LEGEND + 16
    ending = f"{band.points[-1][1]:.4g} at the end, {band.seeds} seed{'s' if band.seeds != 1 else ''}"
    return join(
        [
            line(left, y - 4, left + 18, y - 4, stroke=COLOURS[band.place], width=3.0),
            text(left + 24, y, band.label, fill="#1c2126"),
            text(left + 24, y + 13, ending, size=10),
        ]
    )


def _dot(x: float, y: float, radius: float, colour: str, opacity: float) -> Html:
    return tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=radius, fill=colour, fill_opacity=opacity)


def _places(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
