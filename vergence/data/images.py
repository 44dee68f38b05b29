"""Pictures: checked when a data set is read, decoded when features are computed."""

import hashlib
import warnings
from functools import lru_cache
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from vergence.errors import DataError
from vergence.types import ImageRef

MAX_PIXELS = 64_000_000
"""Larger pictures are refused: 8,000 x 8,000 is four times the largest input any supported model uses."""
MAX_BYTES = 256_000_000


def reference(path: Path, where: str) -> ImageRef:
    """Check the picture's header and size, and take its identity.

    `where` names the row that asked for it. Raises DataError if the file is missing, is no picture, or is absurdly
    large. Truncation inside the pixel data is found by `check_whole`, or at the latest when the picture is decoded.
    """
    try:
        found = path.is_file()
    except (OSError, ValueError):  # too long, or with a zero byte
        found = False
    if not found:
        shown = str(path)[:300]
        raise DataError(f"{where}: image {shown}: no such file; correct the path, which is relative to the data file")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise DataError(f"{where}: image {path}: {size:,} bytes, the limit is {MAX_BYTES:,}; scale it down")
    with _opened(path, where) as image:
        pixels = image.width * image.height
        if pixels > MAX_PIXELS:
            raise DataError(
                f"{where}: image {path}: {image.width} x {image.height} pixels, the limit is {MAX_PIXELS:,} in all; "
                "scale it down"
            )
    return ImageRef(str(path), hashlib.sha256(path.read_bytes()).hexdigest())


def check_whole(path: Path, where: str) -> None:
    """Decode the picture once. Raises DataError if its data are truncated or broken."""
    load_image(ImageRef(str(path), ""), where)


def load_image(image: ImageRef, where: str = "") -> Image.Image:
    """The picture as RGB.

    Raises DataError if it cannot be decoded, which includes a file that ends too soon.
    """
    with _opened(Path(image.path), where) as opened:
        try:
            return opened.convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{_prefix(where)}image {image.path}: cannot be decoded ({error}); replace it") from error


@lru_cache(maxsize=1)
def _quiet_about_bombs() -> None:
    # our own limit is checked from the header, before any pixel is decoded; Pillow's is an error above twice its size
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def _opened(path: Path, where: str) -> Image.Image:
    _quiet_about_bombs()
    try:
        return Image.open(path)
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{_prefix(where)}image {path}: more than {MAX_PIXELS:,} pixels ({error}); scale it down"
        ) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise DataError(
            f"{_prefix(where)}image {path}: not a readable picture ({error}); replace it by a PNG or JPEG file"
        ) from error


def _prefix(where: str) -> str:
    return f"{where}: " if where else ""
