"""Runs of a study that begin later are held to the inputs of those that began before."""

from pathlib import Path

import pytest

from vergence.errors import DirectoryError
from vergence.recipe.load import load_recipe
from vergence.recipe.schema import Recipe
from vergence.run.digests import NOTHING, Digests, Inputs, digests_of, read_digests, unchanged, write_digests
from vergence.study.begin import begin_run
from vergence.study.held import HeldInputs

RECIPE = """
name = "own"
[data]
type = "files"
train = "train.jsonl"
tuning = "tuning.jsonl"
test = "test.jsonl"
[[stage]]
type = "load"
path = "model"
[[stage]]
type = "grpo"
reward = { preset = "rules", functions = [{ name = "short", function = "rewards:short" }] }
"""


def recipe_of(folder: Path, *overrides: str) -> Recipe:
    (folder / "own.toml").write_text(RECIPE)
    return load_recipe(str(folder / "own.toml"), overrides)


def inputs_of(folder: Path) -> Inputs:
    files = {
        "data.train": "train.jsonl",
        "stage.load.path": "weights",
        "stage.grpo.reward.functions.short": "rewards.py",
    }
    return Inputs({key: {name: folder / name} for key, name in files.items()})


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study whose run `a` has begun with the files beside it."""
    for name in ("train.jsonl", "weights", "rewards.py"):
        (tmp_path / name).write_text(name)
    run = tmp_path / "study" / "runs" / "a" / "seed-0"
    begin_run(run, recipe_of(tmp_path), None)
    write_digests(run / "digests.json", digests_of(inputs_of(tmp_path)))
    return tmp_path / "study"


def keys(digests: Digests) -> set[str]:
    return {key.split(".")[-1] for key in digests.files}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], {"train", "path", "short"}),
        (["stage.grpo.steps=3", "seed=5"], {"train", "path", "short"}),
        (["stage.load.path=other"], {"train", "short"}),
        (["stage.load.name=first"], {"train", "short"}),
        (["data.prompt='{question} Think.'"], set()),
    ],
    ids=["same", "other-steps", "other-model", "other-label", "other-data"],
)
def test_a_run_is_held_to_inputs_that_it_has_in_common(study: Path, tmp_path: Path, overrides, expected) -> None:
    held = HeldInputs(study).of(recipe_of(tmp_path, *overrides))
    assert expected == keys(held)


def test_a_run_that_begins_later_finds_that_the_data_were_changed(study: Path, tmp_path: Path) -> None:
    recipe, run = recipe_of(tmp_path, "stage.grpo.steps=3"), study / "runs" / "b" / "seed-0"
    begin_run(run, recipe, None, HeldInputs(study).of(recipe))
    assert not unchanged(run / "digests.json", inputs_of(tmp_path), begun=False)[1]
    (tmp_path / "train.jsonl").write_text("edited")
    with pytest.raises(DirectoryError, match=r"seed-0: inputs .* data.train: .*train\.jsonl: 6 bytes, expected 11"):
        unchanged(run / "digests.json", inputs_of(tmp_path), begun=False)


def test_the_record_of_shared_stages_is_kept_beside_it(study: Path, tmp_path: Path) -> None:
    recipe, parent = recipe_of(tmp_path), tmp_path / "parent"
    begin_run(parent, recipe, None)
    task = digests_of(Inputs({"data": {"x": tmp_path / "weights"}}))
    write_digests(parent / "digests.json", task)
    begin_run(study / "runs" / "b" / "seed-0", recipe, parent, HeldInputs(study).of(recipe))
    found = read_digests(study / "runs" / "b" / "seed-0" / "digests.json") or NOTHING
    assert {"data", "train", "path", "short"} == keys(found)
    assert task.files["data"] == found.files["data"]
    assert found.held


def test_what_a_built_in_task_writes_belongs_to_its_run(study: Path, tmp_path: Path) -> None:
    record = study / "runs" / "a" / "seed-0" / "digests.json"
    write_digests(record, digests_of(Inputs({"data": {"x": tmp_path / "weights"}})))
    assert NOTHING.files == HeldInputs(study).of(recipe_of(tmp_path)).files


def test_runs_that_began_meanwhile_are_seen(study: Path, tmp_path: Path) -> None:
    held, recipe = HeldInputs(study), recipe_of(tmp_path, "stage.load.path=other")
    assert {"train", "short"} == keys(held.of(recipe))
    run = study / "shared" / "seed-0" / "load-abc"
    begin_run(run, recipe, None)
    write_digests(run / "digests.json", digests_of(inputs_of(tmp_path)))
    assert {"train", "path", "short"} == keys(held.of(recipe))
