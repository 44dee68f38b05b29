"""Pictures: identity, limits checked from the header, and decoding."""

import hashlib
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from vergence.data.images import MAX_PIXELS, check_whole, load_image, reference
from vergence.errors import DataError
from vergence.types import ImageRef


def declared(path: Path, width: int, height: int) -> Path:
    """A PNG made by hand, whose header declares a size that no data follow."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


def test_identity_is_the_hash_of_the_bytes(tmp_path: Path) -> None:
    one, twin = tmp_path / "one.png", tmp_path / "twin.png"
    Image.new("RGB", (2, 2), (1, 2, 3)).save(one)
    twin.write_bytes(one.read_bytes())
    found = reference(one, "here")
    assert ImageRef(str(one), hashlib.sha256(one.read_bytes()).hexdigest()) == found
    assert found.sha256 == reference(twin, "here").sha256


@pytest.mark.parametrize(
    ("width", "height"),
    [(8001, 8000), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (1, MAX_PIXELS + 1)],
)
def test_an_absurd_size_is_refused_from_the_header_alone(tmp_path: Path, width: int, height: int) -> None:
    """Nothing is decoded: there is nothing to decode, and the answer comes at once."""
    with pytest.raises(DataError, match=r"^row 3: image .*huge\.png: .*64,000,000.*scale it down$") as caught:
        reference(declared(tmp_path / "huge.png", width, height), "row 3")
    assert "\n" not in str(caught.value)


def test_the_largest_allowed_size_is_allowed(tmp_path: Path) -> None:
    assert reference(declared(tmp_path / "large.png", 8000, 8000), "row 3").path.endswith("large.png")


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_what_is_no_picture_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DataError, match=r"^row 3: image .*x\.png: not a readable picture"):
        reference(tmp_path / "x.png", "row 3")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_truncation_is_found_by_decoding(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"cut.{kind.lower()}"
    Image.effect_noise((64, 64), 50).save(path, kind)
    whole = path.read_bytes()
    check_whole(path, "row 3")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"^row 3: image .*cut\.\w+: cannot be decoded"):
        check_whole(path, "row 3")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "I;16"])
def test_every_kind_of_picture_is_loaded_as_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "x.png"
    Image.new(mode, (3, 2)).save(path)
    image = load_image(ImageRef(str(path), ""))
    assert ("RGB", (3, 2)) == (image.mode, image.size)


def test_colours_survive(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    picture = Image.new("RGB", (2, 1))
    picture.putpixel((0, 0), (255, 128, 0))
    picture.putpixel((1, 0), (0, 1, 254))
    picture.save(path)
    image = load_image(ImageRef(str(path), ""))
    assert [(255, 128, 0), (0, 1, 254)] == [image.getpixel((column, 0)) for column in range(2)]
