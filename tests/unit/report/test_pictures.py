"""Pictures inside the page."""

import base64
from pathlib import Path

from PIL import Image

from vergence.report.pictures import LARGEST_FILE, picture

from .pages import Element, cards_of, parsed, png, report


def embedded(element: Element) -> bytes:
    kind, _, content = (element.attributes["src"] or "").partition(";base64,")
    assert kind.startswith("data:image/")
    return base64.b64decode(content)


def test_a_small_picture_is_embedded_as_it_is_and_enlarged_in_whole_pixels(page: Element) -> None:
    image = cards_of(page)[0].one("img")
    assert embedded(image) == png()
    assert "pixelated" in (image.attributes["class"] or "")
    assert int(image.attributes["width"] or 0) % 8 == 0
    assert int(image.attributes["width"] or 0) > 8
    assert "image-rendering: pixelated" in page.one("style").text


def test_a_missing_picture_is_said_to_be_missing(page: Element) -> None:
    card = cards_of(page)[1]
    assert card.all("img") == []
    assert card.one(class_="missing").text == "picture is missing"


def test_a_picture_is_found_where_the_run_has_moved_to(run: Path, tmp_path: Path) -> None:
    moved = run.rename(tmp_path / "elsewhere")
    assert len(report(moved).one("section", id="rollouts").all("img")) == 2


def test_a_picture_that_is_no_longer_the_one_the_model_saw_is_not_shown(run: Path) -> None:
    (run / "data" / "images" / "there.png").write_bytes(png(9))
    assert "picture has changed" in cards_of(report(run))[0].one(class_="missing").text


def test_a_broken_picture_is_said_to_be_unreadable(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(png()[:40])
    assert "cannot be read" in picture({"path": "broken.png"}, tmp_path)


def test_a_large_picture_is_scaled_down(tmp_path: Path) -> None:
    noise = Image.effect_noise((800, 400), 100.0)
    noise.save(tmp_path / "large.png")
    assert (tmp_path / "large.png").stat().st_size > LARGEST_FILE
    image = parsed(picture({"path": "large.png"}, tmp_path)).one("img")
    assert len(embedded(image)) < LARGEST_FILE
    assert int(image.attributes["width"] or 0) == 2 * int(image.attributes["height"] or 0)
    assert "class" not in image.attributes
