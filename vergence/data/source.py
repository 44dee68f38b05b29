"""A data set as it is named: where it lies, how its rows are read, where its pictures come from.

row --layout--> Draft --prompt, marks, pictures--> Problem
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vergence.data.images import Picture, check_header, check_present, reference
from vergence.data.layout import Draft, Layout, Place
from vergence.data.layouts.ours import OURS
from vergence.data.marks import filled, placed
from vergence.data.options import lettered
from vergence.data.raw_images import Fetch, picture_of, refuse
from vergence.data.remaining import Remaining, number_of
from vergence.data.rows import Rows
from vergence.data.store import ImageStore, default_store
from vergence.data.values import known
from vergence.errors import DataError
from vergence.types import IMAGE_MARK, ImageRef, Problem

Keep = Callable[[bytes], ImageRef]
"""The bytes of a picture -> its reference; writes them, or does not."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A data set."""

    path: Path
    """A file, a folder or a pattern (`vergence/data/rows.py`)."""
    layout: Layout = OURS
    prompt: str = ""
    """How question and options become what is asked; the layout's, where it is empty."""
    images: Path | None = None
    """Where relative paths of pictures start; None is beside the data file."""
    fetch: Fetch = refuse
    """What is done about pictures on the network."""
    store: ImageStore = field(default_factory=default_store)
    """Where pictures that are no files are kept."""
    left_out: frozenset[int] = frozenset()
    """Numbers of rows that are passed over."""

    def rows(self) -> Rows:
        """The rows. Raises DataError if they cannot be opened."""
        rows = self.layout.open(self.path)
        return Remaining(rows, self.left_out) if self.left_out else rows

    def draft(self, rows: Rows, index: int) -> Draft:
        """What a row says. Raises DataError if it is not of the layout's kind."""
        where = rows.where(index)
        try:
            return self.layout.draft(known(rows[index]), Place(where, number_of(rows, index)))
        except DataError:
            raise
        except Exception as error:  # a value of a kind that nobody thought of
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise DataError(f"{where}: not of the layout {self.layout.name} ({reason}); wrong layout?") from error

    def question(self, draft: Draft) -> tuple[str, tuple[int, ...]]:
        """(what is asked, with a mark for each picture where the row has marks; the order of the pictures in it)."""
        text = filled(self.prompt or self.layout.prompt, draft.question, lettered(draft.grading.options))
        if self.layout.marks is None:
            return text, tuple(range(len(draft.images)))
        question, order = placed(text, len(draft.images), self.layout.marks)
        return question, tuple(order)

    def pictures(self, draft: Draft, rows: Rows, index: int) -> list[Picture]:
        """The files or bytes of a row's pictures, in its order. Raises DataError if one is nothing of the kind."""
        folder = self.images or rows.folder(index)
        return [picture_of(raw, folder, self.fetch, rows.where(index)) for raw in draft.images]

    def problem(self, rows: Rows, index: int, keep: Keep | None = None) -> Problem:
        """The problem of a row, its pictures checked as far as their headers.

        Pictures that are no files go into the store, or where `keep` says. Raises DataError for the first thing that
        is wrong.
        """
        draft = self.draft(rows, index)
        return self.finished(draft, rows, index, keep or self.store.keep)

    def finished(self, draft: Draft, rows: Rows, index: int, keep: Keep) -> Problem:
        """The problem of a draft that was read from this row."""
        where = rows.where(index)
        question, order = self.question(draft)
        if not question.replace(IMAGE_MARK, "").strip():
            raise DataError(f"{where}: the question is empty; fill it in, or correct the layout")
        if question.count(IMAGE_MARK) not in (0, len(draft.images)):
            raise DataError(
                f"{where}: the question says {question.count(IMAGE_MARK)} times where a picture stands ({IMAGE_MARK}), "
                f"and the row has {len(draft.images)}; write one mark for each, or none at all"
            )
        pictures = self.pictures(draft, rows, index)
        images = [referenced(pictures[place], where, keep) for place in order]
        return Problem(
            id=draft.id,
            question=question,
            images=tuple(images),
            answer=draft.answer,
            category=draft.category,
            objects=draft.objects,
            mentions=draft.mentions,
            grading=draft.grading,
        )


def referenced(picture: Picture, where: str, keep: Keep) -> ImageRef:
    """A picture by reference, its header and size checked. Raises DataError if it is missing, or none."""
    if isinstance(picture, Path):
        return reference(picture, where)
    check_present(picture, where)
    check_header(picture, where)
    return keep(picture)


def as_source(named: Path | Source) -> Source:
    """A path alone is a data set of our own layout."""
    return named if isinstance(named, Source) else Source(named)
