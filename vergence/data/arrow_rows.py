"""Rows from a folder that Hugging Face `datasets` saved (`save_to_disk`): Arrow streams, mapped into memory.

    state.json, dataset_info.json, data-00000-of-00001.arrow     one split
    dataset_dict.json, train/, test/                             several, each a folder like that

The package `datasets` is not needed to read them.
"""

import bisect
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from vergence.data.rows import Row, Rows, Shards, read_row
from vergence.errors import DataError

STATE, SPLITS = "state.json", "dataset_dict.json"


@final
class ArrowRows:
    """An Arrow stream in a file. Its pages are the operating system's to keep or drop."""

    def __init__(self, path: Path) -> None:
        """Raises DataError if the file is no Arrow stream."""
        import pyarrow as pa

        self._path = path
        try:
            with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as stream:
                self._batches: list[Any] = list(stream)  # views of the map, which they keep open
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: not a readable Arrow stream ({' '.join(str(error).split())[:200]})") from None
        self._ends = list(itertools.accumulate(batch.num_rows for batch in self._batches))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        batch = bisect.bisect_right(self._ends, index)
        place = index - (self._ends[batch - 1] if batch else 0)
        return read_row(self._batches[batch], place, self.where(index))

    def where(self, index: int) -> str:
        """File and row, counted from 1."""
        return f"{self._path}, row {index + 1}"

    def folder(self, index: int) -> Path:
        """Beside the file."""
        return self._path.parent

    def files(self) -> Sequence[Path]:
        """The stream, and the list that names it where there is one."""
        state = self._path.parent / STATE
        return [self._path, state] if state.is_file() else [self._path]


def is_saved(folder: Path) -> bool:
    """Whether `datasets` wrote this folder."""
    return (folder / STATE).is_file() or (folder / SPLITS).is_file()


def open_saved(folder: Path) -> Rows:
    """The rows of a saved split, or of the only split of a saved dictionary.

    Raises DataError if there are several splits, or if the folder is not whole.
    """
    if (folder / SPLITS).is_file():
        splits = _read(folder / SPLITS, "splits")
        if len(splits) != 1:
            raise DataError(
                f"{folder}: holds the splits {', '.join(splits)}; name one, for instance {folder / 'train'}"
            )
        return open_saved(folder / str(splits[0]))
    if not (folder / STATE).is_file():
        raise DataError(f"{folder}: no {STATE} there, so the saved set is not whole; copy the whole folder")
    names = [entry["filename"] for entry in _read(folder / STATE, "_data_files")]
    if not names:
        raise DataError(f"{folder / STATE}: names no data files, so the set is empty")
    parts = [ArrowRows(folder / name) for name in names]
    return Shards(parts) if len(parts) > 1 else parts[0]


def _read(path: Path, key: str) -> list[Any]:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        found = state[key]
        if state.get("_indices_data_files") or state.get("_indices_files"):
            raise DataError(f"{path}: rows are chosen by indices beside them; save the set again, flattened")
        return list(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not what `datasets` writes ({type(error).__name__}: {error})") from None
