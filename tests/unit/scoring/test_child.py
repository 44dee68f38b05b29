"""A reward model in another process: the same scores, one new beginning, and the reason if that does not help."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from vergence.errors import DataError, RunError
from vergence.scoring.child import ChildScorer, Deadlines

from ..builders import completion, prompt
from .fakes import Making, score

MEMBERS = [(prompt(question="why?"), completion(text)) for text in ("a", "b", "c")]
TESTS = Path(__file__).resolve().parents[2]


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Makes a child that behaves as asked, and ends it."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    made: list[ChildScorer] = []

    def make(kind: str, **deadlines: float) -> ChildScorer:
        made.append(ChildScorer(Making(kind, str(tmp_path)), Deadlines(**deadlines)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def starts(folder: Path) -> int:
    return len((folder / "started").read_text().splitlines())


def test_a_child_scores_what_this_process_would(child, tmp_path) -> None:
    scorer = child("well")
    for _ in range(2):
        np.testing.assert_array_equal([score(member) for member in MEMBERS], scorer.raw(MEMBERS))
    assert 1 == starts(tmp_path), "it is asked again, not started again"
    assert scorer.pid != os.getpid()


@pytest.mark.parametrize("how", ["dies once", "killed between two calls"])
def test_a_child_that_dies_is_started_again(child, tmp_path, how: str) -> None:
    scorer = child(how)
    scorer.raw(MEMBERS)
    if how != "dies once":
        assert scorer.pid is not None
        os.kill(scorer.pid, signal.SIGKILL)
        np.testing.assert_array_equal([score(member) for member in MEMBERS], scorer.raw(MEMBERS))
    assert 2 == starts(tmp_path)


def test_a_child_that_dies_twice_is_given_up_with_its_last_words(child, tmp_path) -> None:
    with pytest.raises(RunError) as caught:
        child("dies").raw(MEMBERS)
    said = str(caught.value)
    assert "scoring 3 responses: it ended with exit code 9, out of memory, as it were" in said
    assert 1 == len(said.splitlines())
    assert 2 == starts(tmp_path)


def test_a_child_that_lets_its_deadline_pass_is_ended(child, tmp_path) -> None:
    began = time.monotonic()
    with pytest.raises(RunError, match=r"scoring 3 responses took more than 0\.2 s"):
        child("sleeps", request=0.2).raw(MEMBERS)
    assert time.monotonic() - began < 40
    for pid in map(int, (tmp_path / "started").read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_error_of_the_model_is_raised_here_and_not_tried_again(child, tmp_path) -> None:
    with pytest.raises(DataError, match=r"^picture 7 is broken; replace it$"):
        child("complains").raw(MEMBERS)
    assert 1 == starts(tmp_path)


def test_an_unforeseen_error_is_one_line_with_its_kind(child) -> None:
    with pytest.raises(RunError, match=r"^the reward model's process: ZeroDivisionError: two lines$"):
        child("errs").raw(MEMBERS)


def test_a_model_that_cannot_be_loaded_says_why(child) -> None:
    with pytest.raises(DataError, match="there is no such model; name another"):
        child("cannot load").raw(MEMBERS)
