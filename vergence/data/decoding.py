"""Pixels: the one way from the bytes of a picture to what the model is shown, in training, measuring and reports.

orientation   turned and mirrored as EXIF (or XMP, or TIFF) says, as viewers show it
transparency  laid on white
16 bits       scaled to 8 by the smallest of 8, 10, 12, 14 and 16 bits that holds every value; black stays black
floats        scaled by the smallest of 0..1, 0..255 and 0..65535 that holds every value; not a number is black
other ranges  negative or larger values, by the picture's own minimum and maximum
CMYK          turned into RGB by the plain formula; a colour profile is not applied
frames        of an animation, or of several pages, the first one

Differs from `Image.convert("RGB")`, and so from most training code: that turns transparent pixels into the colour below
them (often black), clips 16 bits at 255 (white) and floats at 1 (black), and leaves a photograph on its side.
"""

import struct
import sys
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, PngImagePlugin, TiffImagePlugin

DECODING = 2
"""Changes whenever a picture comes out otherwise than before: part of the key of everything that is made of pixels."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""What is opened. All of these Pillow decodes by itself; for others it starts programs (EPS: Ghostscript)."""
TEXT_BYTES = 64 << 20
"""Of text and colour profile that a PNG may carry, unpacked. Pillow's own limit for one of them, 1 MiB, is passed by
files that every viewer shows."""
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = TEXT_BYTES

_WIDTH, _HEIGHT, _ORIENTATION = 0x0100, 0x0101, 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})
_ALPHA = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_INTEGER_RANGES = (255, 1023, 4095, 16383, 65535)
_FLOAT_RANGES = (1, 255, 65535)

Bytes = npt.NDArray[np.uint8]


class Conversion(StrEnum):
    """What is done to a picture beside reading it; values are words for a message."""

    TURNED = "turned"
    TRANSPARENT = "laid on white"
    DEEP = "scaled to 8 bits"
    CMYK = "turned from CMYK into RGB"
    FRAMES = "the first of several frames"


def open_picture(stream: Any) -> ImageFile.ImageFile:
    """The header of a picture in a binary stream, nothing decoded. Raises whatever Pillow raises."""
    return Image.open(stream, formats=FORMATS)


def shown_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    """Width and height as they will be shown, from the header alone."""
    width, height = image.size
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # what `size` says depends on Pillow's version
        width, height = int(image.tag_v2[_WIDTH]), int(image.tag_v2[_HEIGHT])
    return (height, width) if _orientation(image) in _SIDEWAYS else (width, height)


def shown(image: ImageFile.ImageFile) -> tuple[Image.Image, tuple[Conversion, ...]]:
    """(RGB pixels, what was done to get them) of a picture as it was opened. Raises whatever Pillow raises where data
    are broken.
    """
    orientation, turn, several = _orientation(image), _turn(image), _has_more(image)
    stream, rawmode = image.fp, _rawmode(image)  # loading forgets both
    image.load()
    deep = image.mode.startswith(("I", "F")) or rawmode[-4:-1] == ";16"
    colours, alpha = _deep_colours(image, stream, rawmode) if deep else _colours(image, rawmode)
    transparent = alpha is not None and alpha.getextrema() != (255, 255)
    if alpha is not None:
        colours.putalpha(alpha)
        colours = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
    if turn in _TURNS:
        colours = colours.transpose(_TURNS[turn])
    done = {
        Conversion.TURNED: orientation in _TURNS,
        Conversion.TRANSPARENT: transparent,
        Conversion.DEEP: deep,
        Conversion.CMYK: image.mode == "CMYK",
        Conversion.FRAMES: several,
    }
    return colours, tuple(kind for kind, happened in done.items() if happened)


def scaled(values: npt.NDArray[Any]) -> Bytes:
    """Numbers as grey values of 0 to 255, see the top of this file. Raises ValueError where none is finite."""
    floats = values.dtype.kind == "f"
    if floats:
        finite = np.isfinite(values)
        if not finite.any():
            raise ValueError("no pixel is a finite number")
        values = np.where(finite, values, min(0, values[finite].min()))
    low, high = values.min().item(), values.max().item()
    top = next((top for top in (_FLOAT_RANGES if floats else _INTEGER_RANGES) if high <= top), None)
    if top is not None and low >= 0 and not floats:
        table: Bytes = np.rint(np.arange(top + 1) * 255 / top).astype(np.uint8)
        return np.take(table, values)
    begin, span = (low, (high - low) or 1) if low < 0 or top is None else (0, top)
    grey: Bytes = np.rint((values.astype(np.float64) - begin) * 255 / span).astype(np.uint8)
    return grey


def _colours(image: ImageFile.ImageFile, rawmode: str) -> tuple[Image.Image, Image.Image | None]:
    """(RGB, alpha if there is any) of at most 8 bits a channel."""
    key = image.info.get("transparency")
    if image.mode == "L" and isinstance(key, int):
        image.info["transparency"] = key * {"L;2": 85, "L;4": 17}.get(rawmode, 1)  # Pillow scales the pixels alone
    if image.mode not in _ALPHA and key is None:
        return image.convert("RGB"), None
    whole = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    return whole.convert("RGB"), whole.getchannel("A")


def _deep_colours(image: ImageFile.ImageFile, stream: Any, rawmode: str) -> tuple[Image.Image, Image.Image | None]:
    """(RGB, alpha if there is any) of more than 8 bits a channel."""
    values, key = np.asarray(image), image.info.get("transparency")
    if values.ndim == 3:
        values = values.astype(np.uint16) * 256 + _lower_bytes(image, stream, rawmode)
    alpha = None
    if values.ndim == 3 and values.shape[2] == 4:
        values, alpha = values[..., :3], np.rint(values[..., 3] / 257).astype(np.uint8)  # its range is the whole one
    elif isinstance(key, int | tuple):
        through = values == np.asarray(key)
        alpha = np.where(through if values.ndim == 2 else through.all(axis=-1), 0, 255).astype(np.uint8)
    colours = Image.fromarray(scaled(values)).convert("RGB")
    return colours, None if alpha is None else Image.fromarray(alpha)


def _lower_bytes(image: ImageFile.ImageFile, stream: Any, rawmode: str) -> Bytes:
    """[H, W, channels] what Pillow drops of 16-bit colours: it keeps the upper byte of each, and reads no more."""
    other = rawmode[:-1] + _OTHER_ORDER[rawmode[-1]]
    if image.format not in ("PNG", "TIFF") or rawmode.startswith("LA"):
        return np.asarray(image)  # not to be had; as if it were the upper one, so that white stays white
    stream.seek(0)
    again = open_picture(stream)
    again.tile = [_retold(tile, other) for tile in again.tile]  # in the other byte order, the upper one is the lower
    return np.asarray(again)


_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def _retold(tile: Any, rawmode: str) -> Any:
    """A tile whose decoder is told another raw mode."""
    told = rawmode if isinstance(tile[3], str) else (rawmode, *tile[3][1:])
    return tile._replace(args=told) if hasattr(tile, "_replace") else (*tile[:3], told)  # a tuple before Pillow 11


def _rawmode(image: ImageFile.ImageFile) -> str:
    """How the file stores a pixel, in Pillow's words; "" where it does not say."""
    told = image.tile[0][3] if image.tile else ""
    first = told[0] if isinstance(told, tuple) and told else told
    return first if isinstance(first, str) else ""


def _turn(image: ImageFile.ImageFile) -> int:
    """The orientation that is left to be applied: Pillow turns a TIFF file by itself, its size included."""
    return 1 if image.format == "TIFF" else _orientation(image)


def _orientation(image: ImageFile.ImageFile) -> int:
    """As EXIF or XMP has it, 1 to 8; 1 where it is not said, or not readable, as viewers take it."""
    try:
        # not the PNG plugin's own, which decodes the whole picture to look behind the pixels
        found = Image.Image.getexif(image).get(_ORIENTATION)
        if found is None and image.format == "PNG":
            late = Image.Exif()
            late.load(_late_exif(image.fp))
            found = late.get(_ORIENTATION)
    except Exception:  # whatever a broken block raises
        return 1
    return found if isinstance(found, int) and found in _TURNS else 1


def _late_exif(stream: Any) -> bytes:
    """The EXIF chunk of a PNG wherever it stands, found without decoding; empty where there is none."""
    begin = stream.tell()
    try:
        stream.seek(8)
        while len(head := stream.read(8)) == 8:
            size, kind = struct.unpack(">I4s", head)
            if kind == b"eXIf":
                return bytes(stream.read(size))
            stream.seek(size + 4, 1)
        return b""
    finally:
        stream.seek(begin)


def _has_more(image: ImageFile.ImageFile) -> bool:
    """Whether there are frames behind the first one."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a second frame that is broken is not shown
        return False
