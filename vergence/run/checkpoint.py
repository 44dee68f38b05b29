"""Snapshots that are either whole or absent.

A snapshot is a folder: `state.pt` and `manifest.json` with its checksum. It is written under a temporary name, flushed
to the disk, and renamed. A folder with its final name is therefore complete; a torn one keeps its temporary name and is
swept away at the next start. The checksum guards against damage that happens later.
"""

import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from vergence.errors import DirectoryError
from vergence.files import TEMPORARY


@runtime_checkable
class Stateful(Protocol):
    """Anything whose state a checkpoint must hold."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, strings, lists and dictionaries only."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        ...


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes `target` on success, and never exists in part under that name.

    A symbolic link stays, and the folder it names is replaced. Raises DirectoryError if `target` is no folder.
    """
    target = Path(os.path.realpath(target))
    if target.exists() and not target.is_dir():
        raise DirectoryError(f"{target}: is no directory; choose another one")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{target.name}-", dir=target.parent))
    temporary.chmod(0o755)  # mkdtemp's is for its owner alone
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for path in sorted(temporary.rglob("*")):
        if path.is_file():
            _flush(path)
    _flush(temporary)
    if target.exists():  # only ever an older version of the same thing
        shutil.rmtree(target)
    temporary.rename(target)
    _flush(target.parent)


def remove_leftovers(target: Path) -> None:
    """Remove what `whole_folder(target)` left beside it where its process was killed."""
    for path in target.parent.glob(f"{TEMPORARY}{glob.escape(target.name)}-*"):
        shutil.rmtree(path, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what an interrupted write left below `folder`."""
    for path in list(folder.rglob(TEMPORARY + "*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def save_snapshot(folder: Path, step: int, state: Mapping[str, Any]) -> None:
    """Write snapshot `step` into `folder`, then drop the older ones."""
    target = folder / f"step-{step:06d}"
    with whole_folder(target) as temporary:
        torch.save(dict(state), temporary / "state.pt")
        manifest = {"step": step, "sha256": _sha256(temporary / "state.pt")}
        (temporary / "manifest.json").write_text(json.dumps(manifest))
    for older in _snapshots(folder):
        if older != target:
            shutil.rmtree(older)


def load_latest(folder: Path) -> Mapping[str, Any] | None:
    """The newest snapshot's state, or None where there is none yet.

    Raises DirectoryError if its bytes are not the ones that were written.
    """
    snapshots = _snapshots(folder)
    if not snapshots:
        return None
    newest = snapshots[-1]
    try:
        found = _sha256(newest / "state.pt")
        expected = str(json.loads((newest / "manifest.json").read_text())["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(newest, f"{type(error).__name__}: {error}") from error
    if found != expected:
        raise _damaged(newest, f"sha256 {found[:12]}, expected {expected[:12]}")
    return dict(torch.load(newest / "state.pt", map_location="cpu", weights_only=True))


def steps_taken(folder: Path) -> int:
    """How many steps the newest snapshot below `folder` holds; 0 where there is none, or only that of a beginning."""
    return max((_step(path) for path in folder.rglob("step-*") if path.is_dir()), default=0)


def _damaged(snapshot: Path, reason: str) -> DirectoryError:
    return DirectoryError(
        f"{snapshot / 'state.pt'}: the checkpoint is damaged ({reason}); "
        f"delete {snapshot} to redo the stage from its beginning"
    )


def _snapshots(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("step-*") if path.is_dir()), key=_step)


def _step(snapshot: Path) -> int:
    return int(snapshot.name.removeprefix("step-"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:  # in pieces: a snapshot may be as large as what the process holds already
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
