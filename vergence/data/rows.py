"""Rows of a data set, read on demand: a set may be larger than memory.

    data.jsonl  data.json  data.parquet      one file
    folder/                                  what Hugging Face `datasets` saves, or shards of one kind
    folder/train-*.parquet                   the shards that fit a pattern, in the order of their names

`open_rows` keeps an index in memory (8 or 16 bytes a row), never the rows; whole JSON documents are the one exception.
"""

import bisect
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

from vergence.errors import DataError

Row = Mapping[str, Any]
"""Column to value, as plain Python values; a picture of a Hugging Face set is {"bytes": ..., "path": ...}."""

KINDS = (".jsonl", ".ndjson", ".json", ".parquet")
"""Endings of files that are read."""


@runtime_checkable
class Rows(Protocol):
    """A finite sequence of rows that are read when they are asked for."""

    def __len__(self) -> int:
        """How many rows there are."""
        ...

    def __getitem__(self, index: int) -> Row:
        """Row `index`, from 0. Raises DataError if it cannot be read."""
        ...

    def where(self, index: int) -> str:
        """File and line or row, for messages."""
        ...

    def folder(self, index: int) -> Path:
        """The folder that relative paths of pictures in this row start from."""
        ...

    def files(self) -> Sequence[Path]:
        """Every file that rows are read from, in their order."""
        ...


@final
class Shards:
    """Several sets of rows, one behind the other."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = parts
        self._ends = list(itertools.accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Row:
        part, place = self._place(index)
        return part[place]

    def where(self, index: int) -> str:
        """Of the shard."""
        part, place = self._place(index)
        return part.where(place)

    def folder(self, index: int) -> Path:
        """Of the shard."""
        part, place = self._place(index)
        return part.folder(place)

    def files(self) -> Sequence[Path]:
        """Of all shards."""
        return [file for part in self._parts for file in part.files()]

    def _place(self, index: int) -> tuple[Rows, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = bisect.bisect_right(self._ends, index)
        return self._parts[part], index - (self._ends[part - 1] if part else 0)


def read_row(table: Any, place: int, where: str) -> Row:
    """A row of an Arrow table as Python values. Raises DataError if they cannot be made: text that is none, a date
    beyond Python's.
    """
    try:
        row: Row = table.slice(place, 1).to_pylist()[0]
    except Exception as error:  # Arrow's own errors, and those of every type of value
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{where}: cannot be read ({type(error).__name__}: {reason})") from None
    return row


def open_rows(path: Path) -> Rows:
    """The rows of a file, a folder or a pattern.

    Raises DataError if there is nothing of that name, if its kind is not known, or if it holds no row at all.
    """
    rows = _opened(path)
    if not len(rows):
        raise DataError(f"{path}: the data set is empty; it needs at least one row")
    return rows


def _opened(path: Path) -> Rows:
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _joined([path], path)
    if any(sign in path.name for sign in "*?["):
        return _joined(sorted(path.parent.glob(path.name)), path)
    raise DataError(f"{path}: no such data file; check the path")


def _folder(path: Path) -> Rows:
    from vergence.data.arrow_rows import is_saved, open_saved

    if is_saved(path):
        return open_saved(path)
    shards = [file for file in sorted(path.iterdir()) if file.suffix.lower() in KINDS]
    splits = sorted({file.name.split("-")[0] for file in shards if "-of-" in file.name})
    if len(splits) > 1:
        raise DataError(f"{path}: holds the splits {', '.join(splits)}; name one, for instance {path / splits[0]}-*")
    return _joined(shards, path)


def _joined(files: Sequence[Path], asked: Path) -> Rows:
    """Files of one kind as one set."""
    from vergence.data.json_rows import JsonLines, open_json
    from vergence.data.parquet_rows import ParquetRows

    for file in files:
        if not file.is_file():  # a FIFO would be waited for
            raise DataError(f"{file}: is no ordinary file; remove it, or name the files by a pattern")
    kinds = sorted({file.suffix.lower() for file in files})
    match kinds:
        case [".parquet"]:
            return ParquetRows(files)
        case [".jsonl" | ".ndjson"]:
            parts: list[Rows] = [JsonLines(file) for file in files]
        case [".json"]:
            parts = [open_json(file) for file in files]
        case []:
            raise DataError(f"{asked}: no data file there; known are {', '.join(KINDS)}")
        case [kind]:
            raise DataError(f"{asked}: {kind or 'no ending'} is no kind of data file; known are {', '.join(KINDS)}")
        case _:
            raise DataError(f"{asked}: holds several kinds ({', '.join(kinds)}); name files of one by a pattern")
    return Shards(parts) if len(parts) > 1 else parts[0]
