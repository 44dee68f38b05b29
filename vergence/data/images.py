"""Pictures: checked when a data set is read, decoded when features are computed.

A picture is a file, or the bytes of one. What its bytes become is said in `vergence/data/decoding.py`.
"""

import errno
import hashlib
import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError

from vergence.data.decoding import FORMATS, Conversion, open_picture, shown, shown_size
from vergence.errors import DataError, IntegrityError
from vergence.types import ImageRef

MAX_PIXELS = 64_000_000
"""Larger pictures are refused: 8,000 x 8,000 is four times the largest input any supported model uses."""
MAX_BYTES = 256_000_000

Picture = Path | bytes
"""A file, or what would be in it."""

_KINDS = {
    stat.S_ISDIR: "a directory",
    stat.S_ISFIFO: "a FIFO",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}
_PLAIN = {b"\x89PNG", b"\xff\xd8\xff", b"GIF8"}
"""Beginnings of files that every browser and every server reads."""


class TooLargeError(DataError):
    """A picture has more bytes or pixels than the limit."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A picture as everybody sees it."""

    pixels: Image.Image
    """RGB."""
    conversions: tuple[Conversion, ...]
    """What was done to the file's pixels."""


def reference(path: Path, where: str) -> ImageRef:
    """Check the picture's header and size, and take its identity.

    `where` names the row that asked for it. Raises DataError if the file is missing, is no picture, or is absurdly
    large. Truncation inside the pixel data is found by `check_whole`, or at the latest when the picture is decoded.
    """
    data = content(path, where)
    check_header(data, where, name=str(path))
    return ImageRef(str(path), hashlib.sha256(data).hexdigest())


def check_present(picture: Picture, where: str) -> None:
    """Raises DataError if there is no such file, if it is none (a directory, a FIFO, a device), or absurdly large.

    What is no ordinary file is never opened: a FIFO would wait for ever, a device may not end.
    """
    if isinstance(picture, bytes):
        size = len(picture)
    else:
        named = f"{_prefix(where)}image {str(picture)[:300]}"
        try:
            found = picture.stat()
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: with a zero byte
            found = None
        except OSError as error:
            if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
                raise _unreadable(picture, where, error) from None
            found = None
        if found is None:
            raise DataError(f"{named}: no such file; correct the path, which is relative to the data file")
        if not stat.S_ISREG(found.st_mode):
            kind = next((name for is_kind, name in _KINDS.items() if is_kind(found.st_mode)), "no file")
            raise DataError(f"{named}: is {kind}; give an ordinary file")
        size = found.st_size
    if size > MAX_BYTES:
        raise TooLargeError(
            f"{_prefix(where)}image {shown_as(picture)}: {size:,} bytes, the limit is {MAX_BYTES:,}; scale it down"
        )


def content(picture: Picture, where: str = "") -> bytes:
    """What is in the picture's file, whole. Raises DataError as `check_present`, and if the file cannot be read."""
    check_present(picture, where)
    if isinstance(picture, bytes):
        return picture
    with _file(picture, where) as file:
        try:
            return file.read(MAX_BYTES) or b""
        except OSError as error:
            raise _unreadable(picture, where, error) from None


def check_header(picture: Picture, where: str, *, name: str = "") -> tuple[int, int]:
    """Width and height as shown, from the header alone. Raises DataError if there is none, or an absurd size in it.

    `name` is what a message calls bytes that were read from a file.
    """
    with _opened(picture, where, name) as image:
        return shown_size(image)


def check_whole(picture: Picture, where: str) -> tuple[Conversion, ...]:
    """Decode the picture once, and say what was done. Raises DataError if its data are truncated or broken."""
    return read_picture(picture, where).conversions


def decoded(picture: Picture, where: str = "") -> Image.Image:
    """The picture as RGB. Raises DataError if it cannot be decoded, which includes data that end too soon."""
    return read_picture(picture, where).pixels


def read_picture(picture: Picture, where: str = "", *, name: str = "") -> Decoded:
    """The picture as RGB, and what was done to get it. Raises DataError as `decoded`; `name` as in `check_header`."""
    with _opened(picture, where, name) as image:
        try:
            return Decoded(*shown(image))
        except Exception as error:  # each decoder has errors of its own
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise DataError(
                f"{_prefix(where)}image {name or shown_as(picture)}: cannot be decoded ({reason}); replace it"
            ) from error


def load_image(image: ImageRef, where: str = "") -> Image.Image:
    """The picture of a reference as RGB.

    Raises DataError as `decoded`, IntegrityError if the file holds something else than when the data were read.
    """
    return read_picture(check_unchanged(image, where), where, name=image.path).pixels


def check_unchanged(image: ImageRef, where: str = "") -> bytes:
    """The bytes of the picture's file. Raises IntegrityError if they are not those that the reference was made of."""
    data = content(Path(image.path), where)
    if image.sha256 and hashlib.sha256(data).hexdigest() != image.sha256:
        raise IntegrityError(
            f"{_prefix(where)}vision integrity: image {image.path} has changed since the data were read ({len(data):,} "
            "bytes now, with another SHA-256); restore the file, or start a new run with the data as they are",
            picture=image.sha256,
        )
    return data


def plain_content(data: bytes, name: str = "") -> bytes:
    """A picture's bytes such that any browser and any server shows it as the model sees it.

    The file's own where it is a PNG, JPEG or GIF file to which nothing is done; else a PNG of the decoded pixels.
    Raises DataError as `decoded`.
    """
    read = read_picture(data, name=name)
    if not read.conversions and data.startswith(tuple(_PLAIN)):
        return data
    buffer = io.BytesIO()
    read.pixels.save(buffer, "PNG")
    return buffer.getvalue()


def shown_as(picture: Picture) -> str:
    """How a message names it."""
    return f"({len(picture):,} bytes in the row)" if isinstance(picture, bytes) else str(picture)


@contextmanager
def _opened(picture: Picture, where: str, name: str) -> Iterator[ImageFile.ImageFile]:
    """The picture with its header read and nothing decoded. Raises DataError if it is none, or absurdly large."""
    _quieten()
    named = f"{_prefix(where)}image {name or shown_as(picture)}"
    check_present(picture, where)
    with io.BytesIO(picture) if isinstance(picture, bytes) else _file(picture, where) as stream:
        try:
            image = open_picture(stream)
        except Image.DecompressionBombError as error:
            raise TooLargeError(f"{named}: more than {MAX_PIXELS:,} pixels ({error}); scale it down") from error
        except UnidentifiedImageError:
            reason = f"none of {', '.join(FORMATS)}"
            raise DataError(f"{named}: not a readable picture ({reason}); replace it by a PNG or JPEG file") from None
        except Exception as error:  # each decoder has errors of its own
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise DataError(f"{named}: not a readable picture ({reason}); replace it by a PNG or JPEG file") from error
        if image.width * image.height > MAX_PIXELS:
            raise TooLargeError(
                f"{named}: {image.width} x {image.height} pixels, the limit is {MAX_PIXELS:,} in all; scale it down"
            )
        yield image


def _file(path: Path, where: str) -> BinaryIO:
    """An ordinary file, to be read. Not blocking: it may have been replaced by a FIFO since it was looked at."""
    try:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise _unreadable(path, where, error) from None


def _unreadable(path: Path, where: str, error: OSError) -> DataError:
    return DataError(f"{_prefix(where)}image {path}: cannot be read ({error.strerror or error}); make it readable")


@lru_cache(maxsize=1)
def _quieten() -> None:
    # sizes are checked here, broken blocks beside the pixels change nothing, and the terminal is not Pillow's
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _prefix(where: str) -> str:
    return f"{where}: " if where else ""
