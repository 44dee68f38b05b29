"""Data files: what a good one gives, what a wrong one is told, and which problems a step gets."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vergence.data.problems import Problems, read_captions, read_problems
from vergence.errors import DataError
from vergence.types import ImageRef

from ..builders import problem

GOOD = {"id": "7", "question": "sum?", "images": ["images/7.png"], "answer": "15"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with one picture."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 3), (255, 0, 0)).save(tmp_path / "images" / "7.png")
    return tmp_path


def written(folder: Path, *rows: Any) -> Path:
    """Rows as JSON lines; strings as they are."""
    path = folder / "data.jsonl"
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != key}


def test_a_row_with_every_key(folder: Path) -> None:
    row = GOOD | {"category": "sum", "objects": ["5", "6", 4], "mentions": r"\d(?==)", "target": "<answer>15</answer>"}
    (found,) = read_problems(written(folder, row), decode=True)
    picture = folder / "images" / "7.png"
    image = ImageRef(str(picture), hashlib.sha256(picture.read_bytes()).hexdigest())
    assert ("7", "sum?", (image,), "15", "sum", frozenset({"5", "6", "4"}), r"\d(?==)") == (
        found.id,
        found.question,
        found.images,
        found.answer,
        found.category,
        found.objects,
        found.mentions,
    )


def test_a_row_with_the_required_keys_alone_knows_nothing_about_its_picture(folder: Path) -> None:
    (found,) = read_problems(written(folder, GOOD), decode=False)
    assert ("all", frozenset(), "") == (found.category, found.objects, found.mentions)


def test_rows_keep_their_order_and_blank_lines_do_not_count(folder: Path) -> None:
    path = written(folder, GOOD | {"id": "b"}, "", "   ", GOOD | {"id": "a"})
    assert ["b", "a"] == [found.id for found in read_problems(path, decode=True)]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_only_a_newline_ends_a_line(folder: Path, separator: str) -> None:
    """JSON allows these inside a string as they are, and `ensure_ascii=False` writes them so."""
    row = GOOD | {"question": f"one{separator}two"}
    path = written(folder, json.dumps(row, ensure_ascii=False), GOOD | {"id": "8"})
    assert [f"one{separator}two", "sum?"] == [found.question for found in read_problems(path, decode=False)]


def test_a_problem_may_have_no_picture_or_several(folder: Path) -> None:
    path = written(folder, GOOD | {"images": []}, GOOD | {"id": "8", "images": ["images/7.png"] * 2})
    assert [0, 2] == [len(found.images) for found in read_problems(path, decode=True)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (without("id"), r'line 2: key "id" is missing'),
        (without("question"), r'line 2: key "question" is missing'),
        (without("answer"), r'line 2: key "answer" is missing'),
        (GOOD | {"id": 7}, r'line 2: "id" must be a string, found int 7'),
        (GOOD | {"answer": [15]}, r'line 2: "answer" must be a string or a number, found list'),
        (GOOD | {"answer": None}, r'line 2: key "answer" is missing'),
        (GOOD | {"answer": float("nan")}, r'line 2: key "answer" is missing'),
        (GOOD | {"images": 7}, r'line 2: "images" must be a path, or a list of them, found int'),
        (GOOD | {"images": [7]}, r'line 2: "images" must hold paths, found int 7'),
        (GOOD | {"objects": "56"}, r'line 2: "objects" must be a list, found str'),
        (GOOD | {"category": ["a"]}, r'line 2: "category" must be a string, found list'),
        (GOOD | {"anwser": "15"}, r'line 2: unknown key "anwser"; known are id, question, answer, images'),
        (GOOD | {"answer": ""}, r'line 2: "answer" is empty'),
        (GOOD | {"answer": "  "}, r'line 2: "answer" is empty'),
        (GOOD | {"mentions": "("}, r'line 2: "mentions" is not a regular expression'),
        (GOOD | {"images": ["images/8.png"]}, r"line 2: image .*8\.png: no such file"),
        (GOOD | {"images": ["images"]}, r"line 2: image .*images: is a directory"),
        (GOOD | {"images": ["data.jsonl"]}, r"line 2: image .*data\.jsonl: not a readable picture"),
        ('{"id": "7", ', r"line 2: not a JSON object"),
        ("[1, 2]", r"line 2: expected a JSON object, found list"),
        ("7", r"line 2: expected a JSON object, found int"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_key(folder: Path, row: Any, said: str) -> None:
    """The row before it is good, so that the line is really counted."""
    path = written(folder, GOOD | {"id": "first"}, row)
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}, {said}") as caught:
        read_problems(path, decode=False)
    assert "\n" not in str(caught.value)


def test_blank_lines_are_counted_as_lines(folder: Path) -> None:
    with pytest.raises(DataError, match="line 4: "):
        read_problems(written(folder, GOOD, "", "", "nonsense"), decode=False)


@pytest.mark.parametrize("text", ["", "\n", "  \n\n"])
def test_an_empty_file_is_wrong(folder: Path, text: str) -> None:
    path = written(folder)
    path.write_text(text)
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: the data set is empty"):
        read_problems(path, decode=False)


def test_a_missing_file_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data file"):
        read_problems(tmp_path / "none.jsonl", decode=False)


def test_a_file_that_is_no_text_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match="cannot be read as UTF-8"):
        read_problems(tmp_path / "data.jsonl", decode=False)


def test_ids_must_be_unique(folder: Path) -> None:
    path = written(folder, GOOD, GOOD | {"id": "8"}, GOOD)
    with pytest.raises(DataError, match=rf'^{re.escape(str(path))}.*id "7" occurs twice'):
        read_problems(path, decode=False)


def test_a_truncated_picture_is_found_when_pictures_are_decoded(folder: Path) -> None:
    """Its header is whole, so only decoding can tell."""
    picture = folder / "images" / "cut.png"
    Image.effect_noise((64, 64), 50).save(picture)
    picture.write_bytes(picture.read_bytes()[:-1500])
    path = written(folder, GOOD | {"images": ["images/cut.png"]})
    assert 1 == len(read_problems(path, decode=False))
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}, line 1: image .*cut\.png: cannot be decoded"):
        read_problems(path, decode=True)


def test_captions_are_problems_with_a_target(folder: Path) -> None:
    (found,) = read_captions(written(folder, GOOD | {"target": "<answer>15</answer>"}))
    assert ("7", "<answer>15</answer>") == (found.problem.id, found.target)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (GOOD, 'line 2: a caption needs a non-empty "target"'),
        (GOOD | {"target": ""}, 'line 2: a caption needs a non-empty "target"'),
        (GOOD | {"target": 7}, 'line 2: "target" must be a string, found int 7'),
        (GOOD | {"id": "first", "target": "t"}, 'id "first" occurs twice'),
    ],
)
def test_captions_without_a_target_are_wrong(folder: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_captions(written(folder, GOOD | {"id": "first", "target": "t"}, row))


# ── the problems of a step ───────────────────────────────────────────────────────────────────────────────────────


def named(count: int, seed: int = 0) -> Problems:
    return Problems(tuple(problem(str(index)) for index in range(count)), seed)


def ids(problems: Problems, step: int, count: int) -> list[str]:
    return [one.id for one in problems.take(step, count)]


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 5))
def test_an_epoch_of_whole_steps_takes_every_problem_once(steps: int, count: int, seed: int) -> None:
    """Epoch after epoch, without a gap and without a repetition."""
    size = steps * count
    problems = named(size, seed)
    for epoch in range(3):
        taken = [name for step in range(steps) for name in ids(problems, epoch * steps + step, count)]
        assert sorted(map(str, range(size))) == sorted(taken)


@given(st.integers(1, 12), st.data(), st.integers(0, 40))
def test_no_problem_comes_twice_in_one_step_nor_in_one_epoch(size: int, data: st.DataObject, step: int) -> None:
    """Where steps do not divide the data set, the remainder of the epoch is left out."""
    count = data.draw(st.integers(1, size))
    steps = size // count
    first = step - step % steps
    epoch = [name for one in range(first, first + steps) for name in ids(named(size), one, count)]
    assert steps * count == len(set(epoch)) == len(epoch)


def test_what_one_epoch_leaves_out_another_takes() -> None:
    """Seven problems, three a step: one is left out of every epoch, and not always the same."""
    epochs = [set(ids(named(7), 2 * epoch, 3) + ids(named(7), 2 * epoch + 1, 3)) for epoch in range(30)]
    assert {6} == set(map(len, epochs))
    assert set(map(str, range(7))) == set.union(*epochs)
    assert 7 == len({name for epoch in epochs for name in set(map(str, range(7))) - epoch})


def test_a_step_that_asks_for_more_than_there_is_is_told_both_numbers() -> None:
    with pytest.raises(DataError, match=r"has 3 problems and one step asks for 4"):
        named(3).take(0, 4)
    assert 3 == len(named(3).take(0, 3))


def test_a_step_is_a_function_of_its_number_alone() -> None:
    """Asked for backwards, and by another object."""
    forwards = [ids(named(10), step, 4) for step in range(8)]
    backwards = [ids(named(10), step, 4) for step in reversed(range(8))]
    assert forwards == backwards[::-1]


def test_every_epoch_and_every_seed_has_its_own_order() -> None:
    first, second, other = ids(named(30), 0, 30), ids(named(30), 1, 30), ids(named(30, seed=1), 0, 30)
    assert first != second
    assert first != other
    assert [str(index) for index in range(30)] != first
