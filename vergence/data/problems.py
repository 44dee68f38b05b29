"""Problems and captions from JSON-lines files. The format is described in docs/data.md.

    {"id": "7", "question": "sum?", "images": ["images/7.png"], "answer": "15"}

Optional keys: `category`, `objects` and `mentions` (what is visible, and the expression that finds claims about it),
`target` (the response to imitate, for captions), and what `vergence pool` adds: `solve_rate` and `samples`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, final

from vergence.data.images import check_whole, reference
from vergence.data.lines import json_objects, located
from vergence.errors import DataError
from vergence.seeds import generator
from vergence.types import Caption, Problem

_REQUIRED = {"id": str, "question": str, "images": list, "answer": str}
_OPTIONAL = {"category": str, "objects": list, "mentions": str, "target": str, "solve_rate": float, "samples": int}
_KINDS = {str: "a string", list: "a list", float: "a number with a point", int: "a whole number"}


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


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a data file as they stand there, each with the keys that `read_problems` checks."""
    return [row for _, row in _rows(path)]


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
    for number, row in json_objects(path):
        _check_keys(row, path, number)
        yield number, row


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
                f'{path}, line {line}: "{key}" must be {_KINDS[kind]}, found {type(value).__name__} {value!r:.60}'
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
        images=tuple(reference(located(path, image), where) for image in row["images"]),
        answer=row["answer"],
        category=row.get("category", "all"),
        objects=frozenset(map(str, row.get("objects", []))),
        mentions=row.get("mentions", ""),
    )


def _check_ids(problems: Sequence[Problem], path: Path) -> None:
    seen: set[str] = set()
    for problem in problems:
        if problem.id in seen:
            raise DataError(f'{path}: id "{problem.id}" occurs twice; ids key the random draws and must be unique')
        seen.add(problem.id)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, size: int) -> tuple[int, ...]:
    return tuple(generator(seed, "epoch", epoch).permutation(size).tolist())
