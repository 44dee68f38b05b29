"""Rows that are passed over: the others keep their places in the file, and the names that are made of them."""

import os
from pathlib import Path

import pytest

from vergence.data.layouts.known import layout_named
from vergence.data.problems import check_problems, open_problems, read_problems
from vergence.data.remaining import Remaining, number_of
from vergence.data.rows import open_rows
from vergence.data.source import Source
from vergence.errors import DataError

from .formats import write_lines


def test_what_is_left_keeps_number_line_and_name(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"question": f"{one}?", "answer": f"#### {one}"} for one in range(5)])
    source = Source(path, layout_named("gsm8k"), left_out=frozenset({0, 3}))
    rows = source.rows()
    assert [1, 2, 4] == [number_of(rows, place) for place in range(len(rows))]
    assert f"{path}, line 5" == rows.where(2)
    whole = {one.id: one for one in read_problems(Source(path, layout_named("gsm8k")), decode=False)}
    for kept in (read_problems(source, decode=False), open_problems(source)[:]):
        assert ["1", "2", "4"] == [one.answer for one in kept]
        assert all(whole[one.id] == one for one in kept)
    seen: list[int] = []
    assert 3 == check_problems(source, each=lambda number, *_: seen.append(number))
    assert [1, 2, 4] == seen
    with pytest.raises(IndexError):
        rows[3]


def test_nothing_left_is_told(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"a": 1}])
    with pytest.raises(DataError, match="nothing remains"):
        Remaining(open_rows(path), frozenset({0}))


def test_a_folder_with_a_fifo_in_it_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [{"a": 1}])
    os.mkfifo(tmp_path / "b.jsonl")
    with pytest.raises(DataError, match=r"b\.jsonl: is no ordinary file"):
        open_rows(tmp_path)


def test_a_row_that_arrow_cannot_make_is_told_with_its_number(tmp_path: Path) -> None:
    """Text that is none, which Parquet keeps as it is given."""
    import pyarrow as pa
    from pyarrow import parquet

    broken = pa.Array.from_buffers(pa.string(), 2, pa.array([b"fine", b"\xff\xfe"]).buffers())
    parquet.write_table(pa.table({"question": broken}), tmp_path / "a.parquet")
    rows = open_rows(tmp_path / "a.parquet")
    assert "fine" == rows[0]["question"]
    with pytest.raises(DataError, match=r"a\.parquet, row 2: cannot be read \(UnicodeDecodeError"):
        rows[1]
