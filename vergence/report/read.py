"""What a run directory holds, read once; everything else in this room is a function of it."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vergence.run.directory import RunDirectory

Row = Mapping[str, Any]
"""One line of a journal."""
Points = tuple[tuple[float, float], ...]
"""(step, value), in the order of the steps."""


@dataclass(frozen=True, slots=True, eq=False)
class RunRecord:
    """Everything that the report speaks of. A run that is not finished has less of it."""

    path: Path
    recipe_text: str
    recipe: Mapping[str, Any]
    """The same as plain values."""
    summary: Mapping[str, Any]
    """summary.json, with the stages that finished after it was written; `stages` and `details` are always there."""
    metrics: Mapping[str, Sequence[Row]]
    """The lines of metrics.jsonl, by stage (a part of a stage is called STAGE/PART)."""
    rollouts: Mapping[str, Sequence[Row]]
    """The sampled groups, by stage."""
    alarms: Mapping[str, Sequence[Row]]
    """Bands, alarms and actions, by stage."""

    @property
    def test(self) -> Mapping[str, Any]:
        """Stage to its figures on the test split; empty before the evaluate stage."""
        return next((found["test"] for found in self.summary["details"].values() if "test" in found), {})


def read_run(directory: RunDirectory) -> RunRecord:
    """Read what is there; nothing but the recipe has to be."""
    text = (directory.path / "recipe.toml").read_text(encoding="utf-8")
    recipe = tomllib.loads(text)
    rollouts, alarms = (_below(directory.path / name) for name in ("rollouts", "alarms"))
    labels = stage_labels(recipe)
    return RunRecord(
        path=directory.path,
        recipe_text=text,
        recipe=recipe,
        summary=_summary(directory, labels),
        metrics=_by_stage(_lines(directory.metrics)),
        rollouts=_by_stage(sorted(rollouts, key=lambda row: _place(row["stage"], labels))),
        alarms=_by_stage(sorted(alarms, key=lambda row: _place(row["stage"], labels))),
    )


def stage_labels(recipe: Mapping[str, Any]) -> list[str]:
    """The stages of a recipe, in order."""
    return [stage.get("name") or stage["type"] for stage in recipe.get("stage", [])]


def points(rows: Sequence[Row], metric: str) -> Points:
    """The steps at which a metric was logged, and its values; null stands for what was not finite and is left out."""
    return tuple((float(row["step"]), float(row[metric])) for row in rows if row.get(metric) is not None)


def values(rows: Sequence[Row], metric: str) -> list[float]:
    """The values alone."""
    return [value for _, value in points(rows, metric)]


def _summary(directory: RunDirectory, labels: Sequence[str]) -> dict[str, Any]:
    summary = json.loads(directory.summary.read_text(encoding="utf-8")) if directory.summary.is_file() else {}
    stages, details = dict(summary.get("stages", {})), dict(summary.get("details", {}))
    # a run that was stopped by force leaves finished stages that no summary tells of
    for label in labels:
        outcome = directory.outcome(label)
        if label not in stages and outcome is not None:
            stages[label] = asdict(outcome.row)
            details[label] = dict(outcome.details)
    return summary | {"stages": stages, "details": details}


def _lines(path: Path) -> list[Row]:
    """The whole lines of a journal; the run may be writing the last one at this moment."""
    if not path.is_file():
        return []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.split("\n") if line]


def _below(folder: Path) -> list[Row]:
    """The lines of all journals in a folder."""
    return [row for path in sorted(folder.rglob("*.jsonl")) for row in _lines(path)]


def _place(stage: str, labels: Sequence[str]) -> int:
    stage = stage.split("/")[0]
    return labels.index(stage) if stage in labels else len(labels)


def _by_stage(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["stage"], []).append(row)
    return found
