"""Killed at any moment and started again, a run ends as if nothing had happened: bit for bit."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from flow.conftest import SMALL, overrides, rows, shared, vergence

OF_THE_PROCESS = ("wall_seconds", "tokens_per_second", "seconds/", "memory/", "work/pictures_", "spent/cpu_")
"""Beginnings of metrics that tell of one process: how long it took, what it held, which pictures were new to it."""
SHORT = (
    *SMALL,
    "data.train=128",
    "data.tuning=24",
    "data.test=24",
    "stage.reward_model.prompts=48",
    "stage.reward_model.held_out=24",
    "stage.reward_model.steps=6",
    "stage.reward_model.checkpoint_every=2",
    "stage.align.max_steps=60",
    "stage.align.evaluation.problems=24",
    "stage.align.checkpoint_every=7",
    "stage.mpo.prompts_per_round=32",
    "stage.mpo.steps_per_round=4",
    "stage.mpo.max_passes=16",
    "stage.mpo.checkpoint_every=3",
    "stage.mpo.evaluation.problems=24",
    "stage.grpo.steps=7",
    "stage.grpo.prompts_per_step=8",
    "stage.grpo.checkpoint_every=3",
    "stage.grpo.buffer.capacity=96",
    "stage.grpo.rollouts_every=2",
)
"""The whole recipe in seconds; its parents come from the cache that the small run has filled."""


def killed(place: str, count: int, *arguments) -> None:
    done = vergence(*arguments, check=False, kill=(place, count))
    assert done.returncode == -9, f"{place} {count} was never reached: {done.stdout} {done.stderr}"


def timeless(directory: Path) -> list[dict]:
    return [
        {key: value for key, value in row.items() if not key.startswith(OF_THE_PROCESS)}
        for row in rows(directory / "metrics.jsonl")
    ]


def located(directory: Path, text: str) -> str:
    return text.replace(str(directory), "RUN")


def last_snapshot(directory: Path, stage: str) -> dict:
    newest = sorted((directory / "checkpoints" / stage / "steps").glob("step-*"))[-1]
    return torch.load(newest / "state.pt", weights_only=True)


def assert_equal(left: object, right: object, where: str = "") -> None:
    """Equality of nested state, tensors to the bit."""
    assert type(left) is type(right), where
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right), where
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            assert_equal(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right), where
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            assert_equal(one, other, f"{where}.{index}")
    elif isinstance(left, str) and left.endswith(".png"):
        assert Path(left).name == Path(right).name, where
    else:
        assert left == right, where


def assert_same_run(left: Path, right: Path) -> None:
    assert (left / "final" / "model.safetensors").read_bytes() == (right / "final" / "model.safetensors").read_bytes()
    assert timeless(left) == timeless(right)
    for stage in ("align", "reward_model", "mpo", "grpo"):
        parts = [last_snapshot(path, stage)["parts"] for path in (left, right)]
        for one in parts:
            one.get("budget", {}).pop("seconds", None)  # CPU seconds are the process's own
        assert_equal(*parts, stage)
    for name in ("mpo", "grpo"):
        ours = located(left, (left / "rollouts" / f"{name}.jsonl").read_text())
        assert ours == located(right, (right / "rollouts" / f"{name}.jsonl").read_text())
    stages = [json.loads((path / "summary.json").read_text())["stages"] for path in (left, right)]
    for row in [row for stage in stages for row in stage.values()]:
        del row["seconds"]
    assert stages[0] == stages[1]


@pytest.fixture(scope="session")
def uninterrupted(small_run, tmp_path_factory) -> Path:
    command = ["--quiet", *overrides(*SHORT)]
    directory = shared(tmp_path_factory, "uninterrupted", lambda path: vergence("demo", "--out", path, *command))
    assert len(last_snapshot(directory, "grpo")["parts"]["selection"]["samples"]) > 0, "the buffer took part"
    return directory


@pytest.mark.parametrize(
    "kills",
    [
        # data set half written, inside a checkpoint, inside a line of a log, inside a checkpoint of a later stage
        [("flush", 3), ("torn-state", 4), ("torn-line", 4), ("torn-state", 3)],
        # align's log, inside reward-model checkpoints, mpo mid-round, grpo's log, inside a grpo checkpoint
        pytest.param(
            [("line", 11), ("torn-state", 4), ("line", 9), ("torn-line", 4), ("torn-state", 3)],
            marks=pytest.mark.slow,
        ),
        # data set half written, stage model half written, before and after a rename, late in grpo
        pytest.param(
            [("flush", 3), ("rename", 4), ("renamed", 7), ("flush", 40), ("torn-line", 24), ("line", 5)],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["a-few", "logs-and-states", "folders-and-renames"],
)
def test_killed_many_times_a_run_ends_bit_for_bit_as_if_it_had_not_been(uninterrupted, tmp_path, kills):
    directory = tmp_path / "run"
    command = ["demo", "--out", directory, *overrides(*SHORT)]
    for place, count in kills:
        killed(place, count, *command)
    vergence(*command)
    assert_same_run(uninterrupted, directory)
    assert not list(directory.rglob(".tmp-*"))


def test_parents_killed_in_the_middle_of_training_end_bit_equal(tmp_path):
    settings = overrides(
        "data.train=640",
        "data.captions=8",
        "data.tuning=8",
        "data.test=8",
        "stage.parents.cache=false",
        "stage.parents.vision_steps=9",
        "stage.parents.vision_scenes=256",
        "stage.parents.language_steps=9",
        "stage.parents.language_texts=256",
        "stage.parents.checkpoint_every=4",
    )
    whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
    vergence("demo", "--out", whole, "--stop-after", "parents", *settings)
    command = ["demo", "--out", interrupted, "--stop-after", "parents", *settings]
    killed("line", 6, *command)
    killed("torn-state", 3, *command)
    killed("line", 3, *command)
    vergence(*command)
    for name in ("vision", "language"):
        path = Path("checkpoints") / "parents" / name / "model.safetensors"
        assert (whole / path).read_bytes() == (interrupted / path).read_bytes()
    assert timeless(whole) == timeless(interrupted)


def test_a_finished_run_started_again_changes_nothing(small_run):
    before = {path: path.read_bytes() for path in small_run.rglob("*.safetensors")}
    metrics = (small_run / "metrics.jsonl").read_bytes()
    vergence("demo", "--out", small_run, *overrides(*SMALL))
    assert before == {path: path.read_bytes() for path in small_run.rglob("*.safetensors")}
    assert metrics == (small_run / "metrics.jsonl").read_bytes()


def test_stopping_after_a_stage_and_going_on_equals_not_stopping(uninterrupted, tmp_path):
    directory = tmp_path / "run"
    vergence("demo", "--out", directory, "--stop-after", "mpo", *overrides(*SHORT))
    assert not (directory / "final").exists()
    assert "grpo" not in json.loads((directory / "summary.json").read_text())["stages"]
    vergence("demo", "--out", directory, *overrides(*SHORT))
    assert_same_run(uninterrupted, directory)


def test_a_damaged_checkpoint_is_named_and_deleting_it_does_the_stage_again(small_run, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(small_run, directory)
    (directory / "checkpoints" / "grpo" / "done.json").unlink()
    state = sorted((directory / "checkpoints" / "grpo" / "steps").glob("step-*"))[-1] / "state.pt"
    state.write_bytes(state.read_bytes()[:-1])
    done = vergence("demo", "--out", directory, *overrides(*SMALL), check=False)
    assert done.returncode == 2
    assert "damaged" in done.stderr
    assert str(state) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1

    shutil.rmtree(state.parent)  # the remedy that the message names
    shutil.rmtree(directory / "final")
    vergence("demo", "--out", directory, *overrides(*SMALL))
    assert timeless(directory) == timeless(small_run)
    final = Path("final") / "model.safetensors"
    assert (directory / final).read_bytes() == (small_run / final).read_bytes()
