"""Rows in every format: the same rows come back, whatever they were asked for in, and wrong files are told."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.data.json_rows import KEY
from vergence.data.rows import Rows, Shards, open_rows
from vergence.errors import DataError

from .formats import write_lines, write_parquet, write_saved

ROWS: list[dict[str, Any]] = [
    {
        "id": str(number),
        "question": f"{number}?\u2028",
        "image": {"bytes": bytes([number] * 9), "path": None},
        "n": [number],
    }
    for number in range(11)
]
TEXT = [{key: value for key, value in row.items() if key != "image"} for row in ROWS]
"""The same without bytes, which JSON does not have."""


def read(rows: Rows) -> list[dict[str, Any]]:
    return [dict(rows[index]) for index in range(len(rows))]


def saved_splits(folder: Path, rows: list[dict[str, Any]], names: list[str]) -> Path:
    for name in names:
        write_saved(folder / name, rows)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": names}))
    return folder


FORMATS = {
    "lines": lambda folder: write_lines(folder / "a.jsonl", TEXT),
    "lines called json": lambda folder: write_lines(folder / "a.json", TEXT),
    "array": lambda folder: _text(folder / "a.json", json.dumps(TEXT)),
    "array over lines": lambda folder: _text(folder / "a.json", json.dumps(TEXT, indent=1)),
    "blank lines": lambda folder: _text(folder / "a.jsonl", "\n\n" + "\n \n".join(map(json.dumps, TEXT)) + "\n\n"),
    "no newline at the end": lambda folder: _text(folder / "a.jsonl", "\n".join(map(json.dumps, TEXT))),
    "byte order mark": lambda folder: _text(folder / "a.jsonl", "\ufeff" + "\n".join(map(json.dumps, TEXT))),
    "windows": lambda folder: _text(folder / "a.jsonl", "\r\n".join(map(json.dumps, TEXT)) + "\r\n"),
    "shards of lines": lambda folder: _shards(folder, ".jsonl", write_lines),
    "parquet": lambda folder: write_parquet(folder / "a.parquet", ROWS),
    "one row group": lambda folder: write_parquet(folder / "a.parquet", ROWS, group=99),
    "shards of parquet": lambda folder: _shards(folder, ".parquet", write_parquet),
    "saved": lambda folder: write_saved(folder / "saved", ROWS),
    "saved split": lambda folder: saved_splits(folder / "dict", ROWS, ["test", "train"]) / "train",
    "only split": lambda folder: saved_splits(folder / "dict", ROWS, ["train"]),
}


def _text(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def _shards(folder: Path, ending: str, write: Any) -> Path:
    (folder / "shards").mkdir()
    part = [{key: value for key, value in row.items() if ending == ".parquet" or key != "image"} for row in ROWS]
    for shard, rows in enumerate((part[:4], part[4:9], part[9:])):
        write(folder / "shards" / f"train-{shard:05d}-of-00003{ending}", rows)
    return folder / "shards"


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows_in_order_and_out_of_order(name: str, tmp_path: Path) -> None:
    rows = open_rows(FORMATS[name](tmp_path))
    whole = ROWS if "image" in rows[0] else TEXT
    assert whole == read(rows)
    order = random.Random(name).choices(range(len(whole)), k=40)
    assert [whole[index] for index in order] == [rows[index] for index in order]
    for index in (-1, len(whole)):
        with pytest.raises(IndexError):
            rows[index]


def test_a_pattern_names_some_of_a_folder(tmp_path: Path) -> None:
    folder = _shards(tmp_path, ".parquet", write_parquet)
    write_parquet(folder / "test-00000-of-00001.parquet", ROWS[:2])
    assert ROWS == read(open_rows(folder / "train-*.parquet"))
    assert ROWS[:2] == read(open_rows(folder / "test-*"))
    with pytest.raises(DataError, match=rf"holds the splits test, train; name one, for instance {folder}/test-\*"):
        open_rows(folder)


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    assert TEXT == read(open_rows(write_lines(tmp_path / "a[1].jsonl", TEXT)))


def test_an_object_by_key_gives_rows_that_know_their_key(tmp_path: Path) -> None:
    path = _text(tmp_path / "a.json", json.dumps({row["id"]: row for row in TEXT}, indent=2))
    rows = open_rows(path)
    assert [row | {KEY: row["id"]} for row in TEXT] == read(rows)
    assert f'{path}, key "3"' == rows.where(3)


def test_rows_are_named_as_a_person_finds_them(tmp_path: Path) -> None:
    lines = open_rows(_text(tmp_path / "a.jsonl", '\n{"n": 1}\n\n{"n": 2}\n'))
    assert [f"{tmp_path}/a.jsonl, line 2", f"{tmp_path}/a.jsonl, line 4"] == [lines.where(index) for index in (0, 1)]
    shards = open_rows(_shards(tmp_path, ".parquet", write_parquet))
    first, second = (tmp_path / "shards" / f"train-0000{number}-of-00003.parquet" for number in (0, 1))
    assert [f"{first}, row 4", f"{second}, row 1"] == [shards.where(index) for index in (3, 4)]
    assert [tmp_path / "shards"] * 2 == [shards.folder(index) for index in (3, 4)]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8).filter(sum), st.data())
def test_shards_are_their_parts_one_behind_the_other(sizes: list[int], data: st.DataObject) -> None:
    """Some of them empty."""

    class Counted:
        def __init__(self, part: int, size: int) -> None:
            self.part, self.size = part, size

        def __len__(self) -> int:
            return self.size

        def __getitem__(self, index: int) -> dict[str, int]:
            assert 0 <= index < self.size
            return {"part": self.part, "index": index}

        def where(self, index: int) -> str:
            return f"{self.part}, {index}"

        def folder(self, index: int) -> Path:
            return Path(str(self.part))

        def files(self) -> list[Path]:
            return [Path(str(self.part))]

    expected = [{"part": part, "index": index} for part, size in enumerate(sizes) for index in range(size)]
    shards = Shards([Counted(part, size) for part, size in enumerate(sizes)])
    assert len(expected) == len(shards)
    index = data.draw(st.integers(0, len(expected) - 1))
    assert expected[index] == shards[index]
    assert f"{expected[index]['part']}, {expected[index]['index']}" == shards.where(index)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b"", "the data set is empty"),
        ("a.json", b"[]", "the data set is empty"),
        ("a.json", b"{}", "the data set is empty"),
        ("a.json", b'"text"', "expected an array of objects, or an object of them, found str"),
        ("a.json", b"[1]", "row 1: expected a JSON object, found int"),
        ("a.json", b'{"a": 1}', 'key "a": expected a JSON object, found int'),
        ("a.json", b"[{", "neither JSON lines nor one JSON document"),
        ("a.json", b"\xff\xfe", "cannot be read as UTF-8"),
        ("a.parquet", b"PAR1 but not really", "not a readable Parquet file"),
        ("a.parquet", b"", "not a readable Parquet file"),
        ("a.csv", b"a,b", r"\.csv is no kind of data file; known are \.jsonl"),
        ("a", b"a,b", "no ending is no kind of data file"),
    ],
)
def test_what_is_no_data_set_is_told_in_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"^{tmp_path / name}.*{said}") as caught:
        open_rows(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_folders_that_are_no_data_set_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data file"):
        open_rows(tmp_path / "none")
    with pytest.raises(DataError, match="no data file there"):
        open_rows(tmp_path)
    with pytest.raises(DataError, match="no data file there"):
        open_rows(tmp_path / "*.parquet")
    write_lines(tmp_path / "a.jsonl", TEXT)
    write_parquet(tmp_path / "a.parquet", ROWS)
    with pytest.raises(DataError, match=r"holds several kinds \(\.jsonl, \.parquet\)"):
        open_rows(tmp_path)


def test_saved_sets_that_are_not_whole_are_told(tmp_path: Path) -> None:
    several = saved_splits(tmp_path / "several", ROWS, ["train", "test"])
    with pytest.raises(DataError, match=rf"holds the splits train, test; name one, for instance {several}/train"):
        open_rows(several)
    torn = write_saved(tmp_path / "torn", ROWS)
    (torn / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(DataError, match=r"data-00001-of-00002\.arrow: not a readable Arrow stream"):
        open_rows(torn)
    chosen = write_saved(tmp_path / "chosen", ROWS)
    state = json.loads((chosen / "state.json").read_text())
    (chosen / "state.json").write_text(json.dumps(state | {"_indices_data_files": [{"filename": "indices.arrow"}]}))
    with pytest.raises(DataError, match="rows are chosen by indices"):
        open_rows(chosen)


def test_a_file_that_changes_under_a_run_is_told(tmp_path: Path) -> None:
    rows = open_rows(write_lines(tmp_path / "a.jsonl", TEXT))
    write_lines(tmp_path / "a.jsonl", TEXT[:5])
    with pytest.raises(DataError, match="has changed since it was opened"):
        rows[0]


def test_a_broken_line_is_told_when_it_is_read(tmp_path: Path) -> None:
    rows = open_rows(_text(tmp_path / "a.jsonl", '{"n": 1}\n{"n": \n{"n": 3}\n'))
    assert [{"n": 1}, {"n": 3}] == [rows[0], rows[2]]
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: not a JSON object"):
        rows[1]
