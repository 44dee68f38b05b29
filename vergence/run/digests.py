"""Digests of files: what decided a run so far and what it has made, so that no run goes on over something else.

RUN/digests.json, for people and for `sha256sum`:

    {"files":    {"data.train": {"train.jsonl": {"bytes": 81234, "sha256": "9f86d0..."}}, "stage.load.path": {...}},
     "pictures": {"data.train": {"problem-7": ["60303a..."]}}}

Inputs are named by their key in the recipe and files relative to where the key points, so data may be moved. Every byte
is read each time: a size and a time of change would miss bits that a disk has flipped.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from vergence.errors import DirectoryError
from vergence.files import write_whole
from vergence.types import ImageRef

RECORD = "digests.json"
NAMED = 3
"""Changes that an error names one by one."""
Name = TypeVar("Name", str, Path)


@dataclass(frozen=True, slots=True)
class FileDigest:
    """A file's content."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run reads, each by its key in the recipe."""

    files: Mapping[str, Mapping[str, Path]]
    """Key -> name, relative to where the key points -> where the file lies now."""
    pictures: Mapping[str, Mapping[str, tuple[ImageRef, ...]]] = field(default_factory=dict)
    """Key of a data set -> problem id, or number of a pair -> its pictures, where they are files of their own."""


@dataclass(frozen=True, slots=True)
class Digests:
    """The same by content."""

    files: Mapping[str, Mapping[str, FileDigest]]
    pictures: Mapping[str, Mapping[str, tuple[str, ...]]]
    """SHA-256 of each picture."""
    held: bool = False
    """Whether other runs were computed from these inputs (a study's), so that they hold before this one has begun."""

    def as_json(self) -> dict[str, Any]:
        """As it is written."""
        files = {
            key: {name: {"bytes": one.bytes, "sha256": one.sha256} for name, one in sorted(named.items())}
            for key, named in sorted(self.files.items())
        }
        pictures = {key: {name: list(all_) for name, all_ in named.items()} for key, named in self.pictures.items()}
        return ({"held": True} if self.held else {}) | {"files": files, "pictures": pictures}


NOTHING = Digests({}, {})


def files_below(folder: Path) -> dict[str, Path]:
    """Every file of a folder by its name relative to it, sorted, without hidden files and texts for people (*.md)."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and path.suffix != ".md" and not any(part.startswith(".") for part in name.parts):
            found[name.as_posix()] = path
    return found


def file_digests(paths: Iterable[Path]) -> dict[Path, FileDigest]:
    """The digest of each file, several at a time; files that are not there, or cannot be read, are left out."""
    distinct = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:  # hashing does not hold the interpreter's lock
        found = threads.map(_digest, distinct)
        return {path: one for path, one in zip(distinct, found, strict=True) if one is not None}


def digests_of(inputs: Inputs) -> Digests:
    """Read every input file; pictures bring the digests that they had when their rows were read."""
    found = file_digests(path for named in inputs.files.values() for path in named.values())
    files = {
        key: {name: found[path] for name, path in named.items() if path in found} for key, named in inputs.files.items()
    }
    pictures = {
        key: {name: tuple(one.sha256 for one in images) for name, images in named.items()}
        for key, named in inputs.pictures.items()
    }
    return Digests(files, pictures)


def read_digests(path: Path) -> Digests | None:
    """A record; None where there is none. Raises DirectoryError if it cannot be read."""
    if not path.is_file():
        return None
    try:
        return parse_digests(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DirectoryError(
            f"{path}: not a record of digests ({type(error).__name__}: {error}); restore it, or delete it if you are "
            "sure that no input was changed"
        ) from None


def parse_digests(raw: Any) -> Digests:
    """The inverse of `as_json`. Raises ValueError if it is nothing of the kind."""
    try:
        files = {key: {name: FileDigest(**one) for name, one in named.items()} for key, named in raw["files"].items()}
        pictures = {key: {name: tuple(all_) for name, all_ in named.items()} for key, named in raw["pictures"].items()}
        return Digests(files, pictures, raw.get("held", False))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"expected files and pictures with their digests ({error})") from None


def write_digests(path: Path, digests: Digests) -> None:
    """Replace a record in one step."""
    write_whole(path, json.dumps(digests.as_json(), indent=1) + "\n")


def changes(before: Digests, now: Digests, inputs: Inputs) -> list[str]:
    """What differs, one text for each file: keys, path, what was found and what was expected.

    `inputs` is what `now` was read from, and says where things lie. A key that one side lacks is not compared.
    """
    asked_by: dict[str, list[str]] = {}
    for key, named in inputs.files.items():
        if key in before.files:
            gone = {name: name for name in before.files[key]}
            here = {name: str(path) for name, path in named.items()}
            for told in file_changes(before.files[key], now.files[key], gone | here):
                asked_by.setdefault(told, []).append(key)
    for key, rows in inputs.pictures.items():
        known = before.pictures.get(key, {})
        for name, images in rows.items():
            for image, expected in zip(images, known.get(name, ()), strict=False):
                if image.sha256 != expected:
                    told = f"{image.path}: sha256 {image.sha256[:12]}, expected {expected[:12]}"
                    asked_by.setdefault(told, []).append(f'picture of {key} "{name}"')
    return [
        f"{', '.join(keys[:NAMED])}{', ...' if len(keys) > NAMED else ''}: {told}" for told, keys in asked_by.items()
    ]


def file_changes(
    before: Mapping[Name, FileDigest], now: Mapping[Name, FileDigest], places: Mapping[Name, str]
) -> list[str]:
    """What differs between two lists of files; `places` says how each file of either is called in the text."""
    told = []
    for name, place in places.items():
        expected, found = before.get(name), now.get(name)
        if expected is None:
            told.append(f"{place}: was not there before")
        elif found is None:
            told.append(f"{place}: missing or unreadable, expected {expected.bytes:,} bytes")
        elif found.bytes != expected.bytes:
            told.append(f"{place}: {found.bytes:,} bytes, expected {expected.bytes:,}")
        elif found.sha256 != expected.sha256:
            told.append(f"{place}: sha256 {found.sha256[:12]}, expected {expected.sha256[:12]}")
    return told


def first_named(told: list[str]) -> str:
    """Changes as part of one line: the first few, and how many more."""
    more = f"; and {len(told) - NAMED} more" if len(told) > NAMED else ""
    return "; ".join(told[:NAMED]) + more


def unchanged(record: Path, inputs: Inputs, *, begun: bool) -> tuple[Digests, bool]:
    """Read all inputs and compare them with a record: (what to record now, whether anything differs).

    `begun` says whether anything was computed from them that a run would go on from. Raises DirectoryError naming the
    first files and pictures that differ if so, and where other runs were computed from them.
    """
    before, now = read_digests(record), digests_of(inputs)
    if before is None:
        return now, False
    if begun or before.held:
        check_same(record.parent, before, now, inputs)
    joined = replace(before, files={**before.files, **now.files}, pictures={**before.pictures, **now.pictures})
    return joined, bool(changes(before, now, inputs))


def check_same(place: Path, before: Digests, now: Digests, inputs: Inputs) -> None:
    """Raise DirectoryError naming the files and pictures that differ; `place` is what was made from them."""
    told = changes(before, now, inputs)
    if told:
        raise DirectoryError(
            f"{place}: inputs are not those that it began with: {first_named(told)}; restore them to go on, or choose "
            "another --out to begin with what is there now"
        )


def seal(folder: Path) -> None:
    """Write the digests of a folder's files into it, for `is_sealed`."""
    files = files_below(folder)
    write_digests(folder / RECORD, digests_of(Inputs({"": files})))


def is_sealed(folder: Path) -> bool:
    """Whether the folder's files are those that were sealed: none is changed, and none missing."""
    try:
        sealed = read_digests(folder / RECORD)
    except DirectoryError:
        return False
    if sealed is None or "" not in sealed.files:
        return False
    now = digests_of(Inputs({"": {name: folder / name for name in sealed.files[""]}}))
    return now.files == sealed.files


def _digest(path: Path) -> FileDigest | None:
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return FileDigest(file.tell(), sha256)
    except OSError:
        return None
