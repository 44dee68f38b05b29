"""JSON lines: one object a line, read and complained about in the same way everywhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vergence.errors import DataError


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, object) for each line that is not blank.

    Raises DataError naming file and line for the first that is no JSON object, and for a file without any.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # JSON lines end there and nowhere else
    except FileNotFoundError:
        raise DataError(f"{path}: no such data file; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    found = False
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        found = True
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: not a JSON object ({error}); one object a line") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected a JSON object, found {type(row).__name__}")
        yield number, row
    if not found:
        raise DataError(f"{path}: the data set is empty; it needs at least one JSON line")


def located(path: Path, image: str) -> Path:
    """A picture's place, given in a data file relative to that file."""
    try:
        return (path.parent / image).resolve()
    except (OSError, ValueError):  # too long, or with a zero byte: told as a file that is not there
        return path.parent / image
