"""Features of pictures on disk: one file for each picture and fingerprint, below a bound, safe to share and to lose."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vergence.errors import DirectoryError, RunError


@final
class FeatureFiles:
    """A directory of features; the files that were not asked for the longest are deleted first.

    Several processes may use one directory. A file is whole or absent; one that is damaged all the same is as good as
    absent. Raises DirectoryError if the directory cannot be made, and RunError if a file cannot be written.
    """

    def __init__(self, directory: Path, *, capacity_bytes: int) -> None:
        self._directory = directory
        self._capacity = capacity_bytes
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DirectoryError(
                f"features.disk = {directory}: not a usable directory ({error}); name another"
            ) from error
        self._bytes = sum(size for _, size, _ in self._files())

    def read(self, fingerprint: str, picture: str) -> Tensor | None:
        """The features of a picture, by its SHA-256; None if they are not there, or not as they were written."""
        path = self._path(fingerprint, picture)
        try:
            with safe_open(path, framework="pt") as file:
                features: Tensor = file.get_tensor("features")
                expected = (file.metadata() or {}).get("sha256")
            os.utime(path)
        except (OSError, SafetensorError):
            return None
        return features if expected == _digest(features) else None

    def write(self, fingerprint: str, picture: str, features: Tensor) -> None:
        """Keep a picture's features, then delete the oldest files until the bound holds."""
        kept = features.detach().cpu().contiguous()
        try:
            self._bytes += _write_whole(self._path(fingerprint, picture), kept)
        except FileNotFoundError:
            return  # another process needed the room
        except (OSError, SafetensorError) as error:
            raise RunError(
                f"features.disk = {self._directory}: cannot be written ({error}); make room there, lower "
                "features.disk_mb, or leave features.disk out"
            ) from error
        if self._bytes > self._capacity:
            self._shrink()

    def _shrink(self) -> None:
        files = sorted(self._files())
        self._bytes = sum(size for _, size, _ in files)
        for _, size, path in files:
            if self._bytes <= self._capacity:
                return
            path.unlink(missing_ok=True)
            self._bytes -= size

    def _files(self) -> list[tuple[float, int, Path]]:
        """(last use, bytes, path) of every file, those that a killed process left half written among them."""
        found = []
        for path in self._directory.glob("*/*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process deleted it
            found.append((status.st_mtime, status.st_size, path))
        return found

    def _path(self, fingerprint: str, picture: str) -> Path:
        return self._directory / fingerprint[:32] / f"{picture}.safetensors"


def _write_whole(path: Path, features: Tensor) -> int:
    """Under another name first, so that a reader never meets half a file; gives the file's size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    os.close(handle)
    partial = Path(name)
    try:
        save_file({"features": features}, partial, {"sha256": _digest(features)})
        size = partial.stat().st_size
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return size


def _digest(features: Tensor) -> str:
    return hashlib.sha256(features.contiguous().flatten().view(torch.uint8).numpy().tobytes()).hexdigest()
