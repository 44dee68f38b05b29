"""The clean set: what is left of a data set, as JSON lines of our own layout.

Rows of another layout become rows of ours: pictures by their files, questions as they are asked (marks and options in
place), answers with their type. Rows of our own layout stay as they are, but for the paths of their pictures.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vergence.data.layouts.ours import OURS
from vergence.data.preferences import PAIRS
from vergence.data.rows import Rows
from vergence.data.source import Keep, Source
from vergence.data.values import known
from vergence.errors import DataError
from vergence.types import EXACTLY, Grading


def clean_lines(
    source: Source,
    left_out: frozenset[int],
    folder: Path,
    keep: Keep,
    lost: Callable[[int, DataError], None] | None = None,
) -> Iterator[str]:
    """One line for each row that is not left out; pictures are named as they are seen from `folder`.

    A row that cannot be read raises DataError, or is told to `lost` and passed over.
    """
    rows = source.rows()
    row_of = _our_row if source.layout in (OURS, PAIRS) else _converted
    for index in range(len(rows)):
        if index in left_out:
            continue
        try:
            row = row_of(source, rows, index, folder, keep)
        except DataError as error:
            if lost is None:
                raise
            lost(index, error)
            continue
        yield json.dumps(row, ensure_ascii=False, default=lambda value: None) + "\n"  # null: JSON has no word for it


def _our_row(source: Source, rows: Rows, index: int, folder: Path, keep: Keep) -> dict[str, Any]:
    row: dict[str, Any] = known(rows[index])
    pictures = source.pictures(source.draft(rows, index), rows, index)
    places = [keep(picture).path if isinstance(picture, bytes) else str(picture) for picture in pictures]
    return row | {"images": [os.path.relpath(place, folder) for place in places]}


def _converted(source: Source, rows: Rows, index: int, folder: Path, keep: Keep) -> dict[str, Any]:
    draft = source.draft(rows, index)
    problem = source.finished(draft, rows, index, keep)
    row: dict[str, Any] = {
        "id": draft.id,
        "question": problem.question,
        "images": [os.path.relpath(image.path, folder) for image in problem.images],
        "answer": draft.answer,
        "category": draft.category,
    }
    if draft.chosen:
        pair = {"chosen": draft.chosen, "rejected": draft.rejected, "source": draft.source}
        return {key: value for key, value in row.items() if value and key != "category"} | pair
    extra = {"objects": sorted(draft.objects), "mentions": draft.mentions, "target": draft.target}
    return row | grading_keys(problem.grading) | {key: value for key, value in extra.items() if value}


def grading_keys(grading: Grading) -> dict[str, Any]:
    """The keys of a row that say how its answer is graded; none where it is compared letter by letter."""
    if grading == EXACTLY:
        return {}
    keys: dict[str, Any] = {"type": str(grading.type)}
    given = {"options": list(grading.options), "tolerance": grading.tolerance, "tests": grading.tests}
    return keys | {key: value for key, value in given.items() if value}
