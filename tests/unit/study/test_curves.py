"""Several seeds' curves as one, and the pictures of them."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from unit.study.builders import finished, plan_of
from vergence.study.columns import columns_of
from vergence.study.curves import GRID, at_common_places, at_common_steps, bands, curve
from vergence.study.directory import StudyDirectory
from vergence.study.picture import COLOURS, axis
from vergence.study.plot import curves_svg, seeds_svg
from vergence.study.results import compare
from vergence.study.schema import MAX_LINES, FigureSection
from vergence.study.write import write_figures

SVG = "{http://www.w3.org/2000/svg}"
LOSS = FigureSection(stage="grpo", metric="loss")


def test_steps_that_every_seed_has_are_averaged():
    one, two = ((0.0, 1.0), (2.0, 5.0), (4.0, 9.0)), ((0.0, 3.0), (1.0, 7.0), (4.0, 9.0))
    assert at_common_steps([one, two]) == ((0.0, 2.0, pytest.approx(2**0.5)), (4.0, 9.0, 0.0))
    assert at_common_steps([one]) == tuple((x, y, 0.0) for x, y in one)
    assert at_common_steps([]) == ()


def test_other_axes_are_read_between_points_where_every_seed_was():
    # y = x on 0..10, y = 3 x on 4..20: together on 4..10, mean 2 x, sd sqrt(2) x
    found = at_common_places([((0.0, 0.0), (10.0, 10.0)), ((4.0, 12.0), (7.0, 21.0), (20.0, 60.0))])
    assert len(found) == GRID
    assert (found[0][0], found[-1][0]) == (4.0, 10.0)
    for x, mean, deviation in found:
        assert mean == pytest.approx(2 * x)
        assert deviation == pytest.approx(2**0.5 * x)
    assert at_common_places([((0.0, 1.0), (1.0, 1.0)), ((2.0, 1.0), (3.0, 1.0))]) == ()
    assert at_common_places([((2.0, 1.0),), ((2.0, 3.0),)]) == ((2.0, 2.0, pytest.approx(2**0.5)),)


def test_a_curve_is_taken_where_both_of_its_metrics_were_logged():
    rows = [
        {"step": 0, "spent/tokens": 10.0, "tuning/x": 0.5},
        {"step": 1, "spent/tokens": 20.0},
        {"step": 2, "tuning/x": 0.6},
        {"step": 3, "spent/tokens": 40.0, "tuning/x": None},
        {"step": 4, "spent/tokens": 50.0, "tuning/x": 0.75},
    ]
    by_tokens = FigureSection(stage="grpo", metric="tuning/x", against="tokens")
    assert curve(by_tokens, rows) == ((10.0, 0.5), (50.0, 0.75))
    assert curve(FigureSection(stage="grpo", metric="tuning/x"), rows) == ((0.0, 0.5), (2.0, 0.6), (4.0, 0.75))


def test_variants_without_data_have_no_band():
    found = bands(LOSS, {"a": [finished(0.5, [1.0, 2.0]), finished(0.5)], "b": [finished(0.5)], "c": []})
    assert [(band.label, band.seeds, len(band.points)) for band in found] == [("a", 1, 2)]


def test_a_variant_keeps_its_colour_where_an_earlier_one_has_no_data():
    runs = {"empty": [finished(0.5)], "drawn": [finished(0.5, [1.0, 2.0])]}
    picture = ElementTree.fromstring(curves_svg("grpo: loss", "step", bands(LOSS, runs)))
    assert [line.get("stroke") for line in picture.findall(f".//{SVG}polyline")] == [COLOURS[1]]


def test_curves_are_drawn_where_they_belong():
    runs = {
        name: [finished(0.5, [0.0, height, 4.0]), finished(0.5, [0.0, height, 4.0])]
        for name, height in (("low", 1.0), ("high & <odd>", 3.0))
    }
    picture = ElementTree.fromstring(curves_svg("grpo: loss", "step", bands(LOSS, runs)))
    lines = picture.findall(f".//{SVG}polyline")
    assert [line.get("stroke") for line in lines] == list(COLOURS[:2])
    places = [[tuple(map(float, point.split(","))) for point in line.get("points").split()] for line in lines]
    heights = [[y for _, y in line] for line in places]
    assert heights[0][0] == heights[1][0] > heights[0][1] > heights[1][1] > heights[0][2] == heights[1][2]
    third = (heights[0][0] - heights[0][2]) / 4  # a unit of the value axis
    assert heights[0][0] - heights[1][1] == pytest.approx(3 * third, abs=0.2)
    assert len(picture.findall(f".//{SVG}polygon")) == 2
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert {"low", "high & <odd>", "grpo: loss", "step"} <= set(texts)


def test_there_is_a_colour_for_every_line():
    assert len(set(COLOURS)) == MAX_LINES


def test_seeds_are_dots_beside_their_mean():
    picture = ElementTree.fromstring(seeds_svg("x", {"a": [1.0, 2.0, 3.0], "b": [2.0]}))
    circles = picture.findall(f".//{SVG}circle")
    assert len(circles) == 3 + 1 + 1 + 1
    across = [float(circle.get("cx")) for circle in circles]
    assert across[1] == across[3] == across[4] == across[5]  # the middle seed, the mean, and b's
    assert across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.11)


@pytest.mark.parametrize("values", [[0.5], [0.0, 0.0], [-3.0, 1000.0], [1e-7, 2e-7]])
def test_an_axis_reaches_around_its_values(values: list[float]):
    found = axis(values, 10.0, 20.0)
    assert all(10.0 <= found(value) <= 20.0 for value in values)
    assert len(found.levels) >= 2


def test_pictures_are_written_for_what_has_data(tmp_path: Path):
    plan = plan_of(
        {"plain": {}, "short": {"set": ["stage.grpo.steps=9"]}},
        table={"columns": ["test/greedy_accuracy", "grpo:absent"]},
        figure=[
            {"stage": "grpo", "metric": "loss"},
            {"stage": "grpo", "metric": "loss", "variants": ["plain"]},
            {"stage": "grpo", "metric": "absent"},
        ],
    )
    runs = {"plain": {0: finished(0.5, [1.0, 2.0])}, "short": {0: finished(0.6, [2.0, 3.0])}}
    paths = write_figures(compare(plan, columns_of(plan.study, "s.toml"), runs), StudyDirectory(tmp_path))
    assert [path.name for path in paths] == [
        "grpo-loss-step.svg",
        "grpo-loss-step-2.svg",
        "column-test-greedy_accuracy.svg",
    ]
    assert [2, 1] == [len(ElementTree.parse(path).findall(f".//{SVG}polyline")) for path in paths[:2]]
