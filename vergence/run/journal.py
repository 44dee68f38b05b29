"""Append-only JSON-lines files that a checkpoint can roll back to the byte."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from vergence.files import write_whole


@final
class Journal:
    """One JSON object a line. `size` goes into checkpoints; `truncate` undoes what came after one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one line; numbers that JSON cannot hold (infinities, not-a-number) become null."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(_plain(row), allow_nan=False) + "\n")

    def size(self) -> int:
        """Bytes so far, flushed to the disk; 0 before the first line."""
        if not self._path.exists():
            return 0
        with self._path.open("a") as file:
            os.fsync(file.fileno())
        return self._path.stat().st_size

    def truncate(self, size: int) -> None:
        """Drop everything after the first `size` bytes."""
        if not self._path.exists() or self._path.stat().st_size <= size:
            return
        with self._path.open("a") as file:
            file.truncate(size)

    def drop_stage(self, stage: str) -> None:
        """Drop every line of one stage, and a torn last line; the others stay as they are."""
        if not self._path.exists():
            return
        lines = self._path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["stage"] != stage]
        if kept != lines:
            write_whole(self._path, "".join(kept))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
