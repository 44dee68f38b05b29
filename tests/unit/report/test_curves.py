"""Which charts are drawn, and where their lines run."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.report import agreement, reward
from vergence.report.curves import CURVES
from vergence.report.svg import SMOOTHED_FROM, Chart, Series, draw, smoothed, ticks

from .pages import STEPS, Element, charts_of, lengths, parsed


def test_a_line_has_as_many_points_as_the_metric_has_values(page: Element) -> None:
    charts = charts_of(page)
    parents, align, grpo = charts["loss"]
    assert lengths(parents) == [6, 9]
    assert lengths(align) == [SMOOTHED_FROM]
    assert lengths(align, "raw") == [SMOOTHED_FROM]
    assert lengths(grpo) == [STEPS - 1]  # a null is no point
    (tuning,) = charts["accuracy, tuning split %"]
    assert lengths(tuning) == [2, 2]
    (effective,) = charts["effective groups, and the batch after the buffer %"]
    assert lengths(effective) == [STEPS] * 4


def test_only_charts_with_data_are_drawn(page: Element) -> None:
    titles = charts_of(page)
    assert "entropy" not in titles
    assert not [title for title in titles if title.startswith("perception")]
    assert all(lengths(chart) for charts in titles.values() for chart in charts)


def test_labels_carry_the_value_at_which_the_line_ends(page: Element) -> None:
    (age,) = charts_of(page)["buffer: age of replayed samples"]
    assert ["mean 3.50", "oldest 3"] == [one.text for one in age.one(class_="legend").all("span")]


def test_no_metric_has_two_curves() -> None:
    drawn = (*CURVES, *reward.CHARTS, *agreement.CHARTS)
    metrics = [metric for curves in drawn for metric in curves.lines]
    assert len(metrics) == len(set(metrics))
    assert max(len(curves.lines) for curves in drawn) <= 4  # as many colours as style.css has


def chart(*values: float, **more: Any) -> Element:
    points = tuple((float(step), value) for step, value in enumerate(values))
    return parsed(draw(Chart(title="t", series=[Series("s", points)], steps=(0.0, len(values) - 1.0), **more)))


def coordinates(drawn: Element) -> list[tuple[float, float]]:
    line = drawn.one("polyline", class_="line").attributes["points"] or ""
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())]


def test_larger_values_are_higher_and_later_steps_further_right() -> None:
    (x0, y0), (x1, y1), (x2, y2) = coordinates(chart(1.0, 3.0, 2.0))
    assert x0 < x1 < x2
    assert y1 < y2 < y0


def test_a_value_stands_at_the_height_of_its_tick() -> None:
    drawn = chart(0.0, 0.6, 1.0, share=True, low=0.0, high=1.0)
    labels = drawn.all("text", text_anchor="end")
    heights = {one.text: float(one.attributes["y"] or "") for one in labels if one.text != "step"}
    assert [y for _, y in coordinates(drawn)] == pytest.approx([heights["0"], heights["60"], heights["100"]], abs=0.1)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=80))
def test_every_curve_stays_inside_its_picture(values: list[float]) -> None:
    drawn = chart(*values)
    places = coordinates(drawn)
    assert len(places) == len(values)
    _, _, width, height = map(float, (drawn.one("svg").attributes["viewbox"] or "").split())
    assert all(0 <= x <= width and 0 <= y <= height for x, y in places)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_enclose_the_values_evenly(low: float, width: float) -> None:
    found = ticks(low, low + width, 5)
    assert found[0] <= low + 1e-6 * width
    assert found[-1] >= low + width - 1e-6 * width
    assert 2 <= len(found) <= 8
    paces = [after - before for before, after in pairwise(found)]
    assert paces == pytest.approx([paces[0]] * len(paces), rel=1e-3)


def test_round_numbers_stand_at_the_ticks() -> None:
    assert ticks(0.0, 1.0, 5) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(-0.3, 0.9, 5) == [-0.5, 0.0, 0.5, 1.0]


def test_smoothing_keeps_steps_and_begins_at_the_first_value() -> None:
    points = tuple((float(step), float(step % 2)) for step in range(200))
    smooth = smoothed(points)
    assert [step for step, _ in smooth] == [step for step, _ in points]
    assert smooth[0] == points[0]
    assert all(abs(value - 0.5) < 0.1 for _, value in smooth[20:-20])
    assert smoothed(points[:10]) == points[:10]
