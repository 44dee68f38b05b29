"""What is remembered comes back exactly, and nothing else does."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.errors import DataError
from vergence.scoring.memory import Forgetful, ScoreFile, ScoreMemory

from ..builders import through_a_file

KEYS = [f"{number:032x}" for number in range(6)]


def test_the_score_that_was_used_least_recently_is_forgotten_first() -> None:
    memory = ScoreMemory(2)
    memory.put({KEYS[0]: 0.5, KEYS[1]: 1.5})
    assert memory.get(KEYS[0]) == 0.5
    memory.put({KEYS[2]: 2.5})
    assert [0.5, None, 2.5] == [memory.get(key) for key in KEYS[:3]]


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.booleans(), st.floats(-1e9, 1e9)), max_size=30))
def test_a_restored_memory_goes_on_like_the_one_that_was_saved(uses) -> None:
    saved, restored = ScoreMemory(3), ScoreMemory(3)
    for key, asked, score in uses:
        saved.get(key) if asked else saved.put({key: score})
    restored.load_state_dict(through_a_file(saved.state_dict()))
    for key in KEYS:
        assert saved.get(key) == restored.get(key)
        saved.put({key[::-1]: 0.1})
        restored.put({key[::-1]: 0.1})
    assert len(saved) == len(restored) <= 3


def test_the_forgetful_one_forgets() -> None:
    memory = Forgetful()
    memory.put({KEYS[0]: 1.0})
    assert memory.get(KEYS[0]) is None
    assert memory.state_dict() == {}


def test_a_file_gives_back_what_it_was_given_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "scores.jsonl"
    ScoreFile(path, "model a").put({KEYS[0]: 0.1 + 0.2, KEYS[1]: -1e-300})
    again = ScoreFile(path, "model a")
    assert [0.1 + 0.2, -1e-300, None] == [again.get(key) for key in KEYS[:3]]


def test_scores_of_another_model_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    ScoreFile(path, "model a").put({KEYS[0]: 1.0})
    other = ScoreFile(path, "model b")
    assert other.get(KEYS[0]) is None
    other.put({KEYS[0]: 2.0})
    assert [1.0, 2.0] == [ScoreFile(path, name).get(KEYS[0]) for name in ("model a", "model b")]


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_torn_last_line_is_dropped_whole(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "scores.jsonl"
    file = ScoreFile(path, "a")
    file.put({KEYS[0]: 1.0})
    file.put({KEYS[1]: 2.0, KEYS[2]: 3.0})
    path.write_bytes(path.read_bytes()[:-cut])
    torn = ScoreFile(path, "a")
    assert [1.0, None, None] == [torn.get(key) for key in KEYS[:3]]
    torn.put({KEYS[1]: 2.0, KEYS[2]: 3.0})
    assert [1.0, 2.0, 3.0] == [ScoreFile(path, "a").get(key) for key in KEYS[:3]]


@pytest.mark.parametrize("line", ["nonsense", "[]", "{}", json.dumps({"model": "a", "scores": {"k": "high"}})])
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=r"scores\.jsonl, line 1: not a record of scores; delete the file"):
        ScoreFile(path, "a")
