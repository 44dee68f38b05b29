"""Fixtures of the end-to-end tests: one small but real run through the command line, shared by all of them."""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from flow.killer import run_and_die

SMALL = (
    "data.train=512",
    "data.captions=512",
    "data.tuning=96",
    "data.test=240",
    "stage.parents.vision_steps=200",
    "stage.parents.vision_scenes=9600",
    "stage.parents.language_steps=400",
    "stage.align.target_accuracy=0.45",
    "stage.align.max_steps=150",
    "stage.align.evaluation.problems=96",
    "stage.reward_model.prompts=96",
    "stage.reward_model.held_out=48",
    "stage.reward_model.steps=30",
    "stage.mpo.prompts_per_round=64",
    "stage.mpo.steps_per_round=10",
    "stage.mpo.max_passes=16",
    "stage.mpo.evaluation.problems=48",
    "stage.grpo.steps=12",
    "stage.grpo.prompts_per_step=16",
    "stage.grpo.minibatch_size=32",
    "stage.grpo.evaluation.problems=48",
    "stage.grpo.evaluation.blank_problems=24",
    "stage.grpo.checkpoint_every=5",
    "stage.grpo.rollouts_every=4",
)
"""Overrides that make the digits recipe run in about a minute and still learn."""


def overrides(*settings: str) -> list[str]:
    """`--set` arguments."""
    return [argument for setting in settings for argument in ("--set", setting)]


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def vergence(*arguments: str | Path, check: bool = True, kill: tuple[str, int] = ("", 0)) -> Done:
    """The real command line in a process of its own, forked from a server that has torch loaded already.

    `kill` is a place and a count, see flow.killer.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flow.killer", "vergence.commands.run", "vergence.commands.evaluate"])
    with tempfile.TemporaryDirectory() as folder:
        out, error = Path(folder, "out"), Path(folder, "error")
        process = context.Process(target=run_and_die, args=([*map(str, arguments)], str(out), str(error), *kill))
        process.start()
        process.join()
        assert process.exitcode is not None
        done = Done(process.exitcode, out.read_text(), error.read_text())
    if check:
        assert done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def shared(tmp_path_factory, name: str, make: Callable[[Path], None]) -> Path:
    """A directory that is made once for all workers of the session; the others wait for it."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / name
    with FileLock(f"{folder}.lock"):
        if not (folder / "made").exists():
            folder.mkdir()
            make(folder / "run")
            (folder / "made").touch()
    return folder / "run"


def rows(path: Path) -> list[dict]:
    """A JSON-lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> Path:
    """A finished run of the whole recipe, small; started the way a user starts it."""

    def make(directory: Path) -> None:
        command = [sys.executable, "-m", "vergence", "demo", "--out", str(directory), *overrides(*SMALL)]
        subprocess.run(command, check=True, capture_output=True)

    return shared(tmp_path_factory, "small", make)
