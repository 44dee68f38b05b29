"""The section of bands, alarms, actions and costs, from what lies in alarms/ and in metrics.jsonl."""

import re
from pathlib import Path
from typing import Any

import pytest

from .pages import RECIPE, Element, charts_of, headings, report, rows_of, write_lines

KL = [0.40, 0.42, 0.41, 0.30, 0.10, 0.08]
RATE = [0.20, 0.22, 0.21, 0.25, 0.23, 0.22]


def line(kind: str, step: int, signal: str, **more: Any) -> dict[str, Any]:
    return {"stage": "grpo", "step": step, "kind": kind, "signal": signal} | more


BANDS = [
    line("band", 2, "hallucination/response_rate", low=None, high=0.3, readings=3),
    line("band", 2, "perception/kl", low=0.2, high=0.6, readings=3),
]
ALARM = line("alarm", 5, "perception/kl", side="low", value=0.08, low=0.2, high=0.6, readings=2)
CAUSE = "perception/kl = 0.08, below 0.2 for 2 readings in a row"
ACTIONS = [
    line("action", 5, "perception/kl", action="raise_kl", done=True, result="kl 0 -> 0.02", cause=CAUSE),
    line(
        "action", 5, "perception/kl", action="roll_back", done=False, result="no weights were found good", cause=CAUSE
    ),
]
METRICS = [
    {
        "stage": "grpo",
        "step": step,
        "wall_seconds": 1.0,
        "loss": 0.1,
        "perception/kl": KL[step],
        "hallucination/response_rate": RATE[step],
        "seconds/generate": 1.0,
        "seconds/monitor": 0.25,
    }
    | ({"seconds/monitor_perception": 0.5} if step % 2 == 0 else {})
    | {"seconds/monitor_divergence": 0.001}
    for step in range(6)
]


def shown(path: Path, alarms: list[dict[str, Any]]) -> Element:
    (path / "recipe.toml").write_text(RECIPE)
    write_lines(path / "metrics.jsonl", METRICS)
    if alarms:
        write_lines(path / "alarms" / "grpo.jsonl", alarms)
    return report(path)


def section(page: Element) -> Element:
    return page.one("section", id="monitor")


def test_a_run_that_was_not_watched_has_no_such_section(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    write_lines(tmp_path / "metrics.jsonl", [{"stage": "grpo", "step": 0, "wall_seconds": 1.0, "loss": 0.1}])
    assert "Hallucination and alarms" not in headings(report(tmp_path))


def test_what_happened_is_told_in_a_sentence(tmp_path: Path) -> None:
    text = section(shown(tmp_path, [*BANDS, ALARM, *ACTIONS])).one("p", class_="prose").text
    assert (
        "2 bands learnt, 1 alarm, 1 action. The first alarm was perception/kl in step 5: 0.0800, below 0.200." == text
    )


def test_without_an_alarm_the_bands_are_shown_all_the_same(tmp_path: Path) -> None:
    page = shown(tmp_path, BANDS)
    assert "2 bands learnt, and no alarm." == section(page).one("p", class_="prose").text
    assert ["hallucination/response_rate %", "perception/kl"] == list(charts_of(page, "monitor"))
    assert [] == section(page).all("g", class_="mark-alarm")


def test_signals_with_alarms_come_first_and_bear_their_marks(tmp_path: Path) -> None:
    page = shown(tmp_path, [*BANDS, ALARM, *ACTIONS])
    charts = charts_of(page, "monitor")
    assert ["perception/kl", "hallucination/response_rate %"] == list(charts)
    (mark,) = charts["perception/kl"][0].all("g", class_="mark-action")
    assert "step 5: 0.0800, below 0.200" == mark.one("title").text
    assert [] == charts["hallucination/response_rate %"][0].all("g", class_="mark-action")


def test_an_alarm_that_was_not_answered_is_marked_otherwise(tmp_path: Path) -> None:
    page = shown(tmp_path, [*BANDS, ALARM, ACTIONS[1]])
    chart = charts_of(page, "monitor")["perception/kl"][0]
    assert (1, 0) == (len(chart.all("g", class_="mark-alarm")), len(chart.all("g", class_="mark-action")))


def heights(chart: Element) -> dict[str, float]:
    """Label of each level of the value axis to its height in the picture."""
    labels = [one for one in chart.all("text") if one.attributes.get("text-anchor") == "end" and one.text != "step"]
    return {one.text: float(one.attributes["y"] or 0) for one in labels}


def test_the_band_is_shaded_from_its_step_on_between_its_edges(tmp_path: Path) -> None:
    """Steps 0 to 5 lie between x = 42 and 370, so step 2 is at 173.2; the edges 0.2 and 0.6 are levels of the axis."""
    chart = charts_of(shown(tmp_path, BANDS), "monitor")["perception/kl"][0]
    shade = {key: value or "" for key, value in chart.one("rect", class_="shade").attributes.items() if key != "class"}
    x, y, width, height = (float(shade[key]) for key in ("x", "y", "width", "height"))
    levels = heights(chart)
    assert (pytest.approx(42 + 328 * 2 / 5), pytest.approx(370)) == (x, x + width)
    assert (pytest.approx(levels["0.6"], abs=0.1), pytest.approx(levels["0.2"], abs=0.1)) == (y, y + height)


def test_an_open_edge_is_shaded_to_the_end_of_the_picture(tmp_path: Path) -> None:
    chart = charts_of(shown(tmp_path, BANDS), "monitor")["hallucination/response_rate %"][0]
    shade = chart.one("rect", class_="shade").attributes
    bottom = max(heights(chart).values())
    assert pytest.approx(bottom, abs=0.1) == float(shade["y"] or 0) + float(shade["height"] or 0)


def test_actions_stand_with_result_and_cause(tmp_path: Path) -> None:
    tables = section(shown(tmp_path, [*BANDS, ALARM, *ACTIONS])).all("table")
    lines = [[cell.text for cell in row.all("td")] for row in tables[0].all("tr")][1:]
    assert [["5", "raise_kl", "kl 0 -> 0.02", CAUSE], ["5", "roll_back", "no weights were found good", CAUSE]] == lines
    assert [None, "again"] == [row.attributes.get("class") for row in tables[0].all("tr")[1:]]


def test_costs_are_told_for_each_monitor(tmp_path: Path) -> None:
    """perception: 3 x 0.5 s of 6 + 1.5 + 1.5 + 0.006 s in all."""
    costs = rows_of(section(shown(tmp_path, [])).all("table")[-1])
    assert ["1.50", "3", "500.0", f"{100 * 1.5 / 9.006:.1f}"] == costs["grpo: perception"]
    assert ["0.01", "6", "1.0", "0.1"] == costs["grpo: divergence"]
    assert 3 == len(costs), "a head and two monitors"


def test_in_the_table_of_phases_monitors_are_one(tmp_path: Path) -> None:
    page = shown(tmp_path, [])
    table = rows_of(page.one("section", id="time").one("table"))
    assert ["generate", "monitor", "all phases"] == table["stage"][:3]
    assert ["6.0", "3.0", "9.0"] == table["grpo"][:3]


def test_what_a_cause_says_is_escaped(tmp_path: Path) -> None:
    nasty = ACTIONS[0] | {"cause": "<script>alert(1)</script>"}
    page = shown(tmp_path, [*BANDS, ALARM, nasty])
    assert [] == page.all("script")
    assert re.search(r"<script>alert\(1\)</script>", section(page).text)
