"""What a data set may give as a picture, and the file or the bytes that it means.

"images/7.png"                          a path, relative to the data file or to the root that the recipe names
b"\\x89PNG..."                           bytes
{"bytes": b"...", "path": "7.png"}      the Image feature of Hugging Face sets: bytes, or a path where there are none
"file:///data/7.png"                    the same as a URI; "file://images/7.png" is taken for a relative path
"data:image/png;base64,iVBOR..."        a data URI
"iVBORw0KGgo..."                        base64 of a PNG, JPEG, GIF, WebP or BMP file
"https://..."                           an address, if the recipe allows the network
"""

import base64
import binascii
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from vergence.data.images import Picture
from vergence.data.lines import located
from vergence.errors import DataError

Fetch = Callable[[str, str], bytes]
"""(address, where) -> what is there. Raises DataError."""

_NOTHING: tuple[Any, ...] = (None, "", {"bytes": None, "path": None})
_BASE64 = re.compile(r"(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR|Qk)[A-Za-z0-9+/\s]{24,}={0,2}\s*")
"""Base64 text of a picture's first bytes, and too long to be taken for a path."""


def refuse(address: str, where: str) -> bytes:
    """The default: no network."""
    raise DataError(f"{where}: image {address[:200]}: is on the network, which is off; set data.network = true")


def picture_of(raw: Any, folder: Path, fetch: Fetch, where: str) -> Picture:
    """The file or the bytes of what a row gives. Raises DataError if it is nothing of the kind."""
    match raw:
        case bytes():
            return raw
        case {"bytes": bytes(content)}:
            return content
        case {"path": str(path)}:
            return located(folder, bare_path(path))
        case str() if raw.startswith("data:"):
            return _data_uri(raw, where)
        case str() if raw.startswith(("http://", "https://")):
            return fetch(raw, where)
        case str() if _BASE64.fullmatch(raw):
            return _base64(raw, where)
        case str():
            return located(folder, bare_path(raw))
    raise DataError(
        f"{where}: a picture must be a path, bytes, base64 or a data URI, found {type(raw).__name__} {raw!r:.60}"
    )


def is_path(raw: Any) -> bool:
    """Whether a row gives a picture as a path: neither content nor an address."""
    return isinstance(raw, str) and not raw.startswith(("data:", "http://", "https://")) and not _BASE64.fullmatch(raw)


def bare_path(text: str) -> str:
    """A path without the beginning that makes a URI of it."""
    if not text.startswith("file:"):
        return text
    path = text.removeprefix("file:").removeprefix("//").removeprefix("localhost/")
    return unquote(f"/{path}" if text.startswith("file://localhost/") else path)


def pictures_in(value: Any) -> tuple[Any, ...]:
    """One picture, several, or none, as they stand in a column; what is nothing in a list is no picture."""
    several = value if isinstance(value, list | tuple) else (value,)
    return tuple(one for one in several if one not in _NOTHING)


def _data_uri(text: str, where: str) -> bytes:
    kind, comma, content = text.removeprefix("data:").partition(",")
    if not comma:
        raise DataError(f"{where}: image {text[:60]!r}: a data URI has a comma before its content")
    return _base64(content, where) if kind.endswith(";base64") else unquote_to_bytes(content)


def _base64(text: str, where: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{where}: image {text[:30]!r}...: not base64 ({error})") from None
