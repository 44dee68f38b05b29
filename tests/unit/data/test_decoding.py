"""Pixels: every kind of file is shown as a viewer shows it, compared with arithmetic on plain arrays."""

import io
import os
import random
import socket
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from vergence.data.decoding import Conversion, scaled
from vergence.data.images import check_header, content, load_image, plain_content, read_picture, reference
from vergence.errors import DataError

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
"""EXIF 2.32, table 6: what brings the stored rows and columns to what is seen."""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(bits: int, colour_type: int, values: np.ndarray, before: bytes = b"", behind: bytes = b"") -> bytes:
    """A PNG made by hand: values [H, W] or [H, W, channels] of `bits` (2, 4, 8 or 16) bits each."""
    height, width = values.shape[:2]
    lines = []
    for line in values.reshape(height, -1):
        if bits >= 8:
            lines.append(line.astype(">u2" if bits == 16 else "u1").tobytes())
        else:
            text = "".join(f"{value:0{bits}b}" for value in line)
            lines.append(int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8)))
    head = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + pixels + behind + chunk(b"IEND", b"")


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def seen(data: bytes) -> tuple[np.ndarray, set[Conversion]]:
    read = read_picture(data)
    assert read.pixels.mode == "RGB"
    assert read.pixels.size == check_header(data, ""), "the header must tell the size that will be shown"
    return np.asarray(read.pixels), set(read.conversions)


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colours * share + 255 * (1 - share)


def assert_near(expected: np.ndarray, found: np.ndarray) -> None:
    """Equal but for one step of rounding."""
    assert expected.shape == found.shape
    assert np.abs(expected - found.astype(float)).max() <= 1


# ── what is not changed ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_plain_colours_are_those_of_the_file(kind: str) -> None:
    found, done = seen(saved(Image.fromarray(COLOURS), kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert np.array_equal(COLOURS, found)
    assert done == set()


def test_grey_of_8_bits_is_repeated_in_three_channels() -> None:
    """The pictures of the digits task."""
    found, done = seen(saved(Image.fromarray(COLOURS[..., 0]), "PNG"))
    assert np.array_equal(np.repeat(COLOURS[..., :1], 3, axis=2), found)
    assert done == set()


def test_one_bit_and_palettes_are_their_colours() -> None:
    bits = COLOURS[..., 0] > 127
    assert np.array_equal(np.repeat(255 * bits[..., None], 3, axis=2), seen(saved(Image.fromarray(bits), "PNG"))[0])
    palette = RNG.integers(0, 256, (4, 3), dtype=np.uint8)
    image = Image.fromarray(COLOURS[..., 0] % 4, "P")
    image.putpalette(palette.tobytes())
    assert np.array_equal(palette[COLOURS[..., 0] % 4], seen(saved(image, "PNG"))[0])


# ── orientation ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_pictures_are_turned_as_they_say(kind: str, orientation: int) -> None:
    image = Image.fromarray(COLOURS)
    exif = image.getexif()
    exif[0x0112] = orientation
    data = saved(image, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    stored = COLOURS if kind != "JPEG" else np.asarray(Image.open(io.BytesIO(data)))  # JPEG changes the colours
    found, done = seen(data)
    assert np.array_equal(TURNED[orientation](stored), found)
    assert done == ({Conversion.TURNED} if orientation > 1 else set())


def test_an_orientation_behind_the_pixels_counts_too() -> None:
    """PNG allows the chunk on both sides, and Pillow finds the late one only by decoding."""
    exif = Image.Exif()
    exif[0x0112] = 6
    late = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    for data in (png(8, 2, COLOURS, behind=late), png(8, 2, COLOURS, before=late)):
        assert np.array_equal(TURNED[6](COLOURS), seen(data)[0])


@pytest.mark.parametrize(
    "broken", [b"", b"MM", b"no exif at all", b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\xff\xff"]
)
def test_a_broken_orientation_is_none(broken: bytes) -> None:
    found, done = seen(png(8, 2, COLOURS, before=chunk(b"eXIf", broken)))
    assert np.array_equal(COLOURS, found)
    assert done == set()


# ── transparency ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_transparent_pixels_are_laid_on_white() -> None:
    alpha = RNG.integers(0, 256, COLOURS.shape[:2], dtype=np.uint8)
    alpha[0], alpha[1] = 0, 255
    for kind in ("PNG", "TIFF"):
        found, done = seen(saved(Image.fromarray(np.dstack([COLOURS, alpha])), kind))
        assert_near(on_white(COLOURS, alpha), found)
        assert np.array_equal(COLOURS[1], found[1]), "what is opaque is exact"
        assert (found[0] == 255).all()
        assert done == {Conversion.TRANSPARENT}
    grey, _ = seen(saved(Image.fromarray(np.dstack([COLOURS[..., 0], alpha]), "LA"), "PNG"))
    assert_near(on_white(np.repeat(COLOURS[..., :1], 3, axis=2), alpha), grey)


def test_an_alpha_channel_that_is_opaque_changes_nothing() -> None:
    opaque = np.full(COLOURS.shape[:2], 255, np.uint8)
    found, done = seen(saved(Image.fromarray(np.dstack([COLOURS, opaque])), "PNG"))
    assert np.array_equal(COLOURS, found)
    assert done == set()


def test_a_palette_may_be_transparent_in_part() -> None:
    palette = RNG.integers(0, 256, (4, 3), dtype=np.uint8)
    alphas = np.array([0, 80, 200, 255], dtype=np.uint8)
    places = COLOURS[..., 0] % 4
    image = Image.fromarray(places, "P")
    image.putpalette(palette.tobytes())
    found, done = seen(saved(image, "PNG", transparency=alphas.tobytes()))
    assert_near(on_white(palette[places], alphas[places]), found)
    assert done == {Conversion.TRANSPARENT}


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_one_grey_may_be_transparent(bits: int) -> None:
    values = RNG.integers(0, 2**bits, (6, 9))
    values[0, 0] = 2**bits - 1  # so that 16 bits are scaled by their whole range
    key = int(values[2, 3])
    found, done = seen(png(bits, 0, values, before=chunk(b"tRNS", struct.pack(">H", key))))
    grey = np.where(values == key, 255, values * 255 / (2**bits - 1))
    assert_near(np.repeat(grey[..., None], 3, axis=2), found)
    assert Conversion.TRANSPARENT in done


@pytest.mark.parametrize("bits", [8, 16])
def test_one_colour_may_be_transparent(bits: int) -> None:
    values = RNG.integers(0, 2**bits, (6, 9, 3))
    values[0, 0] = 2**bits - 1
    values[4] = values[2, 3]
    values[5, :, 0], values[5, :, 1:] = values[2, 3, 0], (values[2, 3, 1:] + 1) % 2**bits  # alike in one channel only
    key = struct.pack(">HHH", *map(int, values[2, 3]))
    found, _ = seen(png(bits, 2, values, before=chunk(b"tRNS", key)))
    through = (values == values[2, 3]).all(axis=-1)
    assert_near(np.where(through[..., None], 255, values * 255 / (2**bits - 1)), found)


# ── more than 8 bits ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("highest", "bits"), [(65535, 16), (16384, 16), (16383, 14), (4095, 12), (1000, 10), (255, 8)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_16_bits_is_scaled_by_the_bits_it_uses(kind: str, highest: int, bits: int) -> None:
    values = RNG.integers(0, highest + 1, (20, 30)).astype(np.uint16)
    values[0, 0], values[0, 1] = highest, 0
    found, done = seen(saved(Image.fromarray(values), kind))
    assert_near(np.repeat((values * (255 / (2**bits - 1)))[..., None], 3, axis=2), found)
    assert (found[0, 1] == 0).all(), "black stays black"
    assert done == {Conversion.DEEP}


@pytest.mark.parametrize("highest", [65535, 4095])
def test_colours_of_16_bits_are_scaled_alike(highest: int) -> None:
    values = RNG.integers(0, highest + 1, (6, 9, 3))
    values[0, 0] = highest
    assert_near(values * (255 / highest), seen(png(16, 2, values))[0])
    alpha = RNG.integers(0, 65536, (6, 9, 1))
    found, done = seen(png(16, 6, np.concatenate([values, alpha], axis=2)))
    assert_near(on_white(np.rint(values * (255 / highest)), np.rint(alpha[..., 0] / 257)), found)
    assert done == {Conversion.DEEP, Conversion.TRANSPARENT}


@pytest.mark.parametrize("compression", [b"\1\0", None])
@pytest.mark.parametrize("order", ["<", ">"])
def test_colours_of_16_bits_in_tiff(order: str, compression: bytes | None) -> None:
    """Written by hand, as Pillow writes none: one strip, uncompressed or deflated, in either byte order."""
    values = RNG.integers(0, 4096, (6, 9, 3))
    values[0, 0] = 4095
    pixels = values.astype(f"{order}u2").tobytes()
    kind, pixels = (1, pixels) if compression else (8, zlib.compress(pixels))
    entries = [(256, 9), (257, 6), (259, kind), (262, 2), (277, 3), (278, 6)]
    count, short, long = len(entries) + 3, f"{order}HHIHH", f"{order}HHII"
    behind = 8 + 2 + 12 * count + 4
    fields = [struct.pack(short, tag, 3, 1, value, 0) for tag, value in entries]
    fields += [struct.pack(long, 258, 3, 3, behind), struct.pack(long, 273, 4, 1, behind + 6)]
    fields += [struct.pack(long, 279, 4, 1, len(pixels))]
    fields.sort(key=lambda field: struct.unpack(f"{order}H", field[:2]))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8) + struct.pack(f"{order}H", count)
    data = head + b"".join(fields) + bytes(4) + struct.pack(f"{order}HHH", 16, 16, 16) + pixels
    found, done = seen(data)
    assert_near(values * (255 / 4095), found)
    assert done == {Conversion.DEEP}


@pytest.mark.parametrize(
    ("low", "high", "begin", "end"),
    [(0, 1, 0, 1), (0, 0.4, 0, 1), (0, 200, 0, 255), (0, 9000, 0, 65535), (-2, 3, -2, 3), (0, 1e6, 0, 1e6)],
)
def test_floats_are_scaled_by_the_range_that_holds_them(low: float, high: float, begin: float, end: float) -> None:
    values = RNG.uniform(low, high, (20, 30)).astype(np.float32)
    values[0, 0], values[0, 1] = low, high
    found, done = seen(saved(Image.fromarray(values), "TIFF"))
    assert_near(np.repeat(((values - begin) / (end - begin) * 255)[..., None], 3, axis=2), found)
    assert done == {Conversion.DEEP}


def test_what_is_no_number_is_black() -> None:
    values = np.array([[0.5, np.nan], [np.inf, -np.inf]], dtype=np.float32)
    assert np.array_equal([[128, 0], [0, 0]], seen(saved(Image.fromarray(values), "TIFF"))[0][..., 0])
    with pytest.raises(DataError, match="no pixel is a finite number"):
        read_picture(saved(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "TIFF"))


def test_signed_numbers_are_scaled_by_their_own_range() -> None:
    values = np.array([[-1000, 0], [500, 1000]], dtype=np.int32)
    assert np.array_equal([[0, 128], [191, 255]], seen(saved(Image.fromarray(values), "TIFF"))[0][..., 0])
    assert np.array_equal([[0, 0]], scaled(np.array([[7, 7]]) - 10)), "a constant has no range"


# ── print, frames ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_inks_become_light() -> None:
    inks = RNG.integers(0, 256, (6, 9, 4), dtype=np.uint8)
    found, done = seen(saved(Image.fromarray(inks, "CMYK"), "TIFF"))
    light = 255 - inks.astype(float)
    assert_near(light[..., :3] * light[..., 3:] / 255, found)
    assert done == {Conversion.CMYK}


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_is_shown(kind: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    found, done = seen(saved(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert np.array_equal(np.broadcast_to([255, 0, 0], (6, 8, 3)), found)
    assert done == {Conversion.FRAMES}


# ── what is refused, and how ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_format_that_starts_a_program_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*arguments: Any, **keywords: Any) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(os, "system", started)
    drawing = tmp_path / "a.png"  # the ending means nothing
    drawing.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n(%pipe%id) (w) file\n%%EOF\n")
    with Image.open(drawing) as opened:
        assert opened.format == "EPS", "Pillow itself would"
    with pytest.raises(DataError, match=r"a\.png: not a readable picture \(none of PNG, JPEG"):
        reference(drawing, "row 3")


@pytest.mark.parametrize("kind", ["ICO", "TGA", "PCX", "SGI", "DDS", "PDF"])
def test_formats_that_are_not_on_the_list_are_refused(kind: str) -> None:
    with pytest.raises(DataError, match="not a readable picture"):
        read_picture(saved(Image.fromarray(COLOURS).resize((32, 32)), kind))


def refusal(path: Path) -> str:
    """What is said of a picture; "" where it is read."""
    try:
        load_image(reference(path, "row 3"))
    except DataError as error:
        return str(error)
    return ""


def test_whatever_a_decoder_raises_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    """Files of every format, cut short and with bytes changed; the seed is fixed, so this is one list of files."""
    chance, path = random.Random(0), tmp_path / "a.picture"
    noise = Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    whole = [saved(noise, kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")]
    whole += [saved(noise, "TIFF", compression=one) for one in ("tiff_lzw", "jpeg")]
    whole += [saved(noise, "PNG", save_all=True, append_images=[noise.rotate(90)])]
    said = []
    for data in whole:
        for _ in range(25):
            torn = bytearray(data if chance.random() < 0.6 else data[: chance.randrange(1, len(data))])
            for _ in range(chance.choice([0, 1, 3, 30])):
                torn[chance.randrange(min(len(torn), chance.choice([40, 400, 10**9])))] = chance.randrange(256)
            path.write_bytes(torn)
            said.append(refusal(path))
    refused = [one for one in said if one]
    assert len(refused) > 100
    assert [one for one in refused if str(path) not in one or "\n" in one] == []


def test_size_is_asked_before_anything_is_decoded() -> None:
    """Below the limit at which Pillow itself would refuse; there are no pixels, so decoding would say so."""
    head = struct.pack(">IIBBBBB", 8001, 8000, 8, 2, 0, 0, 0)
    with pytest.raises(DataError, match=r"8001 x 8000 pixels, the limit is 64,000,000"):
        read_picture(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def test_text_and_profiles_are_no_fault_of_a_picture() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * (2 << 20), zip=True)
    assert np.array_equal(COLOURS, seen(saved(Image.fromarray(COLOURS), "PNG", pnginfo=text))[0])
    assert np.array_equal(COLOURS, seen(saved(Image.fromarray(COLOURS), "PNG", icc_profile=bytes(2 << 20)))[0])
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(65 << 20)))
    with pytest.raises(DataError, match=r"cannot be decoded|not a readable picture"):
        read_picture(png(8, 2, COLOURS, before=bomb))


def test_what_is_no_ordinary_file_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        kinds = {"fifo": "a FIFO", "socket": "a socket", ".": "a directory", "/dev/zero": "a device"}
        for name, kind in kinds.items():
            for asked in (content, check_header, reference, read_picture):
                with pytest.raises(DataError, match=f"is {kind}"):
                    asked(tmp_path / name, "row 3")  # type: ignore[operator]


# ── what leaves the house ────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_handed_on_is_seen_alike_by_a_reader_that_knows_nothing() -> None:
    alpha = RNG.integers(0, 256, COLOURS.shape[:2], dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    handed = {
        "transparent": saved(Image.fromarray(np.dstack([COLOURS, alpha])), "PNG"),
        "turned": saved(Image.fromarray(COLOURS), "PNG", exif=exif),
        "deep": saved(Image.fromarray(COLOURS[..., 0].astype(np.uint16) * 257), "PNG"),
        "of a rare kind": saved(Image.fromarray(COLOURS), "TIFF"),
    }
    for name, data in handed.items():
        plain = Image.open(io.BytesIO(plain_content(data)))
        assert plain.mode == "RGB", name
        assert np.array_equal(np.asarray(read_picture(data).pixels), np.asarray(plain)), name
    jpeg = saved(Image.fromarray(COLOURS), "JPEG")
    assert plain_content(jpeg) is jpeg, "where nothing is done, the file itself"
