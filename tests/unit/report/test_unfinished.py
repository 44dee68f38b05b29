"""Runs that are not finished."""

import json
from pathlib import Path

from vergence.run.directory import Outcome, RunDirectory, StageRow

from .pages import METRICS, RECIPE, SUMMARY, charts_of, headings, lengths, report, rows_of, write_lines


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    page = report(tmp_path)
    assert headings(page) == ["Stages", "Recipe"]
    assert "not complete: 0 of 5 stages done; next is parents" in page.one("header").text


def test_a_run_in_the_middle_of_a_stage(run: Path) -> None:
    (run / "summary.json").unlink()
    (run / "rollouts" / "grpo.jsonl").unlink()
    directory = RunDirectory(run)
    for label, figures in (
        ("parents", StageRow(seconds=9.0)),
        ("align", StageRow(seconds=1.5, greedy_accuracy=0.6875)),
    ):
        directory.stage_folder(label).mkdir(parents=True)
        directory.finish(label, Outcome({}, figures, {}))
    lines = [line for line in METRICS if line["stage"] != "grpo"] + [
        {"stage": "judge", "step": step, "loss": 0.5} for step in range(3)
    ]
    write_lines(run / "metrics.jsonl", lines, torn='{"stage": "judge", "st')
    page = report(run)
    assert "2 of 5 stages done; next is judge, 3 steps logged" in page.one("header").text
    assert headings(page) == ["Stages", "Curves", "Recipe"]
    rows = rows_of(page.one("table", class_="wide"))
    assert rows["align"][0] == "68.8"
    assert list(rows) == ["stage", "parents", "align"]
    assert lengths(charts_of(page)["loss"][2]) == [3]


def test_a_stage_that_finished_after_the_summary_was_written_is_in_the_table(run: Path) -> None:
    earlier = json.loads(json.dumps(SUMMARY)) | {"complete": False, "details": {}}
    earlier["stages"] = {"parents": earlier["stages"]["parents"]}
    (run / "summary.json").write_text(json.dumps(earlier))
    directory = RunDirectory(run)
    directory.stage_folder("align").mkdir(parents=True)
    directory.finish("align", Outcome({}, StageRow(seconds=1.5, greedy_accuracy=0.6875, split="tuning"), {}))
    assert list(rows_of(report(run).one("table", class_="wide"))) == ["stage", "parents", "align"]
