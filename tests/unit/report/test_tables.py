"""The tables of results: figures as the stage table prints them."""

import json
from pathlib import Path

from .pages import SUMMARY, Element, report, rows_of


def test_the_stage_table_has_the_numbers_of_the_summary(page: Element) -> None:
    rows = rows_of(page.one("table", class_="wide"))
    assert list(rows) == ["stage", *SUMMARY["stages"]]
    assert rows["grpo"] == [
        "89.3",
        "86.2 \N{EN DASH} 92.3",
        "86.5",
        "83.4 \N{EN DASH} 89.5",
        "14.9",
        "99.6",
        "9.4",
        "72.2",
        "26.3",
        "3600.0",
        "test",
    ]
    assert rows["parents"] == [""] * 9 + ["99.3", ""]
    assert len(rows["stage"]) == len(rows["grpo"])


def test_intervals_of_the_test_split_stand_beside_figures_of_the_test_split_only(run: Path) -> None:
    summary = json.loads(json.dumps(SUMMARY))
    summary["stages"]["align"]["split"] = "tuning"
    (run / "summary.json").write_text(json.dumps(summary))
    rows = rows_of(report(run).one("table", class_="wide"))
    assert rows["align"][:5] == ["67.2", "", "34.7", "", ""]
    assert rows["grpo"][1] != ""


def test_the_reward_model_stands_beside_its_length_baseline(page: Element) -> None:
    tables = [rows_of(table) for table in page.one("section", id="stages").all("table")]
    assert ["84.3", "67.9", "1113", "287"] in [rows.get("judge") for rows in tables]


def test_categories_have_a_row_for_each_stage_and_one_for_the_grey_picture(page: Element) -> None:
    tables = [rows_of(table) for table in page.one("section", id="stages").all("table")]
    (categories,) = [rows for rows in tables if "all" in rows.get("stage", [])]
    assert categories["stage"] == ["all", "max", "sum"]
    assert categories["align"] == ["67.2", "67.2", "33.6"]
    assert categories["grpo"] == ["89.3", "89.3", "44.6"]
    assert categories["grpo, grey picture"] == ["14.9", "14.9", "7.4"]
