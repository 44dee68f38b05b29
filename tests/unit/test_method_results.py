"""What scripts/method_results.py puts into a page: tables of a study, readings of its curves, first alarms."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "method_results.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    found = importlib.util.spec_from_file_location("method_results", SCRIPT)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A study of two variants over two seeds: `fast` gains 0.2 and 0.4 in ten seconds, `plain` 0.1 in each."""
    study = tmp_path / "small"
    study.mkdir()
    (study / "study.toml").write_text('reference = "plain"\n[[variant]]\nname = "plain"\n[[variant]]\nname = "fast"\n')
    (study / "table.md").write_text("# small\n\nWords.\n\n## Mean over seeds\n\n| a |\n|---|\n| 1 |\n")
    (study / "figures").mkdir()
    (study / "figures" / "grpo-loss-step.svg").write_text("<svg/>")
    for variant, gains in (("plain", (0.1, 0.1)), ("fast", (0.2, 0.4))):
        for seed, gain in enumerate(gains):
            run = study / "runs" / variant / f"seed-{seed}"
            start = {"stage": "align", "tuning/sampled_accuracy": 0.5}
            end = {"stage": "grpo", "spent/cpu_seconds": 10.0, "tuning/sampled_accuracy": 0.5 + gain}
            write_lines(run / "metrics.jsonl", [start, {"stage": "grpo", "loss": 1.0}, end])
    alarms = [
        {"kind": "alarm", "signal": signal, "step": step} for signal, step in (("late", 9), ("early", 4), ("early", 2))
    ]
    write_lines(
        study / "runs" / "plain" / "seed-0" / "alarms" / "grpo.jsonl", [{"kind": "band", "signal": "x"}, *alarms]
    )
    write_lines(study / "runs" / "plain" / "seed-1" / "alarms" / "grpo.jsonl", alarms[1:2])
    return tmp_path


def test_curves_are_read_between_their_points_and_compared_seed_by_seed(script: ModuleType, runs: Path) -> None:
    """Half way: plain 0.55 and 0.55; fast 0.6 and 0.7, ahead by 0.05 and 0.15."""
    head, _, plain, fast = script.at_equal_seconds(runs / "small", 5.0).splitlines()
    assert head == "| after 5 CPU seconds | sampled accuracy, tuning split | minus `plain` |"
    assert plain == "| `plain` | 0.550 \u00b1 0.000 |  |"
    assert fast.startswith("| `fast` | 0.650 \u00b1 0.071 | +0.100 [")
    assert fast.endswith(" 2/2 |")


def test_a_curve_that_ends_earlier_has_no_reading(script: ModuleType, runs: Path) -> None:
    run = runs / "small" / "runs" / "fast" / "seed-1" / "metrics.jsonl"
    run.write_text(run.read_text().replace("10.0", "4.0"))
    assert script.at_equal_seconds(runs / "small", 5.0).splitlines()[-1] == "| `fast` | - | - |"


def test_the_first_alarm_of_each_signal_comes_with_the_earliest_signal_on_top(script: ModuleType, runs: Path) -> None:
    """`early` alarms first in step 4 of both seeds: journals are in the order of their writing."""
    assert script.first_alarms(runs / "small", "plain").splitlines()[2:] == [
        "| `early` | 4 | 4 |",
        "| `late` | 9 | - |",
    ]


def test_a_page_gets_its_tables_and_figures_and_keeps_its_words(script: ModuleType, runs: Path) -> None:
    page = (
        "Before\n<!-- study small -->\nold\n<!-- end -->\n![x](method/small--grpo-loss-step.svg)\n"
        "<!-- alarms small plain -->\n<!-- end -->\nAfter\n"
    )
    filled = script.fill(page, runs)
    assert filled == script.fill(filled, runs), "filling again changes nothing"
    assert "old" not in filled
    assert filled.startswith("Before\n")
    assert filled.endswith("After\n")
    assert "**Mean over seeds**\n\n| a |" in filled
    assert "| `early` | 4 | 4 |" in filled
    script.copy_figures(filled, runs, runs / "pictures")
    assert (runs / "pictures" / "small--grpo-loss-step.svg").read_text() == "<svg/>"
