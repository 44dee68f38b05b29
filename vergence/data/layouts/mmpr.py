"""MMPR (OpenGVLab/MMPR, v1.1 and v1.2): preference pairs.

    meta.json                {"NAME": {"root": "MMPR/images/...", "annotation": "MMPR/annotations/x.jsonl", ...}, ...}
    annotations/x.jsonl      image (a path below the root, a list of them, or nothing), question, chosen, rejected

Either the meta file is opened, and all its annotation files behind each other, or one annotation file, whose pictures
lie below the root that `data.images` names. `repeat_time` is not applied: a pair occurs once.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import final

from vergence.data.json_rows import JsonLines
from vergence.data.layout import Draft, Layout, Place
from vergence.data.layouts.reading import text
from vergence.data.raw_images import pictures_in
from vergence.data.rows import Row, Rows, Shards, open_rows
from vergence.errors import DataError


@final
class Rooted:
    """Rows whose pictures lie below a folder of their own."""

    def __init__(self, rows: Rows, root: Path) -> None:
        self._rows = rows
        self._root = root

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        return self._rows[index]

    def where(self, index: int) -> str:
        """Of the row."""
        return self._rows.where(index)

    def folder(self, index: int) -> Path:
        """The root."""
        return self._root

    def files(self) -> Sequence[Path]:
        """Of the rows."""
        return self._rows.files()


def open_mmpr(path: Path) -> Rows:
    """All annotation files of a meta file, or the rows of one of them. Raises DataError if one is missing."""
    if path.name != "meta.json":
        return open_rows(path)
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        entries = [(str(entry["root"]), str(entry["annotation"])) for entry in meta.values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not MMPR's meta file ({type(error).__name__}: {error})") from None
    if not entries:
        raise DataError(f"{path}: names no annotation files")
    return Shards([Rooted(JsonLines(_place(path, file)), _place(path, root)) for root, file in entries])


def draft(row: Row, place: Place) -> Draft:
    """Pairs have no id and no answer: `read_preferences` names a prompt by what it asks."""
    return Draft(
        id="",
        question=text(row, "question", place),
        images=pictures_in(row.get("image")),
        answer="",
        chosen=text(row, "chosen", place),
        rejected=text(row, "rejected", place),
    )


def _place(meta: Path, named: str) -> Path:
    """A path of the meta file: relative to the folder of the set, or to the one above, as the published file has it."""
    below, beside = meta.parent / named, meta.parent.parent / named
    return beside if beside.exists() and not below.exists() else below


MMPR = Layout("mmpr", draft, open=open_mmpr)
