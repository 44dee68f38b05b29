"""JSON lines: one object a line, read and complained about in the same way everywhere."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vergence.data.values import check_characters
from vergence.errors import DataError


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, object) for each line that is not blank, read one by one.

    Raises DataError naming file and line for the first that is no JSON object, and for a file without any.
    """
    found = False
    try:
        with path.open("rb") as file:  # JSON lines end at a newline byte and nowhere else
            for number, line in enumerate(file, start=1):
                if line.strip():
                    found = True
                    yield number, json_object(line, path, number)
    except FileNotFoundError:
        raise DataError(f"{path}: no such data file; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    if not found:
        raise DataError(f"{path}: the data set is empty; it needs at least one JSON line")


def json_object(line: bytes, path: Path, number: int) -> dict[str, Any]:
    """The object of one line. Raises DataError naming file and line if it is none."""
    try:
        row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, line {number}: cannot be read as UTF-8 text ({error})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number}: not a JSON object ({error}); one object a line") from None
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {number}: expected a JSON object, found {type(row).__name__}")
    if _HALF.search(line):
        check_characters(row, f"{path}, line {number}")
    return row


_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""What half a character, or one of two halves, looks like in JSON."""


def located(folder: Path, image: str) -> Path:
    """A picture's place, given relative to a folder."""
    try:
        return (folder / image).resolve()
    except (OSError, ValueError):  # too long, or with a zero byte: told as a file that is not there
        return folder / image
