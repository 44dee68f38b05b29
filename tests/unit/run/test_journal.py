"""Append-only JSON lines that roll back to the byte."""

import json
import math
from pathlib import Path

import pytest

from vergence.run.journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rollouts" / "grpo.jsonl"


def rows(path: Path) -> list:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_are_appended_one_a_line(path: Path) -> None:
    """The folder is made when the first line is written; a second journal of the same file goes on."""
    Journal(path).append({"step": 0, "loss": 0.5})
    Journal(path).append({"step": 1, "text": "two\nlines", "none": None, "list": [1, "a"]})
    assert [
        {"step": 0, "loss": 0.5},
        {"step": 1, "text": "two\nlines", "none": None, "list": [1, "a"]},
    ] == rows(path)
    assert 2 == path.read_text().count("\n")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_cannot_hold_become_null_at_every_depth(path: Path, number: float) -> None:
    Journal(path).append({"a": number, "b": {"c": [1.0, number, (number, 2)]}, "d": 0.0})
    assert [{"a": None, "b": {"c": [1.0, None, [None, 2]]}, "d": 0.0}] == rows(path)


def test_truncate_undoes_what_came_after_the_size(path: Path) -> None:
    journal = Journal(path)
    journal.append({"step": 0})
    size = journal.size()
    assert len('{"step": 0}\n') == size
    journal.append({"step": 1})
    journal.append({"step": 2})
    journal.truncate(size)
    assert [{"step": 0}] == rows(path)
    journal.append({"step": 1, "again": True})
    assert [{"step": 0}, {"step": 1, "again": True}] == rows(path)


def test_truncate_removes_a_line_that_a_killed_process_left_half_written(path: Path) -> None:
    journal = Journal(path)
    journal.append({"step": 0})
    size = journal.size()
    with path.open("a") as file:
        file.write('{"step": 1, "lo')
    journal.truncate(size)
    assert [{"step": 0}] == rows(path)


def test_a_journal_that_was_never_written_has_no_size_and_nothing_to_truncate(path: Path) -> None:
    journal = Journal(path)
    assert 0 == journal.size()
    journal.truncate(0)
    journal.truncate(10)
    assert not path.exists()


def test_truncate_to_nothing(path: Path) -> None:
    journal = Journal(path)
    journal.append({"step": 0})
    journal.truncate(0)
    assert "" == path.read_text()


def test_size_counts_bytes_and_not_letters(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text('{"text": "Ω≈"}\n', encoding="utf-8")
    assert len('{"text": ""}\n') + 2 + 3 == Journal(path).size()


def test_dropping_a_stage_keeps_the_lines_of_the_others_and_no_torn_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log.jsonl")
    journal.drop_stage("mpo")  # nothing there yet
    for stage in ("align", "mpo", "mpo", "grpo"):
        journal.append({"stage": stage})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"stage": "gr')
    journal.drop_stage("mpo")
    assert '{"stage": "align"}\n{"stage": "grpo"}\n' == (tmp_path / "log.jsonl").read_text()
