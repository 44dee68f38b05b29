"""Preference pairs, and responses to score, for training and using reward models.

    {"question": "sum?", "images": ["images/7.png"], "chosen": "<answer>15</answer>", "rejected": "<answer>16</answer>"}
    {"question": "sum?", "images": ["images/7.png"], "responses": ["<answer>15</answer>", "15"]}

Optional keys: `id` (rows with equal ids must ask the same about the same pictures), `answer` (tells problems apart when
responses are compared across them), `source` (what accuracy is reported by), `chosen_finish` and `rejected_finish`
("length" for a response that was cut off, else "stop"). Any other key is ignored, so that files made elsewhere can be
read as they are.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vergence.data.identities import Identities
from vergence.data.images import check_whole
from vergence.data.layout import Draft, Layout, Place
from vergence.data.layouts.ours import OURS
from vergence.data.problems import Each, unasked
from vergence.data.raw_images import pictures_in
from vergence.data.remaining import number_of
from vergence.data.rows import Row, Rows
from vergence.data.sequence import Opened
from vergence.data.source import Keep, Source, as_source
from vergence.data.store import laid_out, noted
from vergence.data.values import text_of
from vergence.errors import DataError
from vergence.types import Finish, Problem

AlsoPair = Callable[[int, Problem], None]
"""What else is done with a pair of a set: (its number from 0, its problem) -> nothing."""


@dataclass(frozen=True, slots=True)
class Preference:
    """Two responses to one problem as text, the first better."""

    problem: Problem
    chosen: str
    rejected: str
    source: str
    """What made the pair; "file" where the row does not say."""
    chosen_finish: Finish = Finish.STOP
    """How the chosen response ended; as a text that is not cut off where the row does not say."""
    rejected_finish: Finish = Finish.STOP


@dataclass(frozen=True, slots=True)
class Responses:
    """Responses to one problem as text, to be scored."""

    problem: Problem
    texts: tuple[str, ...]


def read_preferences(named: Path | Source) -> list[Preference]:
    """Read and check a whole set of pairs, pictures decoded; rows of one problem share it.

    Raises DataError naming file, line and key for the first thing that is wrong; an empty file is wrong.
    """
    source = pairs_source(named)
    rows, shared = source.rows(), _Shared()
    pairs = []
    for index in range(len(rows)):
        pair = preference_at(source, rows, index, source.store.keep)
        pairs.append(replace(pair, problem=shared.problem(pair.problem, rows.where(index))))
    return pairs


def open_preferences(named: Path | Source) -> Opened[Preference]:
    """The pairs of a set, read one by one when they are asked for. A slice is a list.

    Raises DataError if the set cannot be opened, and later where a row is wrong.
    """
    source = pairs_source(named)
    rows = source.rows()
    return Opened(len(rows), lambda index: preference_at(source, rows, index, source.store.keep))


def check_preferences(
    named: Path | Source, also: AlsoPair = lambda index, problem: None, *, each: Each = unasked
) -> int:
    """Check a whole set of pairs without keeping it, pictures decoded, and count it.

    Pictures that are no files are not written anywhere, but for as long as `each` may open them. `also` is called with
    each pair's number and problem, `each` with one pair after the other. Raises DataError as `read_preferences`.
    """
    source = pairs_source(named)
    rows, ids = source.rows(), Identities()
    for index in range(len(rows)):
        kept: dict[str, bytes] = {}
        pair = preference_at(source, rows, index, partial(noted, source.store, kept))
        ids.add(pair.problem.id)
        also(index, pair.problem)
        for picture in source.pictures(source.draft(rows, index), rows, index):
            check_whole(picture, rows.where(index))
        with laid_out(pair.problem, kept) as whole:
            each(number_of(rows, index), rows.where(index), whole, (pair.chosen, pair.rejected))

    def named_at(index: int) -> str:
        return source.draft(rows, index).id  # a name that was made of what is asked says nothing new

    for first, place in ids.repeats(named_at):
        if named_at(place):
            one, other = (preference_at(source, rows, index, source.store.reference) for index in (first, place))
            _check_same(one.problem, other.problem, rows.where(place))
    return len(rows)


def read_responses(named: Path | Source) -> list[Responses]:
    """Read and check a whole file of responses to score, pictures decoded. Raises DataError as `read_preferences`."""
    source = pairs_source(named)
    rows, shared = source.rows(), _Shared()
    found = []
    for index in range(len(rows)):
        problem = problem_at(source, source.draft(rows, index), rows, index, source.store.keep)
        texts = rows[index].get("responses")
        where = rows.where(index)
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise DataError(f'{where}: "responses" must be a list of strings, found {texts!r:.60}')
        found.append(Responses(shared.problem(problem, where), tuple(texts)))
    return found


def pairs_source(named: Path | Source) -> Source:
    """A set of pairs; our own layout is read without the keys that problems must have."""
    source = as_source(named)
    return replace(source, layout=PAIRS) if source.layout is OURS else source


def preference_at(source: Source, rows: Rows, index: int, keep: Keep) -> Preference:
    """The pair of a row. Raises DataError for the first thing that is wrong with it."""
    where, draft = rows.where(index), source.draft(rows, index)
    problem = problem_at(source, draft, rows, index, keep)
    for key, text in (("chosen", draft.chosen), ("rejected", draft.rejected)):
        if not text.strip():
            raise DataError(f'{where}: "{key}" must be a non-empty string, found {rows[index].get(key)!r:.60}')
    if draft.chosen == draft.rejected:
        raise DataError(f'{where}: "chosen" and "rejected" are equal, so there is nothing to prefer')
    if not draft.source.replace("_", "").isalnum() or not draft.source.isascii():
        raise DataError(f'{where}: "source" must be letters, digits and _, found {draft.source!r:.60}')
    finishes = [_finish(rows[index], f"{side}_finish", where) for side in ("chosen", "rejected")]
    return Preference(problem, draft.chosen, draft.rejected, draft.source, *finishes)


def problem_at(source: Source, draft: Draft, rows: Rows, index: int, keep: Keep) -> Problem:
    """The problem of a pair, named by what it asks where its row does not name it."""
    problem = source.finished(draft, rows, index, keep)
    asked = "\x1f".join([problem.question, *(image.sha256 for image in problem.images)])
    name = problem.id or f"asked-{hashlib.sha256(asked.encode(errors='surrogatepass')).hexdigest()[:16]}"
    return replace(problem, id=name)


class _Shared:
    """The problems of one file by their names."""

    def __init__(self) -> None:
        self._seen: dict[str, Problem] = {}

    def problem(self, problem: Problem, where: str) -> Problem:
        """The problem of that name, its pictures decoded when it is first seen."""
        known = self._seen.setdefault(problem.id, problem)
        _check_same(known, problem, where)
        if known is problem:
            for image in problem.images:
                check_whole(Path(image.path), where)
        return known


def _check_same(known: Problem, other: Problem, where: str) -> None:
    if (known.question, known.images) != (other.question, other.images):
        raise DataError(f'{where}: id "{other.id}" asks something else further up; equal ids are one prompt')


def _draft(row: Row, place: Place) -> Draft:
    images = pictures_in(row.get("images"))
    if not all(isinstance(image, str | bytes | dict) for image in images):
        raise DataError(f'{place.where}: "images" must be a list of paths, found {row["images"]!r:.60}')
    question = row.get("question")
    if not isinstance(question, str) or not question.strip():
        raise DataError(f'{place.where}: "question" must be a non-empty string, found {question!r:.60}')
    return Draft(
        id=_optional(row, "id", place),
        question=question,
        images=images,
        answer=_optional(row, "answer", place),
        chosen=_response(row, "chosen"),
        rejected=_response(row, "rejected"),
        source=_optional(row, "source", place) or "file",
    )


def _finish(row: Row, key: str, where: str) -> Finish:
    value = row.get(key, Finish.STOP)
    if value not in list(Finish):
        raise DataError(f'{where}: "{key}" must be "stop" or "length", found {value!r:.60}')
    return Finish(value)


def _response(row: Row, key: str) -> str:
    value: Any = row.get(key)
    return value if isinstance(value, str) else ""  # told as missing by whoever needs it


def _optional(row: Row, key: str, place: Place) -> str:
    return text_of(row.get(key), place.where, f'"{key}"')


PAIRS = Layout("vergence", _draft, marks=None)
