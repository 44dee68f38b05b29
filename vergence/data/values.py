"""Values of a row as text: what stands for nothing, and numbers that a table keeps as floats."""

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from vergence.errors import DataError


def known(value: Any) -> Any:
    """A value with None in place of every NaN in it: tables have no other word for "nothing here"."""
    match value:
        case float() if math.isnan(value):
            return None
        case Mapping():
            return {key: known(one) for key, one in value.items()}
        case list():
            return [known(one) for one in value]
    return value


def plain(value: Any) -> str:
    """A value as text; a whole number is written as one, though a table that has gaps keeps it as 15.0."""
    if isinstance(value, float | Decimal) and math.isfinite(value) and abs(float(value)) < 1e15 and value == int(value):
        return str(int(value))
    return str(value)


def text_of(value: Any, where: str, key: str) -> str:
    """A value as text: strings as they are, numbers as they are read, None as nothing, a list of one as that one.

    Raises DataError for anything else.
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or value != value:
        return ""
    if isinstance(value, str | int | float | Decimal):
        return plain(value)
    raise DataError(f"{where}: {key} must be text or a number, found {type(value).__name__} {value!r:.60}")


def check_characters(row: Any, where: str) -> None:
    """Raises DataError if text of a row holds half a character, which JSON can write and no file can keep."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise DataError(f"{where}: text with half a character ({half}, a lone surrogate); write it anew") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: cannot be read ({error})") from None
