"""What a table has in place of text and of nothing, and columns that some rows lack."""

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from vergence.data.columns import columns_layout, never_there
from vergence.data.layout import WITH_OPTIONS
from vergence.data.problems import problem_at, read_captions, read_problems
from vergence.data.rows import open_rows
from vergence.data.source import Source
from vergence.data.values import known, plain, text_of
from vergence.errors import DataError
from vergence.types import AnswerType, Problem

from .formats import picture_bytes, write_lines

NAN = float("nan")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERGENCE_CACHE", str(tmp_path / "cache"))


@given(st.integers(-(10**14), 10**14))
def test_a_whole_number_is_written_as_one_whatever_keeps_it(number: int) -> None:
    assert {str(number)} == {plain(number), plain(float(number)), plain(Decimal(number)), text_of([number], "", "")}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (15.0, "15"),
        (-0.0, "0"),
        (15.5, "15.5"),
        (1e300, "1e+300"),
        (math.inf, "inf"),
        (Decimal("15.00"), "15"),
        (Decimal("2.50"), "2.50"),
        (Decimal("NaN"), ""),
        (NAN, ""),
        (None, ""),
        ("15.0", "15.0"),
    ],
)
def test_numbers_are_written_as_they_are_read(value: Any, text: str) -> None:
    assert text == text_of(value, "here", "answer")


def test_nan_is_nothing_wherever_it_stands() -> None:
    assert {"a": None, "b": [1, None, {"c": None}], "d": "nan"} == known(
        {"a": NAN, "b": [1, NAN, {"c": NAN}], "d": "nan"}
    )


# ── a table with gaps ────────────────────────────────────────────────────────────────────────────────────────────────


def with_columns(path: Path, **columns: str) -> Source:
    return Source(path, columns_layout({"question": "q", "answer": "a"} | columns, {}, WITH_OPTIONS))


def table(folder: Path, **columns: Any) -> Path:
    """A Parquet file as pandas writes one: numbers with gaps are floats, and a gap is NaN."""
    parquet.write_table(pa.table(columns), folder / "a.parquet")
    return folder / "a.parquet"


def test_numbers_of_a_column_with_gaps(tmp_path: Path) -> None:
    """15.0 is 15, also as an option; NaN is no answer, no option, no picture and no name."""
    path = table(
        tmp_path,
        q=["one?", "two?"],
        a=pa.array([15.0, 16.0]),
        o=[[15.0, 16.0], [15.0, 16.0]],
        n=pa.array([7.0, NAN]),
        i=pa.array([NAN, NAN]),
        c=pa.array([NAN, 2.0]),
    )
    source = with_columns(path, id="n", options="o", images="i", category="c")
    problems = read_problems(source, decode=False)
    assert [("7", "A", "all", ()), ("row-1", "B", "2", ())] == [
        (one.id, one.answer, one.category, one.images) for one in problems
    ]
    assert problems[0].question == "one?\nA. 15\nB. 16"
    assert problems[0].grading.type is AnswerType.CHOICE


@pytest.mark.parametrize("gap", [NAN, None])
def test_a_gap_is_no_answer(gap: float | None, tmp_path: Path) -> None:
    source = with_columns(table(tmp_path, q=["one?", "two?"], a=pa.array([15.0, gap])))
    rows = source.rows()
    assert "15" == problem_at(source, rows, 0, source.store.reference).answer
    with pytest.raises(DataError, match='row 2: "answer" is empty'):
        problem_at(source, rows, 1, source.store.reference)


def test_published_layouts_survive_gaps(tmp_path: Path) -> None:
    from vergence.data.layouts.known import layout_named

    row = {"pid": NAN, "question": "How long?", "image": NAN, "decoded_image": NAN, "choices": NAN, "precision": NAN}
    row |= {"answer": 3.0, "answer_type": "float", "metadata": NAN}
    path = write_lines(tmp_path / "a.jsonl", [row])
    (problem,) = read_problems(Source(path, layout_named("mathvista")), decode=False)
    assert ("mathvista-0", "3", (), 0.5) == (problem.id, problem.answer, problem.images, problem.grading.tolerance)


# ── columns that some rows lack ──────────────────────────────────────────────────────────────────────────────────────


def test_a_row_without_a_column_says_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture_bytes(1))
    rows = [{"q": "How many?", "p": "a.png", "a": "7", "m": {"kind": "count"}}, {"q": "1+1?", "a": "2"}]
    path = write_lines(tmp_path / "a.jsonl", rows)
    problems = read_problems(with_columns(path, images="p", category="m.kind", target="{q} {p}"), decode=True)
    assert [(1, "count"), (0, "all")] == [(len(one.images), one.category) for one in problems]


@pytest.mark.parametrize(("column", "missing"), [("question", "q"), ("answer", "a")])
def test_what_every_row_needs_is_missed_where_it_is_absent(column: str, missing: str, tmp_path: Path) -> None:
    row = {"q": "How many?", "a": "7"}
    path = write_lines(tmp_path / "a.jsonl", [row, {key: value for key, value in row.items() if key != missing}])
    with pytest.raises(DataError, match=f'line 2: no column "{missing}"'):
        read_problems(with_columns(path), decode=False)


def test_a_column_that_no_row_has_is_found(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"q": "1?", "a": "1"}, {"q": "2?", "a": "2", "m": {"p": None}}])
    layout = with_columns(path, images="m.p", category="kind", mentions="{m.q} {m.p}").layout
    assert ["m.p", "kind", "m.q", "m.p"] == list(layout.optional)
    assert ["kind", "m.q"] == never_there(open_rows(path), layout.optional)


# ── our own keys ─────────────────────────────────────────────────────────────────────────────────────────────────────


def ours(folder: Path, **changes: Any) -> Problem:
    (folder / "a b.png").write_bytes(picture_bytes(1))
    row = {"id": "7", "question": "sum?", "answer": "15"} | changes
    (problem,) = read_problems(write_lines(folder / "a.jsonl", [row]), decode=True)
    return problem


def test_pictures_in_the_forms_that_people_write(tmp_path: Path) -> None:
    file = tmp_path / "a b.png"
    shown = ["a b.png", ["a b.png"], [None, "a b.png"], "file://a b.png", f"file://{file}", file.as_uri()]
    shown += [f"file://localhost{file}", {"path": "a b.png", "bytes": None}]
    assert [str(file)] * len(shown) == [ours(tmp_path, images=one).images[0].path for one in shown]
    for none in ([], None, "", NAN, {"path": None, "bytes": None}):
        assert ours(tmp_path, images=none).images == ()
    assert ours(tmp_path).images == (), "the key itself may be absent"


def test_an_answer_may_be_a_number_and_an_optional_key_nothing(tmp_path: Path) -> None:
    assert ["7", "7", "7.5"] == [ours(tmp_path, answer=number).answer for number in (7, 7.0, 7.5)]
    assert ("all", frozenset()) == (ours(tmp_path, category=None).category, ours(tmp_path, objects=NAN).objects)


@pytest.mark.parametrize("key", ["messages", "conversations"])
def test_a_conversation_is_named_as_what_it_is(key: str, tmp_path: Path) -> None:
    row = {key: [{"role": "user", "content": "<image>How many?"}], "images": []}
    with pytest.raises(DataError, match=f'line 1: key "id" is missing, and "{key}" holds a conversation'):
        read_problems(write_lines(tmp_path / "a.jsonl", [row]), decode=False)


# ── half a character ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", ["question", "target", "category"])
def test_half_a_character_is_told_with_its_line(key: str, tmp_path: Path) -> None:
    row = {"id": "7", "question": "sum?", "images": [], "answer": "15", "target": "t", key: "\udfff x"}
    path = write_lines(tmp_path / "a.jsonl", [row | {key: "x", "id": "6"}, row])
    with pytest.raises(DataError, match=r"line 2: text with half a character \(.udfff, a lone surrogate\)"):
        read_captions(path)
    document = tmp_path / "b.json"
    document.write_text(json.dumps([row]))
    with pytest.raises(DataError, match="half a character"):
        read_captions(document)


def test_two_halves_are_one_character(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "7", "question": "\\ud83d\\ude00?", "answer": "1"}\n')
    assert "\U0001f600?" == read_problems(path, decode=False)[0].question
