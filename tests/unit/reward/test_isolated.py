"""A user's function in a process of its own: the same values, and nothing that it does hurts the run."""

import contextlib
import time
from pathlib import Path

import pytest

from vergence.reward.functions import Failure
from vergence.reward.isolated import Isolated

from ..builders import problem

MODULE = """
import os, subprocess, sys, time

def judge(problem, response):
    print("words on standard output hurt nobody")
    if response == "hang":
        while True:
            pass
    if response == "child":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open(problem.question, "w").write(str(os.getpid()))
        time.sleep(600)
    if response == "exit":
        os._exit(3)
    if response == "leave":
        sys.exit(0)
    if response == "raise":
        raise ValueError("no good")
    return len(response) + len(problem.answer)

def all_of_them(responses):
    return [len(text) for _, text in responses]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODULE)
    return tmp_path


def test_values_come_back_in_order_and_what_goes_wrong_is_that_responses_alone(folder: Path) -> None:
    values = Isolated("mine:judge", folder, batch=False, deadline=1.5)
    found = values([(problem(), text) for text in ("a", "raise", "leave", "hang", "abc", "exit", "ab")])
    assert [3.0, 5.0, 4.0] == [found[0], found[4], found[6]]
    assert [
        "ValueError: no good",
        "SystemExit: 0",
        "no value within 1.5 s",
        "its process ended with exit code 3",
    ] == [one.reason for one in found if isinstance(one, Failure)]
    values.close()


def test_a_batch_is_one_call(folder: Path) -> None:
    values = Isolated("mine:all_of_them", folder, batch=True, deadline=60.0)
    assert [1.0, 3.0] == values([(problem(), "a"), (problem(), "abc")])
    values.close()


def test_a_late_process_ends_with_its_children(folder: Path) -> None:
    values = Isolated("mine:judge", folder, batch=False, deadline=1.0)
    (found,) = values([(problem(question=str(folder / "pid")), "child")])
    assert isinstance(found, Failure)
    group = int((folder / "pid").read_text())
    for _ in range(50):
        if not alive(group):
            return
        time.sleep(0.1)
    pytest.fail("something of the group is left")


def alive(group: int) -> list[str]:
    """Processes of a group that still run; ended ones that nobody has waited for do not."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of = path.read_text().rpartition(") ")[2].split()[:3]
            found += [path.parent.name] if int(of) == group and state != "Z" else []
    return found


def test_it_ends_with_whoever_uses_it(folder: Path) -> None:
    values = Isolated("mine:judge", folder, batch=False, deadline=60.0)
    assert [3.0] == values([(problem(), "a")])
    process = values._process
    del values
    assert process.wait(10) < 0
