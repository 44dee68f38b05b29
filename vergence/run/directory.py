"""A run directory: what lies where, whose it is, and which stages are done.

recipe.toml     the resolved recipe          metrics.jsonl   one object a step
data/           a built-in task's data       rollouts/       sampled groups, by stage
checkpoints/    one folder a stage           summary.json    the stage table
final/          the last policy              report.html     all of it to look at
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from vergence.errors import DirectoryError
from vergence.recipe.load import first_difference, load_recipe, to_toml
from vergence.recipe.schema import Recipe
from vergence.run.checkpoint import sweep, write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """One row of the stage table; None where a stage has no such figure."""

    greedy_accuracy: float | None = None
    sampled_accuracy: float | None = None
    format_rate: float | None = None
    hallucination_rate: float | None = None
    effective_ratio_first: float | None = None
    """Share of effective groups among the fresh ones, mean over the first tenth of the steps."""
    effective_ratio_last: float | None = None
    """The same over the last tenth."""
    seconds: float
    """Wall seconds, all sessions together."""
    split: str | None = None
    """Which split the accuracies were measured on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished stage leaves behind."""

    models: Mapping[str, str]
    """Model name to its directory, relative to the run directory where it lies inside."""
    row: StageRow
    details: Mapping[str, Any]
    """Further figures of the stage, for summary.json."""


@final
class RunDirectory:
    """The paths of one run and the record of its finished stages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = path / "metrics.jsonl"
        self.summary = path / "summary.json"
        self.final = path / "final"
        self.report = path / "report.html"
        self.data = path / "data"

    def stage_folder(self, label: str) -> Path:
        """Where a stage keeps its checkpoints and its models."""
        return self.path / "checkpoints" / label

    def outcome(self, label: str) -> Outcome | None:
        """What the stage left behind, or None while it is not done."""
        path = self.stage_folder(label) / "done.json"
        if not path.is_file():
            return None
        raw = json.loads(path.read_text())
        return Outcome(raw["models"], StageRow(**raw["row"]), raw["details"])

    def finish(self, label: str, outcome: Outcome) -> None:
        """Record that the stage is done; from now on it is never run again."""
        record = {
            "models": dict(outcome.models),
            "row": asdict(outcome.row),
            "details": dict(outcome.details),
        }
        folder = self.stage_folder(label)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "done.json", json.dumps(record, indent=2) + "\n")

    def model_path(self, entry: str) -> Path:
        """A model's directory from its entry in an outcome."""
        return self.path / entry  # an absolute entry stays as it is


@contextmanager
def opened(path: Path, recipe: Recipe) -> Iterator[RunDirectory]:
    """Claim a run directory for this recipe and hold it until the block ends.

    Raises DirectoryError, having changed nothing, if the directory holds another run, something that is no run, or a
    run that another process is working on.
    """
    known = path / "recipe.toml"
    if path.exists() and not path.is_dir():
        raise DirectoryError(f"{path}: is a file; give a directory with --out")
    if known.is_file():
        difference = first_difference(load_recipe(str(known)), recipe)
        if difference:
            raise DirectoryError(
                f"{path}: holds another run ({difference}); choose another --out, or repeat that run's settings"
            )
    elif path.is_dir() and any(entry.name != ".lock" for entry in path.iterdir()):
        raise DirectoryError(f"{path}: not empty and not a run directory; choose another --out")
    path.mkdir(parents=True, exist_ok=True)
    with locked(path):
        sweep(path)
        if not known.is_file():
            write_whole(known, to_toml(recipe))
        yield RunDirectory(path)


def existing(path: Path) -> RunDirectory:
    """A run directory to read from. Raises DirectoryError if it is none."""
    if not (path / "recipe.toml").is_file():
        raise DirectoryError(f"{path}: no recipe.toml; expected a directory that `vergence run` made")
    return RunDirectory(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a directory for this process. Raises DirectoryError if another one holds it."""
    descriptor = os.open(path / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DirectoryError(f"{path}: another process is working on this run; wait for it, or stop it") from None
        yield
    finally:
        os.close(descriptor)  # which also gives the lock back, as does the death of the process
