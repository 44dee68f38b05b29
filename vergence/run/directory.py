"""A run directory: what lies where, whose it is, and which stages are done.

recipe.toml     the resolved recipe          metrics.jsonl   one object a step
digests.json    of the inputs, by content    rollouts/       sampled groups, by stage
data/           a built-in task's data       alarms/         what monitors said, by stage
checkpoints/    one folder a stage           summary.json    the stage table
final/          the last policy              report.html     all of it to look at

A stage's `done.json` holds the digests of all that it has left behind.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

from vergence.errors import DirectoryError
from vergence.files import write_whole
from vergence.recipe.load import first_difference, load_recipe, to_toml
from vergence.recipe.schema import Recipe
from vergence.run.checkpoint import sweep
from vergence.run.digests import (
    NOTHING,
    RECORD,
    Digests,
    FileDigest,
    Inputs,
    digests_of,
    file_digests,
    files_below,
    read_digests,
    write_digests,
)


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
        self.digests = path / RECORD

    def stage_folder(self, label: str) -> Path:
        """Where a stage keeps its checkpoints and its models."""
        return self.path / "checkpoints" / label

    def outcome(self, label: str) -> Outcome | None:
        """What the stage left behind, or None while it is not done. Raises DirectoryError if that cannot be read."""
        raw = self._done(label)
        if raw is None:
            return None
        try:
            return Outcome(raw["models"], StageRow(**raw["row"]), raw["details"])
        except (KeyError, TypeError) as error:
            raise self._unreadable(label, error) from None

    def finish(self, label: str, outcome: Outcome, *, inputs: Collection[str] = ()) -> None:
        """Record that the stage is done, with the digests of its files; from now on it is never run again.

        Models outside the run directory count as its files too, but for those of `inputs`, which are recorded as such.
        """
        folder = self.stage_folder(label)
        folder.mkdir(parents=True, exist_ok=True)
        left = [path for name, path in files_below(folder).items() if not name.startswith("steps/")]
        for entry in outcome.models.values():
            if Path(entry).is_absolute() and entry not in inputs:
                left += files_below(Path(entry)).values()
        digests = file_digests(path for path in left if path != folder / "done.json")
        record = {
            "models": dict(outcome.models),
            "row": asdict(outcome.row),
            "details": dict(outcome.details),
            "files": {self.entry(path): asdict(digest) for path, digest in digests.items()},
        }
        write_whole(folder / "done.json", json.dumps(record, indent=2) + "\n")

    def made(self, label: str) -> dict[Path, FileDigest]:
        """The files that a finished stage left behind, as they were then."""
        files = (self._done(label) or {}).get("files", {})
        try:
            return {self.path / entry: FileDigest(**digest) for entry, digest in files.items()}
        except (AttributeError, TypeError) as error:
            raise self._unreadable(label, error) from None

    def _done(self, label: str) -> dict[str, Any] | None:
        path = self.stage_folder(label) / "done.json"
        if not path.is_file():
            return None
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise self._unreadable(label, error) from None

    def _unreadable(self, label: str, error: Exception) -> DirectoryError:
        folder = self.stage_folder(label)
        return DirectoryError(
            f"{folder / 'done.json'}: cannot be read ({type(error).__name__}: {error}); restore it, or delete {folder} "
            "to do the stage again"
        )

    def model_path(self, entry: str) -> Path:
        """A model's directory from its entry in an outcome."""
        return self.path / entry  # an absolute entry stays as it is

    def entry(self, path: Path) -> str:
        """The inverse: relative to the run directory where the path lies inside."""
        return path.relative_to(self.path).as_posix() if path.is_relative_to(self.path) else str(path)

    def begin(self, recipe: Recipe, inputs: Digests, *, anew: bool) -> None:
        """The first changes of a session: sweep away what an interrupted write left, record recipe and inputs.

        `anew` drops the beginnings of stages, because they were made from other inputs.
        """
        if anew:
            shutil.rmtree(self.path / "checkpoints", ignore_errors=True)
        sweep(self.path)
        if not (self.path / "recipe.toml").is_file():
            write_whole(self.path / "recipe.toml", to_toml(recipe))
        write_digests(self.digests, inputs)

    def record_data(self, *, written: bool) -> None:
        """Remember what a built-in task has put into `data/`; `written` says whether it did so just now.

        Raises DirectoryError if the folder is written once more and does not hold what it held before.
        """
        before = read_digests(self.digests) or NOTHING
        if "data" in before.files and not written:
            return
        now = digests_of(Inputs({"data": files_below(self.data)}))
        if before.files.get("data", now.files["data"]) != now.files["data"]:
            raise DirectoryError(
                f"{self.data}: written again, and not as it was before; use the versions of packages that this run "
                "began with, or choose another --out"
            )
        write_digests(self.digests, replace(before, files={**before.files, **now.files}))


@contextmanager
def opened(path: Path, recipe: Recipe) -> Iterator[RunDirectory]:
    """Claim a run directory for this recipe and hold it until the block ends; nothing in it is changed.

    Raises DirectoryError if the directory holds another run, something that is no run, or a run that another process is
    working on.
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
