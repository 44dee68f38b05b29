"""Writes the digits data set in the format that every other data set has: JSON lines beside a folder of pictures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from vergence.digits.questions import CAPTION, MENTIONS, QUESTIONS, answer, caption
from vergence.digits.scenes import Scenes, Split, draw_scenes

INSTRUCTION_END = "?"


def write_dataset(folder: Path, *, seed: int, train: int, captions: int, tuning: int, test: int) -> None:
    """`train.jsonl`, `captions.jsonl`, `tuning.jsonl`, `test.jsonl` and `images/` in `folder`.

    Tuning and test scenes are the same for every seed, so that seeds are compared on the same questions.
    """
    _write_questions(folder, "train", draw_scenes("train", train, seed, "questions"))
    _write_captions(folder, draw_scenes("train", captions, seed, "captions"))
    _write_questions(folder, "tuning", draw_scenes("tuning", tuning, "questions"))
    _write_questions(folder, "test", draw_scenes("test", test, "questions"))


def _write_questions(folder: Path, split: Split, scenes: Scenes) -> None:
    images = _write_images(folder, split, scenes)
    rows = []
    for index, (image, digits) in enumerate(zip(images, scenes.digits.tolist(), strict=True)):
        question = QUESTIONS[index % len(QUESTIONS)]  # the six in equal number
        rows.append(
            {
                "id": f"{split}-{index:05d}",
                "question": question + INSTRUCTION_END,
                "images": [image],
                "answer": answer(question, digits),
                "category": question,
                "objects": sorted({str(digit) for digit in digits}),
                "mentions": MENTIONS,
            }
        )
    _write_lines(folder / f"{split}.jsonl", rows)


def _write_captions(folder: Path, scenes: Scenes) -> None:
    images = _write_images(folder, "captions", scenes)
    rows = [
        {
            "id": f"caption-{index:05d}",
            "question": CAPTION + INSTRUCTION_END,
            "images": [image],
            "answer": answer(CAPTION, digits),
            "category": CAPTION,
            "target": caption(digits),
        }
        for index, (image, digits) in enumerate(zip(images, scenes.digits.tolist(), strict=True))
    ]
    _write_lines(folder / "captions.jsonl", rows)


def _write_images(folder: Path, name: str, scenes: Scenes) -> list[str]:
    (folder / "images" / name).mkdir(parents=True, exist_ok=True)
    paths = [f"images/{name}/{index:05d}.png" for index in range(len(scenes.pixels))]
    for path, pixels in zip(paths, scenes.pixels.numpy(), strict=True):
        Image.fromarray(pixels).save(folder / path, compress_level=1)
    return paths


def _write_lines(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
