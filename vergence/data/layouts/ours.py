"""Our own layout: the keys of docs/data.md, and no others."""

import re

from vergence.data.columns import as_tests, chosen_letter, grading_of
from vergence.data.layout import Draft, Layout, Place
from vergence.data.options import options_of
from vergence.data.raw_images import pictures_in
from vergence.data.rows import Row
from vergence.data.values import plain
from vergence.errors import DataError

_Kind = tuple[type, ...]
REQUIRED: dict[str, _Kind] = {"id": (str,), "question": (str,), "answer": (str, int, float)}
OPTIONAL: dict[str, _Kind] = {
    "images": (list, str, bytes, dict),
    "category": (str,),
    "type": (str,),
    "options": (list,),
    "tolerance": (int, float),
    "tests": (str, list, dict),
    "objects": (list,),
    "mentions": (str,),
    "target": (str,),
    "solve_rate": (float,),
    "samples": (int,),
}
CONVERSATIONS = ("messages", "conversations", "conversation", "prompt")
"""Keys under which other programs keep turns of a chat."""
_KINDS: dict[_Kind, str] = {
    (str,): "a string",
    (list,): "a list",
    (float,): "a number with a point",
    (int,): "a whole number",
    (int, float): "a number",
    (str, list, dict): "JSON, or a string of it",
    (str, int, float): "a string or a number",
    (list, str, bytes, dict): "a path, or a list of them",
}


def draft(row: Row, place: Place) -> Draft:
    """A row of our own; a key without a value counts as absent.

    Raises DataError for a key that is missing, unknown, or of another type.
    """
    where, row = place.where, {key: value for key, value in row.items() if value is not None}
    for key in REQUIRED:
        if key not in row:
            raise DataError(f"{where}: {_missing(key, row)}; every row needs {', '.join(REQUIRED)}")
    for key, value in row.items():
        _check_kind(key, value, where)
    answer = plain(row["answer"])
    if not answer.strip():
        raise DataError(f'{where}: "answer" is empty, so no response could ever be right; fill it in')
    images = pictures_in(row.get("images"))
    for image in images:
        if not isinstance(image, str | bytes | dict):
            raise DataError(f'{where}: "images" must hold paths, found {type(image).__name__} {image!r:.60}')
    try:
        re.compile(row.get("mentions", ""))
    except re.error as error:
        raise DataError(f'{where}: "mentions" is not a regular expression ({error})') from None
    options = options_of(row.get("options"), where)
    tests = as_tests(row.get("tests"))
    grading = grading_of(row.get("type", ""), options, float(row.get("tolerance", 0.0)), tests, where)
    return Draft(
        id=row["id"],
        question=row["question"],
        images=images,
        answer=chosen_letter(answer, grading, where),
        category=row.get("category", "all"),
        grading=grading,
        objects=frozenset(map(plain, row.get("objects", []))),
        mentions=row.get("mentions", ""),
        target=row.get("target", ""),
    )


def _missing(key: str, row: Row) -> str:
    talk = next((name for name in CONVERSATIONS if isinstance(row.get(name), list)), None)
    if talk is None:
        return f'key "{key}" is missing'
    return f'key "{key}" is missing, and "{talk}" holds a conversation, which this layout does not read'


def _check_kind(key: str, value: object, where: str) -> None:
    kind = REQUIRED.get(key) or OPTIONAL.get(key)
    if kind is None:
        raise DataError(f'{where}: unknown key "{key}"; known are {", ".join([*REQUIRED, *OPTIONAL])}')
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f'{where}: "{key}" must be {_KINDS[kind]}, found {type(value).__name__} {value!r:.60}')


OURS = Layout("vergence", draft, marks=None)
