"""Rows of a set without some of them, which keep their numbers, and so the names that are made of numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np

from vergence.data.rows import Row, Rows
from vergence.errors import DataError


@final
class Remaining:
    """The rows that are not left out, in their order; 8 bytes a row."""

    def __init__(self, rows: Rows, left_out: frozenset[int]) -> None:
        """Raises DataError if none remains."""
        self._rows = rows
        kept = np.ones(len(rows), dtype=bool)
        kept[list(left_out)] = False
        self._places = np.flatnonzero(kept)
        if not len(self._places):
            raise DataError(f"{rows.where(0)} and all others: left out, so nothing remains; shorten the prompts")

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Row:
        return self._rows[self.number(index)]

    def where(self, index: int) -> str:
        """Of the row in its file."""
        return self._rows.where(self.number(index))

    def folder(self, index: int) -> Path:
        """Of the row in its file."""
        return self._rows.folder(self.number(index))

    def files(self) -> Sequence[Path]:
        """Of the whole set."""
        return self._rows.files()

    def number(self, index: int) -> int:
        """The row's number in the whole set."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return int(self._places[index])


def number_of(rows: Rows, index: int) -> int:
    """A row's number in the set that it was read from."""
    return rows.number(index) if isinstance(rows, Remaining) else index
