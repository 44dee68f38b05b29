"""Rows from JSON: lines that are found by their offsets, and whole documents."""

import itertools
import json
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from vergence.data.lines import json_object
from vergence.data.rows import Row, Rows
from vergence.data.values import check_characters
from vergence.errors import DataError

KEY = "_key"
"""The column that holds a row's key, in a document that is one object of rows."""


@final
class JsonLines:
    """A file of JSON lines. Kept in memory: where each line begins, 16 bytes a row."""

    def __init__(self, path: Path) -> None:
        """Raises DataError if the file cannot be read or has no line that is not blank."""
        self._path = path
        self._starts, self._numbers = array("Q"), array("Q")
        try:
            with path.open("rb") as file:
                self._size = _file_size(path)
                start = 0
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        self._starts.append(start)
                        self._numbers.append(number)
                    start += len(line)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error})") from None
        if not self._starts:
            raise DataError(f"{path}: the data set is empty; it needs at least one JSON line")

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        with self._path.open("rb") as file:  # opened anew: nothing to close, and safe in threads and child processes
            file.seek(self._starts[index])
            line = file.readline()
        if _file_size(self._path) != self._size:
            raise DataError(f"{self._path}: has changed since it was opened; leave data alone while a run reads them")
        return json_object(line, self._path, self._numbers[index])

    def where(self, index: int) -> str:
        """File and line."""
        return f"{self._path}, line {self._numbers[index]}"

    def folder(self, index: int) -> Path:
        """Beside the file."""
        return self._path.parent

    def files(self) -> Sequence[Path]:
        """The one."""
        return [self._path]


@final
class JsonDocument:
    """A JSON document, in memory as a whole: an array of objects, or one object of them by their keys."""

    def __init__(self, path: Path, rows: list[Row], names: list[str]) -> None:
        self._path = path
        self._rows = rows
        self._names = names

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        check_characters(self._rows[index], self.where(index))
        return self._rows[index]

    def where(self, index: int) -> str:
        """File and place in the array, or key."""
        return f"{self._path}, {self._names[index]}"

    def folder(self, index: int) -> Path:
        """Beside the file."""
        return self._path.parent

    def files(self) -> Sequence[Path]:
        """The one."""
        return [self._path]


def open_json(path: Path) -> Rows:
    """A file called .json: JSON lines if its first line is an object by itself, a document otherwise.

    Raises DataError if it is neither.
    """
    try:
        with path.open("rb") as file:
            first = next((line for line in itertools.chain(file) if line.strip()), b"")
            more = any(line.strip() for line in file)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    if more and _is_object(first):
        return JsonLines(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: neither JSON lines nor one JSON document ({error})") from None
    return _document(path, document)


def _document(path: Path, document: Any) -> JsonDocument:
    if isinstance(document, dict):
        rows = [row | {KEY: key} if isinstance(row, dict) else row for key, row in document.items()]
        names = [f'key "{key}"' for key in document]
    elif isinstance(document, list):
        rows, names = document, [f"row {number}" for number in range(1, len(document) + 1)]
    else:
        raise DataError(f"{path}: expected an array of objects, or an object of them, found {type(document).__name__}")
    for row, name in zip(rows, names, strict=True):
        if not isinstance(row, dict):
            raise DataError(f"{path}, {name}: expected a JSON object, found {type(row).__name__}")
    return JsonDocument(path, rows, names)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _file_size(path: Path) -> int:
    return path.stat().st_size
