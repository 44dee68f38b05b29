"""Layouts: how the rows of a data set are read. One function from a row to a draft of a problem.

A draft is a problem before anybody has looked at its pictures; `vergence/data/source.py` makes the problem of it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vergence.data.rows import Row, Rows, open_rows
from vergence.types import EXACTLY, Grading

NUMBERED_MARKS = re.compile(r"<image[ _]?(\d*)>")
"""`<image>`, `<image1>`, `<image 1>`, `<image_1>`: where published sets say that a picture stands."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which row it is."""

    where: str
    """File and line, for messages."""
    index: int
    """Its number in the set, from 0; the identity of rows that have none."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a row says."""

    id: str
    question: str
    """Without its options; with the marks of the layout where pictures stand."""
    images: tuple[Any, ...]
    """As the row has them: paths, bytes, and what else `picture_of` reads."""
    answer: str
    """Of a choice, the letter. Empty where the row has none."""
    category: str = "all"
    grading: Grading = EXACTLY
    objects: frozenset[str] = frozenset()
    mentions: str = ""
    target: str = ""
    """The response to imitate; empty where there is none."""
    chosen: str = ""
    rejected: str = ""
    """Two responses, the first better; empty where the row is no pair."""
    source: str = "file"
    """What made the pair."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How the rows of one kind of data set are read."""

    name: str
    draft: Callable[[Row, Place], Draft]
    """Raises DataError, beginning with `place.where`, if the row is not of this kind."""
    prompt: str = "{question}"
    """How question and options become the text that is asked; a recipe may name another."""
    marks: re.Pattern[str] | None = NUMBERED_MARKS
    """What stands in a question for a picture, with its number as the one group; None: only `IMAGE_MARK`, untouched."""
    open: Callable[[Path], Rows] = open_rows
    """How the set is opened."""
    optional: tuple[str, ...] = ()
    """Columns that a row may lack. One that no row has is misspelt."""


WITH_OPTIONS = "{question}\n{options}"
"""The prompt of sets whose questions do not list their options."""
