"""Pictures inside the page: as data URIs, small ones enlarged, large ones scaled down."""

import base64
import hashlib
import io
from pathlib import Path

from vergence.data.images import Decoded, Picture, content, read_picture
from vergence.errors import DataError
from vergence.report.markup import Html, tag
from vergence.report.read import Row

SIDE = 112
"""Pixels of the page that the longer side of a picture takes."""
LARGEST_FILE = 100_000
"""Bytes; larger files are scaled down, so that the page stays small."""
_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}


def picture(image: Row, folder: Path) -> Html:
    """One picture of a problem, or a placeholder that says why there is none."""
    path = _find(image["path"], folder)
    if path is None:
        return _placeholder("picture is missing")
    try:
        data = content(path)
    except DataError:
        return _placeholder("picture cannot be read")
    if image.get("sha256") and hashlib.sha256(data).hexdigest() != image["sha256"]:
        return _placeholder("picture has changed since the run")
    return _drawn(data, path.name)


def drawn(source: Picture) -> Html:
    """A picture of a data set, a file or bytes; a placeholder that says why where there is none."""
    try:
        data = content(source)
    except DataError:
        return _placeholder("picture is missing")
    return _drawn(data, "" if isinstance(source, bytes) else source.name)


def _drawn(data: bytes, name: str) -> Html:
    try:
        read = read_picture(data)
    except DataError:
        return _placeholder("picture cannot be read")
    width, height = _shown_size(read.pixels.size)
    return tag(
        "img",
        src=_data_uri(data, read),
        alt=name,
        width=width,
        height=height,
        class_="pixelated" if width >= read.pixels.width else None,
    )


def _shown_size(size: tuple[int, int]) -> tuple[int, int]:
    """On the page: small pictures in whole multiples, so that all their pixels have one size; large ones to fit."""
    longer = max(size)
    if longer <= SIDE:
        return size[0] * (SIDE // longer), size[1] * (SIDE // longer)
    return max(1, round(size[0] * SIDE / longer)), max(1, round(size[1] * SIDE / longer))


def _data_uri(data: bytes, read: Decoded) -> str:
    """The file, if it is small and a browser shows it as the model sees it; otherwise a smaller JPEG of that."""
    kind = next((name for begin, name in _TYPES.items() if data.startswith(begin)), None)
    if kind is None or read.conversions or len(data) > LARGEST_FILE:
        smaller, buffer = read.pixels.copy(), io.BytesIO()
        smaller.thumbnail((4 * SIDE, 4 * SIDE))
        smaller.save(buffer, "JPEG", quality=85)
        kind, data = "image/jpeg", buffer.getvalue()
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _find(given: str, folder: Path) -> Path | None:
    """The file, also where the run directory has moved and the picture with it."""
    path = Path(given)
    inside = [folder.joinpath(*path.parts[begin:]) for begin in range(1, len(path.parts))]
    return next((place for place in [folder / path, *inside] if place.is_file()), None)


def _placeholder(text: str) -> Html:
    return tag("span", text, class_="missing")
