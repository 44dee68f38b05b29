"""Preference pairs and responses from JSON-lines files, for training and using reward models.

    {"question": "sum?", "images": ["images/7.png"], "chosen": "<answer>15</answer>", "rejected": "<answer>16</answer>"}
    {"question": "sum?", "images": ["images/7.png"], "responses": ["<answer>15</answer>", "15"]}

Optional keys: `id` (rows with equal ids must ask the same about the same pictures), `answer` (tells problems apart when
responses are compared across them), `source` (what accuracy is reported by). Any other key is ignored, so that files
made elsewhere can be read as they are.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vergence.data.images import check_whole, reference
from vergence.data.lines import json_objects, located
from vergence.errors import DataError
from vergence.types import Problem


@dataclass(frozen=True, slots=True)
class Preference:
    """Two responses to one problem as text, the first better."""

    problem: Problem
    chosen: str
    rejected: str
    source: str
    """What made the pair; "file" where the row does not say."""


@dataclass(frozen=True, slots=True)
class Responses:
    """Responses to one problem as text, to be scored."""

    problem: Problem
    texts: tuple[str, ...]


def read_preferences(path: Path) -> list[Preference]:
    """Read and check a whole file of pairs, pictures decoded.

    Raises DataError naming file, line and key for the first thing that is wrong; an empty file is wrong.
    """
    read = _Reader(path)
    pairs = []
    for line, row in json_objects(path):
        problem = read.problem(line, row)
        chosen, rejected = read.text(line, row, "chosen"), read.text(line, row, "rejected")
        if chosen == rejected:
            raise DataError(f'{path}, line {line}: "chosen" and "rejected" are equal, so there is nothing to prefer')
        source = read.optional_text(line, row, "source") or "file"
        if not source.replace("_", "").isalnum() or not source.isascii():
            raise DataError(f'{path}, line {line}: "source" must be letters, digits and _, found {source!r:.60}')
        pairs.append(Preference(problem, chosen, rejected, source))
    return pairs


def read_responses(path: Path) -> list[Responses]:
    """Read and check a whole file of responses to score, pictures decoded. Raises DataError as `read_preferences`."""
    read = _Reader(path)
    found = []
    for line, row in json_objects(path):
        problem = read.problem(line, row)
        texts = row.get("responses")
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise DataError(f'{path}, line {line}: "responses" must be a list of strings, found {texts!r:.60}')
        found.append(Responses(problem, tuple(texts)))
    return found


class _Reader:
    """What both kinds of file share, and the identity of prompts within one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: dict[str, Problem] = {}

    def problem(self, line: int, row: dict[str, Any]) -> Problem:
        where = f"{self._path}, line {line}"
        question, images = self.text(line, row, "question"), row.get("images", [])
        if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
            raise DataError(f'{where}: "images" must be a list of paths, found {images!r:.60}')
        references = tuple(reference(located(self._path, image), where) for image in images)
        asked = "\x1f".join([question, *(image.sha256 for image in references)])
        name = self.optional_text(line, row, "id") or f"asked-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"
        answer = self.optional_text(line, row, "answer")
        problem = Problem(name, question, references, answer, "all", frozenset(), "")
        known = self._seen.setdefault(name, problem)
        if (known.question, known.images) != (question, references):
            raise DataError(f'{where}: id "{name}" asks something else further up; equal ids are one prompt')
        if known is problem:
            for image in references:
                check_whole(Path(image.path), where)
        return known

    def text(self, line: int, row: dict[str, Any], key: str) -> str:
        value = row.get(key)
        if not isinstance(value, str) or not value.strip():
            raise DataError(f'{self._path}, line {line}: "{key}" must be a non-empty string, found {value!r:.60}')
        return value

    def optional_text(self, line: int, row: dict[str, Any], key: str) -> str:
        value = row.get(key, "")
        if not isinstance(value, str):
            raise DataError(f'{self._path}, line {line}: "{key}" must be a string, found {value!r:.60}')
        return value
