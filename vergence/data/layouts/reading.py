"""What the ready layouts share: columns that must be there."""

from typing import Any

from vergence.data.layout import Place
from vergence.data.raw_images import pictures_in
from vergence.data.rows import Row
from vergence.data.values import plain, text_of
from vergence.errors import DataError


def text(row: Row, key: str, place: Place) -> str:
    """A column as text. Raises DataError if it is not there."""
    if key not in row:
        raise DataError(f'{place.where}: no column "{key}"; the row has {", ".join(map(str, row))}; wrong layout?')
    return text_of(row[key], place.where, f'"{key}"')


def identity(row: Row, place: Place, *keys: str) -> str:
    """What a row is called by the first of these columns that is not empty, or else its number in the set."""
    return next((plain(row[key]) for key in keys if row.get(key) not in (None, "")), str(place.index))


def numbered_pictures(row: Row, last: int) -> tuple[Any, ...]:
    """The pictures of the columns image_1 to image_`last`, up to the first that is not there."""
    found: list[Any] = []
    for number in range(1, last + 1):
        picture = pictures_in(row.get(f"image_{number}"))
        if not picture:
            break
        found += picture
    return tuple(found)


def unboxed(answer: str) -> str:
    r"""The content of an answer that is one \boxed{...}; any other answer as it is."""
    inner = answer.strip().removeprefix("$").removesuffix("$").strip()
    if not (inner.startswith(r"\boxed{") and inner.endswith("}")):
        return answer
    depth = 0
    for place, sign in enumerate(inner):
        depth += (sign == "{") - (sign == "}")
        if sign == "}" and depth == 0:
            return inner[len(r"\boxed{") : place] if place == len(inner) - 1 else answer
    return answer
