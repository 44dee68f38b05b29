"""summary.json and the stage table."""

import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.table import Table

from vergence.files import write_whole
from vergence.recipe.schema import Recipe
from vergence.run.directory import Outcome, RunDirectory

COLUMNS = (
    ("greedy_accuracy", "greedy"),
    ("sampled_accuracy", "sampled"),
    ("format_rate", "form"),
    ("hallucination_rate", "halluc."),
    ("effective_ratio_first", "eff. first"),
    ("effective_ratio_last", "eff. last"),
)


def write_summary(directory: RunDirectory, recipe: Recipe, complete: bool) -> dict[str, Any]:
    """Collect what every finished stage left behind."""
    found = {stage.label: directory.outcome(stage.label) for stage in recipe.stage}
    outcomes = {label: outcome for label, outcome in found.items() if outcome is not None}
    tested = {
        label: row for outcome in outcomes.values() for label, row in outcome.details.get("test_rows", {}).items()
    }
    summary = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "complete": complete,
        "stages": {label: stage_row(label, outcome, tested) for label, outcome in outcomes.items()},
        "details": {label: dict(outcome.details) for label, outcome in outcomes.items()},
        "seconds": sum(outcome.row.seconds for outcome in outcomes.values()),
        "versions": versions(),
        "commit": commit(),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
        },
    }
    write_whole(directory.summary, json.dumps(summary, indent=2) + "\n")
    return summary


def stage_row(label: str, outcome: Outcome, tested: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's row: its own figures, replaced by those of the test split where the evaluate stage has them."""
    return asdict(outcome.row) | dict(tested.get(label, {}))


def stage_table(summary: Mapping[str, Any]) -> Table:
    """The stage table for the terminal."""
    splits = sorted({row["split"] for row in summary["stages"].values() if row["split"]})
    caption = f"per cent, {' and '.join(splits)} split" if splits else None
    table = Table(box=None, pad_edge=False, header_style="bold", caption=caption, caption_justify="left")
    table.add_column("stage", no_wrap=True)
    for _, title in COLUMNS:
        table.add_column(title, justify="right")
    table.add_column("seconds", justify="right")
    for label, row in summary["stages"].items():
        figures = ["" if row[key] is None else f"{100 * row[key]:.1f}" for key, _ in COLUMNS]
        table.add_row(label, *figures, f"{row['seconds']:.1f}")
    return table


def versions() -> dict[str, str]:
    """Of everything that can change a number."""
    return {
        name: version(name) for name in ("vergence", "torch", "transformers", "tokenizers", "numpy", "scikit-learn")
    }


def commit() -> str | None:
    """The git commit of the code, with a mark where the tree differs from it; None outside a checkout."""
    folder = Path(__file__).parent
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()
