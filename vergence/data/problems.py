"""Problems and captions from JSON-lines files. The format is described in docs/data.md.

    {"id": "7", "question": "sum?", "images": ["images/7.png"], "answer": "15"}

Optional keys: `category`, `objects` and `mentions` (what is visible, and the expression that finds claims about it),
and `target` (the response to imitate, for captions).
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, final

from vergence.data.images import check_whole, reference
from vergence.errors import DataError
from vergence.seeds import generator
from vergence.types import Caption, Problem

_REQUIRED = {"id": str, "question": str, "images": list, "answer": str}
_OPTIONAL = {"category": str, "objects": list, "mentions": str, "target": str}


@final
@dataclass(frozen=True, slots=True)
class Problems:
    """A finite list that can be asked for "the problems of step s"."""

    rows: tuple[Problem, ...]
    seed: int

    def take(self, step: int, count: int) -> list[Problem]:
        """The problems of one step: each epoch is a fresh shuffle, walked in whole steps, its remainder left out.

        A function of the step alone, so resuming needs no cursor; no problem comes twice in one step. Raises DataError
        if there are fewer problems than a step asks for.
        """
        if count > len(self.rows):
            raise DataError(
                f"the training data has {len(self.rows)} problems and one step asks for {count}; "
                "lower the number of prompts, or add problems"
            )
        epoch, place = divmod(step, len(self.rows) // count)
        order = _order(self.seed, epoch, len(self.rows))
        return [self.rows[row] for row in order[place * count : (place + 1) * count]]


def read_problems(path: Path, *, decode: bool) -> list[Problem]:
    """Read and check a whole data file; `decode` also decodes every picture.

    Raises DataError naming file, line and key for the first thing that is wrong; an empty file is wrong.
    """
    problems = [_problem(row, path, line) for line, row in _rows(path)]
    _check_ids(problems, path)
    if decode:
        for problem in problems:
            for image in problem.images:
                check_whole(Path(image.path), f"{path}, problem {problem.id}")
    return problems


def read_captions(path: Path) -> list[Caption]:
    """Like `read_problems`, for rows that carry a `target`."""
    captions = []
    for line, row in _rows(path):
        if not row.get("target"):
            raise DataError(f'{path}, line {line}: a caption needs a non-empty "target"; add one, or remove the row')
        captions.append(Caption(_problem(row, path, line), row["target"]))
    _check_ids([caption.problem for caption in captions], path)
    return captions


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
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
        _check_keys(row, path, number)
        yield number, row
    if not found:
        raise DataError(f"{path}: the data set is empty; it needs at least one JSON line")


def _check_keys(row: dict[str, Any], path: Path, line: int) -> None:
    for key in _REQUIRED:
        if key not in row:
            raise DataError(f'{path}, line {line}: key "{key}" is missing; every row needs {", ".join(_REQUIRED)}')
    for key, value in row.items():
        kind = _REQUIRED.get(key) or _OPTIONAL.get(key)
        if kind is None:
            known = ", ".join([*_REQUIRED, *_OPTIONAL])
            raise DataError(f'{path}, line {line}: unknown key "{key}"; known are {known}')
        if not isinstance(value, kind):
            raise DataError(
                f'{path}, line {line}: "{key}" must be {_kind(kind)}, found {type(value).__name__} {value!r:.60}'
            )
    if not row["answer"].strip():
        raise DataError(f'{path}, line {line}: "answer" is empty, so no response could ever be right; fill it in')


def _problem(row: dict[str, Any], path: Path, line: int) -> Problem:
    where = f"{path}, line {line}"
    try:
        re.compile(row.get("mentions", ""))
    except re.error as error:
        raise DataError(f'{where}: "mentions" is not a regular expression ({error})') from None
    for image in row["images"]:
        if not isinstance(image, str):
            raise DataError(f'{where}: "images" must hold paths, found {type(image).__name__} {image!r:.60}')
    return Problem(
        id=row["id"],
        question=row["question"],
        images=tuple(reference(_located(path, image), where) for image in row["images"]),
        answer=row["answer"],
        category=row.get("category", "all"),
        objects=frozenset(map(str, row.get("objects", []))),
        mentions=row.get("mentions", ""),
    )


def _located(path: Path, image: str) -> Path:
    try:
        return (path.parent / image).resolve()
    except (OSError, ValueError):  # too long, or with a zero byte: told as a file that is not there
        return path.parent / image


def _check_ids(problems: Sequence[Problem], path: Path) -> None:
    seen: set[str] = set()
    for problem in problems:
        if problem.id in seen:
            raise DataError(f'{path}: id "{problem.id}" occurs twice; ids key the random draws and must be unique')
        seen.add(problem.id)


def _kind(kind: type) -> str:
    return "a string" if kind is str else "a list"


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, size: int) -> tuple[int, ...]:
    return tuple(generator(seed, "epoch", epoch).permutation(size).tolist())
