"""A layout of the user's own: which column holds what.

    columns   = {question = "{context}\\n{problem}", images = "figure", answer = "solution.final"}
    constants = {type = "math", category = "geometry"}

A column is named with dots through structs and lists ("solution.0.final"); text with braces is put together of
columns. A constant stands where no column is named. Any but those of `NEEDED` may be absent from a row, which then says
nothing of it; one that no row has is misspelt (`never_there`).
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from vergence.data.layout import Draft, Layout, Place
from vergence.data.options import named_by_letter, named_by_text, options_of
from vergence.data.raw_images import pictures_in
from vergence.data.rows import Row, Rows
from vergence.data.values import plain, text_of
from vergence.errors import DataError
from vergence.types import AnswerType, Grading

FIELDS = (
    "id",
    "question",
    "images",
    "answer",
    "category",
    "type",
    "options",
    "tolerance",
    "tests",
    "objects",
    "mentions",
    "target",
    "chosen",
    "rejected",
    "source",
)
"""What a column may be mapped to."""
NEEDED = frozenset({"question", "answer", "chosen", "rejected"})
"""Those that every row must have."""

_PART = re.compile(r"\{([^{}]+)\}")
Constants = Mapping[str, str | float]


def columns_layout(columns: Mapping[str, str], constants: Constants, prompt: str) -> Layout:
    """The layout that a recipe's `[data.columns]` and `[data.constants]` describe."""
    optional = tuple(name for key, one in columns.items() if key not in NEEDED for name in _PART.findall(one) or [one])
    return Layout("columns", partial(_draft, dict(columns), dict(constants)), prompt, optional=optional)


def column(row: Row, name: str, where: str) -> Any:
    """The value of a column, "a.0.b" through structs and lists. Raises DataError if it is not there."""
    value: Any = row
    for part in name.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            there = ", ".join(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
            raise DataError(f'{where}: no column "{name}": "{part}" is not among {there:.200}; correct data.columns')
    return value


def has_column(row: Row, name: str) -> bool:
    """Whether the column is there, also if its value is nothing."""
    try:
        column(row, name, "")
    except DataError:
        return False
    return True


def never_there(rows: Rows, names: Sequence[str]) -> list[str]:
    """Those of the columns that no row has; reads no further than to the row that has the last of them."""
    missing = list(names)
    for index in range(len(rows)):
        if not missing:
            break
        try:
            row = rows[index]
        except DataError:  # told by whoever needs the row
            continue
        missing = [name for name in missing if not has_column(row, name)]
    return missing


def grading_of(type_: str, options: tuple[str, ...], tolerance: float, tests: str, where: str) -> Grading:
    """How answers are graded; where no type is given, a choice if there are options and the same string if not.

    Raises DataError if the type is not known, or does not fit what stands beside it.
    """
    known = [kind.value for kind in AnswerType]
    if type_ and type_ not in known:
        raise DataError(f'{where}: "type" must be one of {", ".join(known)}, found {type_!r:.60}')
    kind = AnswerType(type_) if type_ else AnswerType.CHOICE if options else AnswerType.EXACT
    if not 0 <= tolerance < float("inf"):
        raise DataError(f'{where}: "tolerance" must be a number, 0 or more, found {tolerance!r}')
    if kind is AnswerType.CODE and not tests:
        raise DataError(f'{where}: type "code" needs "tests"')
    return Grading(kind, options, tolerance, tests)


def chosen_letter(answer: str, grading: Grading, where: str) -> str:
    """The answer of a choice as its letter, given as letter or text; any other answer as it is."""
    if grading.type is not AnswerType.CHOICE or not grading.options or not answer.strip():
        return answer
    if answer.strip() in grading.options:
        return named_by_text(answer, grading.options, where)
    return named_by_letter(answer, grading.options, where)


def as_tests(value: Any) -> str:
    """Tests of code as JSON text; JSON values are written as such."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _draft(columns: Mapping[str, str], constants: Constants, row: Row, place: Place) -> Draft:
    where = place.where

    def value(key: str) -> Any:
        name = columns.get(key)
        if name is None:
            return constants.get(key)
        if key not in NEEDED and not all(has_column(row, one) for one in _PART.findall(name) or [name]):
            return None
        if _PART.search(name):
            return _PART.sub(lambda part: text_of(column(row, part.group(1), where), where, part.group(1)), name)
        return column(row, name, where)

    def text(key: str) -> str:
        return text_of(value(key), where, key)

    options, tests = options_of(value("options"), where), as_tests(value("tests"))
    grading = grading_of(text("type"), options, _number(value("tolerance"), where), tests, where)
    return Draft(
        id=text("id") or f"row-{place.index}",
        question=text("question"),
        images=pictures_in(value("images")),
        answer=chosen_letter(text("answer"), grading, where),
        category=text("category") or "all",
        grading=grading,
        objects=frozenset(map(plain, value("objects") or ())),
        mentions=text("mentions"),
        target=text("target"),
        chosen=text("chosen"),
        rejected=text("rejected"),
        source=text("source") or "file",
    )


def _number(value: Any, where: str) -> float:
    try:
        return float(value or 0.0)
    except (TypeError, ValueError):
        raise DataError(f"{where}: tolerance must be a number, found {value!r:.60}") from None
