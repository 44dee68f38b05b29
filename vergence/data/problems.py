"""Problems and captions of a data set. The formats are described in docs/data.md.

    {"id": "7", "question": "sum?", "images": ["images/7.png"], "answer": "15"}

A set is read whole and checked (`read_...`), opened without being read (`open_...`), or checked row by row without
being kept (`check_...`).
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, final

from vergence.data.identities import Identities
from vergence.data.images import check_whole
from vergence.data.layout import Place
from vergence.data.layouts.ours import draft as our_draft
from vergence.data.lines import json_objects
from vergence.data.remaining import number_of
from vergence.data.rows import Rows
from vergence.data.sequence import Opened
from vergence.data.source import Keep, Source, as_source
from vergence.data.store import laid_out, noted
from vergence.errors import DataError
from vergence.seeds import generator
from vergence.types import Caption, Ints, Problem

CHUNK = 256
"""Rows that are checked together."""
Also = Callable[[Sequence[Problem]], None]
"""A further check of some problems. Raises DataError."""
Each = Callable[[int, str, Problem, Sequence[str]], None]
"""(number of a row, where it is, its problem, the responses that it gives itself); may raise DataError."""


def unasked(number: int, where: str, problem: Problem, responses: Sequence[str]) -> None:
    """No check."""


@final
@dataclass(frozen=True, slots=True)
class Problems:
    """A finite list that can be asked for "the problems of step s"."""

    rows: Sequence[Problem]
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
        return [self.rows[int(row)] for row in order[place * count : (place + 1) * count]]


def open_problems(named: Path | Source) -> Opened[Problem]:
    """The problems of a set, read one by one when they are asked for. A slice is a list.

    Raises DataError if the set cannot be opened, and later where a row is wrong.
    """
    source = as_source(named)
    rows = source.rows()
    return Opened(len(rows), lambda index: problem_at(source, rows, index, source.store.keep))


def open_captions(named: Path | Source) -> Opened[Caption]:
    """Like `open_problems`, for rows that carry a `target`."""
    source = as_source(named)
    rows = source.rows()
    return Opened(len(rows), lambda index: caption_at(source, rows, index, source.store.keep))


def read_problems(named: Path | Source, *, decode: bool) -> list[Problem]:
    """Read and check a whole set; `decode` also decodes every picture.

    Raises DataError naming file, line and key for the first thing that is wrong; an empty file is wrong.
    """
    source = as_source(named)
    rows = source.rows()
    problems = [problem_at(source, rows, index, source.store.keep) for index in range(len(rows))]
    _check_ids(source, problems)
    for index, problem in enumerate(problems if decode else ()):
        for image in problem.images:
            check_whole(Path(image.path), rows.where(index))
    return problems


def read_captions(named: Path | Source) -> list[Caption]:
    """Like `read_problems`, for rows that carry a `target`; pictures are not decoded."""
    source = as_source(named)
    rows = source.rows()
    captions = [caption_at(source, rows, index, source.store.keep) for index in range(len(rows))]
    _check_ids(source, [caption.problem for caption in captions])
    return captions


def check_problems(
    named: Path | Source, *, decode: bool = True, also: Also = lambda problems: None, each: Each = unasked
) -> int:
    """Check a whole set without keeping it, and count it; `decode` decodes every picture once.

    Pictures that are no files are not written anywhere, but for as long as `each` may open them. `also` is called with
    some problems after the other, `each` with one after the other. Raises DataError as `read_problems`.
    """

    def made(source: Source, rows: Rows, index: int, keep: Keep) -> tuple[Problem, Sequence[str]]:
        return problem_at(source, rows, index, keep), ()

    return _check(as_source(named), made, decode, also, each)


def check_captions(named: Path | Source, also: Also = lambda problems: None, *, each: Each = unasked) -> int:
    """Like `check_problems`, for rows that carry a `target`; pictures are not decoded."""

    def made(source: Source, rows: Rows, index: int, keep: Keep) -> tuple[Problem, Sequence[str]]:
        caption = caption_at(source, rows, index, keep)
        return caption.problem, (caption.target,)

    return _check(as_source(named), made, False, also, each)


def problem_at(source: Source, rows: Rows, index: int, keep: Keep) -> Problem:
    """The problem of a row. Raises DataError for the first thing that is wrong with it."""
    problem = source.problem(rows, index, keep)
    if not problem.answer.strip():
        raise DataError(f'{rows.where(index)}: "answer" is empty, so no response could ever be right; fill it in')
    return problem


def caption_at(source: Source, rows: Rows, index: int, keep: Keep) -> Caption:
    """The caption of a row. Raises DataError for the first thing that is wrong with it."""
    draft = source.draft(rows, index)
    if not draft.target:
        raise DataError(f'{rows.where(index)}: a caption needs a non-empty "target"; add one, or remove the row')
    return Caption(source.finished(draft, rows, index, keep), draft.target)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of our own layout as they stand there, each with the keys that `read_problems` checks."""
    rows = []
    for number, row in json_objects(path):
        our_draft(row, Place(f"{path}, line {number}", number - 1))
        rows.append(row)
    return rows


Made = Callable[[Source, Rows, int, Keep], tuple[Problem, Sequence[str]]]
"""A row to its problem, and the responses that it gives itself."""


def _check(source: Source, make: Made, decode: bool, also: Also, each: Each) -> int:
    rows, ids = source.rows(), Identities()

    def checked(index: int) -> tuple[Problem, Sequence[str], dict[str, bytes]]:
        kept: dict[str, bytes] = {}

        problem, responses = make(source, rows, index, partial(noted, source.store, kept))
        for image in problem.images if decode else ():
            check_whole(kept.get(image.path, Path(image.path)), rows.where(index))
        return problem, responses, {} if each is unasked else kept

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:  # decoding does not hold the interpreter's lock
        for first in range(0, len(rows), CHUNK):
            found = list(threads.map(checked, range(first, min(first + CHUNK, len(rows)))))
            for index, (problem, responses, kept) in enumerate(found, start=first):
                ids.add(problem.id)
                with laid_out(problem, kept) as whole:
                    each(number_of(rows, index), rows.where(index), whole, responses)
            also([problem for problem, _, _ in found])
    _check_unique(ids, lambda index: source.draft(rows, index).id, source.path)
    return len(rows)


def _check_ids(source: Source, problems: Sequence[Problem]) -> None:
    ids = Identities()
    for problem in problems:
        ids.add(problem.id)
    _check_unique(ids, lambda index: problems[index].id, source.path)


def _check_unique(ids: Identities, name_at: Callable[[int], str], path: Path) -> None:
    for first, _ in ids.repeats(name_at):
        raise DataError(f'{path}: id "{name_at(first)}" occurs twice; ids key the random draws and must be unique')


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, size: int) -> Ints:
    return generator(seed, "epoch", epoch).permutation(size)
