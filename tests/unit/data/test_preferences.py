"""Files of pairs and of responses: what is read, what is refused and in which words."""

import json
from pathlib import Path

import pytest
from PIL import Image

from vergence.data.preferences import read_preferences, read_responses
from vergence.errors import DataError

ROW = {"question": "sum?", "images": ["a.png"], "chosen": "15", "rejected": "16"}


def written(folder: Path, *rows: object) -> Path:
    for name, shade in (("a", 0), ("b", 99)):
        Image.new("L", (4, 4), shade).save(folder / f"{name}.png")
    path = folder / "pairs.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_a_row_is_a_problem_and_two_texts(tmp_path: Path) -> None:
    extra = {"id": "7", "answer": "15", "source": "human_2", "margin": 3.5, "votes": [1, 2]}
    (pair,) = read_preferences(written(tmp_path, ROW | extra))
    assert ("15", "16", "human_2") == (pair.chosen, pair.rejected, pair.source)
    assert ("7", "sum?", "15") == (pair.problem.id, pair.problem.question, pair.problem.answer)
    assert [str(tmp_path / "a.png")] == [image.path for image in pair.problem.images]


def test_rows_without_ids_share_a_problem_if_they_ask_the_same_about_the_same_pictures(tmp_path: Path) -> None:
    rows = [
        ROW,
        ROW | {"rejected": "17"},
        ROW | {"images": ["b.png"]},
        ROW | {"question": "max?"},
        ROW | {"images": []},
    ]
    pairs = read_preferences(written(tmp_path, *rows))
    assert pairs[0].problem is pairs[1].problem
    assert 4 == len({pair.problem.id for pair in pairs})
    assert ["file"] * 5 == [pair.source for pair in pairs]


def test_pictures_may_be_left_out(tmp_path: Path) -> None:
    row = {key: value for key, value in ROW.items() if key != "images"}
    (pair,) = read_preferences(written(tmp_path, row))
    assert () == pair.problem.images


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (ROW | {"rejected": "15"}, 'line 1: "chosen" and "rejected" are equal'),
        (ROW | {"chosen": " "}, "line 1: \"chosen\" must be a non-empty string, found ' '"),
        (ROW | {"rejected": None}, 'line 1: "rejected" must be a non-empty string, found None'),
        ({key: value for key, value in ROW.items() if key != "question"}, '"question" must be a non-empty string'),
        (ROW | {"images": [7]}, '"images" must be a list of paths'),
        (ROW | {"images": ["gone.png"]}, r"line 1: image .*gone\.png: no such file"),
        (ROW | {"source": "by hand"}, "\"source\" must be letters, digits and _, found 'by hand'"),
        (ROW | {"answer": {"a": 15}}, '"answer" must be text or a number, found dict'),
        ("[1]", "line 1: expected a JSON object, found list"),
        ("{", "line 1: not a JSON object"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_key(tmp_path: Path, row: object, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        read_preferences(written(tmp_path, row))
    assert str(tmp_path / "pairs.jsonl") in str(caught.value)
    assert 1 == len(str(caught.value).splitlines())


def test_an_id_that_asks_two_things_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ROW | {"id": "7"}, ROW | {"id": "7", "images": ["b.png"]})
    with pytest.raises(DataError, match='line 2: id "7" asks something else further up; equal ids are one prompt'):
        read_preferences(path)


def test_a_picture_that_is_cut_off_is_found_before_anything_runs(tmp_path: Path) -> None:
    path = written(tmp_path, ROW)
    Image.effect_noise((64, 64), 90).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:-900])
    with pytest.raises(DataError, match="cannot be decoded"):
        read_preferences(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the data set is empty"):
        read_preferences(written(tmp_path))


def test_responses_are_read_in_order(tmp_path: Path) -> None:
    (found,) = read_responses(written(tmp_path, {"question": "sum?", "images": ["a.png"], "responses": ["15", ""]}))
    assert ("15", "") == found.texts


@pytest.mark.parametrize("responses", [None, [], "15", [15]])
def test_responses_must_be_strings(tmp_path: Path, responses: object) -> None:
    with pytest.raises(DataError, match='line 1: "responses" must be a list of strings'):
        read_responses(written(tmp_path, {"question": "sum?", "responses": responses}))
