"""From finished runs to the two tables and results.json."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from unit.study.builders import finished, plan_of
from vergence.study.columns import columns_of
from vergence.study.directory import StudyDirectory
from vergence.study.results import Results, ancestors, as_json, compare
from vergence.study.table import about, decimals, markdown, sheets, terminal

PLAN = plan_of(
    {"plain": {}, "short": {"set": ["stage.grpo.steps=9"]}, "none": {"without": ["mpo"]}},
    seeds=(0, 1, 2),
    reference="plain",
    table={"columns": ["test/greedy_accuracy", "grpo:loss:sum", "grpo:absent"]},
)


def results() -> Results:
    """plain: 0.5, 0.6, 0.7; short: 0.6, 0.804 on seeds 0 and 2; none: nothing. Losses only where plain."""
    runs = {
        "plain": {seed: finished(0.5 + 0.1 * seed, [1000.0, 500.0 * seed]) for seed in (0, 1, 2)},
        "short": {0: finished(0.6), 2: finished(0.804)},
        "none": {},
    }
    return compare(PLAN, columns_of(PLAN.study, "s.toml"), runs)


def test_the_tables_to_the_letter():
    # short - plain = 0.1 and 0.104: 0.102 +- t(0.975, 1) 0.002, t = 12.706 from a printed table;
    # sd of 0.5, 0.6, 0.7 is 0.1 and of 0.6, 0.804 is 0.1442
    assert markdown(results()) == (
        "# small\n\n"
        "Recipe `digits`, 3 variants, seeds 0, 1, 2. **4 of 9 runs are not finished.** No run has a value for "
        "`grpo:absent`. Code: `abc`.\n\n"
        "## Mean over seeds\n\n"
        "| variant | n | test/greedy_accuracy | grpo:loss:sum | grpo:absent |\n"
        "|---|--:|--:|--:|--:|\n"
        "| plain | 3 | 0.600 ± 0.100 | 1,500 ± 500 | - |\n"
        "| short | 2 | 0.702 ± 0.144 | - | - |\n"
        "| none | 0 | - | - | - |\n\n"
        "Mean ± standard deviation over seeds; n: finished seeds.\n\n"
        "## Difference from plain, seed by seed\n\n"
        "| variant | test/greedy_accuracy | grpo:loss:sum | grpo:absent |\n"
        "|---|--:|--:|--:|\n"
        "| short | **+0.102 [+0.077, +0.127] 2/2** | - | - |\n"
        "| none | - | - | - |\n\n"
        "Mean of the paired differences with its 95 % confidence interval (Student's t over seeds), and in how many "
        "seeds the variant's figure is the higher one. Bold: the interval excludes 0. Intervals are not corrected for "
        "the number of comparisons.\n"
    )


def test_without_a_reference_there_is_one_table():
    plan = plan_of({"plain": {}}, table={"columns": ["grpo:loss"]})
    (sheet,) = sheets(compare(plan, columns_of(plan.study, "s.toml"), {"plain": {0: finished(0.5, [1.0])}}))
    assert [cell.text for cell in sheet.rows[0]] == ["plain", "1", "1.000"]


def test_a_figure_that_some_seeds_lack_says_how_many_have_it():
    plan = plan_of({"plain": {}}, seeds=(0, 1), table={"columns": ["grpo:loss"]})
    runs = {"plain": {0: finished(0.5, [1.0]), 1: finished(0.5)}}
    (sheet,) = sheets(compare(plan, columns_of(plan.study, "s.toml"), runs))
    assert sheet.rows[0][2].text == "1.000 (n = 1)"


def test_a_budget_is_named():
    plan = plan_of({"plain": {}}, budget={"stage": "grpo", "tokens": 20000})
    assert "budget of 20,000 generated tokens in `grpo`" in about(compare(plan, (), {"plain": {}}))
    plan = plan_of({"plain": {}}, budget={"stage": "grpo", "cpu_seconds": 2.5})
    assert "budget of 2.5 CPU seconds in `grpo`" in about(compare(plan, (), {"plain": {}}))


@pytest.mark.parametrize(
    ("largest", "places"),
    [(0.0, 3), (0.5, 3), (1.0, 3), (0.1, 3), (0.02, 4), (1e-9, 6), (5.0, 2), (12.0, 1), (100.0, 0), (123456.0, 0)],
)
def test_decimals_show_three_digits_of_the_largest(largest: float, places: int):
    assert decimals([largest, largest / 3]) == places


def test_the_terminal_shows_every_cell():
    console = Console(width=120, record=True, file=StringIO())
    for sheet in sheets(results()):
        console.print(terminal(sheet))
    text = console.export_text()
    assert "0.600 ± 0.100" in text
    assert "+0.102 [+0.077, +0.127] 2/2" in text


def test_results_json_has_every_value_and_where_it_comes_from(tmp_path: Path):
    directory = StudyDirectory(tmp_path)
    jobs = {(job.variant, job.seed): job for job in PLAN.jobs}
    for key, seconds in ((jobs["short", 2].key, 3.0), (ancestors(jobs["short", 2])[-1], 1.5)):
        directory.jobs.append({"job": key, "seconds": 9.0, "cpu_seconds": seconds, "exit": 0})
    found = json.loads(json.dumps(as_json(results(), directory), allow_nan=False))
    assert found["left"] == 4
    assert found["columns"] == ["test/greedy_accuracy", "grpo:loss:sum", "grpo:absent"]
    assert found["variants"]["short"]["runs"]["2"] == {
        "values": {"test/greedy_accuracy": 0.804},
        "directory": "runs/short/seed-2",
        "seconds": 2.5,
        "cpu_seconds": 3.0,
        "shared_cpu_seconds": 1.5,
        "commit": "abc",
        "versions": {"torch": "1"},
    }
    gap = found["variants"]["short"]["difference"]["test/greedy_accuracy"]
    assert (gap["count"], gap["higher"], gap["lower"], gap["clear"]) == (2, 2, 0, True)
    assert gap["mean"] == pytest.approx(0.102)
    assert found["variants"]["plain"]["difference"] == {}
    assert found["variants"]["short"]["overrides"] == ["stage.grpo.steps=9"]
    assert found["cpu_seconds"] == 4.5
