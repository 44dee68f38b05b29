"""The table of seconds by phase and of work, from lines of metrics.jsonl."""

from pathlib import Path
from typing import Any

from vergence.report.read import Row
from vergence.report.time import phases_of, time_section

from .pages import RECIPE, Element, parsed, report, rows_of, write_lines

ALIGN = [
    {"stage": "align", "step": 0, "seconds/forward": 1.0, "seconds/backward": 2.0, "seconds/optimizer": 0.5},
    {"stage": "align", "step": 1, "seconds/forward": 1.5, "seconds/backward": 2.5, "seconds/optimizer": 0.5}
    | {"seconds/monitor": 4.0},
]
GRPO = [
    {"stage": "grpo", "step": 0, "seconds/generate": 3.0, "seconds/forward": 1.0, "work/needed_share": 0.9}
    | {"work/pictures_encoded": 8.0},
    {"stage": "grpo", "step": 1, "seconds/generate": 2.0, "seconds/forward": 0.25, "work/needed_share": 1.0}
    | {"work/pictures_encoded": 3.0},
]
PLAIN = [{"stage": "parents/vision", "step": 0, "wall_seconds": 1.0, "loss": 2.0}]


def shown(**stages: list[dict[str, Any]]) -> Element:
    return parsed(time_section(stages))


def test_seconds_are_summed_by_stage_and_phase() -> None:
    table = rows_of(shown(align=ALIGN, grpo=GRPO).one("table"))
    assert table["stage"] == [
        *("generate", "monitor", "forward", "backward", "optimizer", "all phases"),
        *("needed", "pictures"),
    ]
    assert table["align"] == ["", "4.0", "2.5", "4.5", "1.0", "12.0", "", ""]
    assert table["grpo"] == ["5.0", "", "1.2", "", "", "6.2", "95.0", "5.50"]


def test_without_work_there_is_no_column_of_work() -> None:
    found = shown(align=ALIGN)
    assert rows_of(found.one("table"))["stage"][-1] == "all phases"
    assert "Needed" not in found.text


def test_a_stage_without_phases_has_no_row_and_a_run_without_any_has_no_section() -> None:
    assert list(rows_of(shown(parents=PLAIN, align=ALIGN).one("table"))) == ["stage", "align"]
    assert time_section({"parents/vision": PLAIN}) == ""
    assert time_section({}) == ""


def test_a_phase_that_is_not_known_comes_last() -> None:
    rows: list[Row] = [{"step": 0, "seconds/publish": 1.0, "seconds/optimizer": 2.0, "seconds/generate": 3.0}]
    assert phases_of(rows) == {"publish": 1.0, "optimizer": 2.0, "generate": 3.0}
    assert rows_of(shown(grpo=[dict(rows[0])]).one("table"))["stage"][:3] == ["generate", "optimizer", "publish"]


def test_the_page_has_the_table_and_a_way_to_it(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    write_lines(tmp_path / "metrics.jsonl", [*PLAIN, *ALIGN, *GRPO])
    page = report(tmp_path)
    assert "#time" in [link.attributes["href"] for link in page.one("nav").all("a")]
    assert list(rows_of(page.one("section", id="time").one("table"))) == ["stage", "align", "grpo"]


def test_a_page_without_phases_says_nothing_of_time(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    write_lines(tmp_path / "metrics.jsonl", PLAIN)
    page = report(tmp_path)
    assert not page.all("section", id="time")
    assert "time" not in [link.text for link in page.one("nav").all("a")]
