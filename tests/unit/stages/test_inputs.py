"""Every file that a recipe names is an input by its key, and so is every picture that no data file holds."""

import hashlib
import json
from pathlib import Path

import pytest

from unit.data.formats import picture_bytes, write_lines, write_parquet, write_saved
from vergence.data.layouts.known import LAYOUTS
from vergence.data.preferences import check_preferences
from vergence.data.problems import check_problems
from vergence.data.source import Source
from vergence.data.store import ImageStore
from vergence.recipe.load import load_recipe
from vergence.recipe.schema import Recipe
from vergence.stages.inputs import SeenPictures, data_files, input_files, model_files
from vergence.stages.sources import source_of

ROW = {"id": "7", "question": "sum?", "images": ["7.png"], "answer": "1", "target": "one"}
PAIR = {"question": "sum?", "images": ["7.png"], "chosen": "1", "rejected": "2"}
RECIPE = """
name = "all"
[data]
type = "files"
train = "train.jsonl"
tuning = "shards"
test = "test-*.parquet"
captions = "train.jsonl"
probe = "saved"
[[stage]]
type = "assemble"
vision = "tower"
language = "language"
adapter = "whole"
[[stage]]
type = "load"
name = "again"
path = "updates"
[[stage]]
type = "reward_model"
pairs_file = "pairs.jsonl"
held_out_file = "held.jsonl"
[[stage]]
type = "load_reward_model"
path = "judge"
prompts = 0
[[stage]]
type = "mpo"
rounds = 1
pairs = { judge = "rules", file = "pairs.jsonl" }
[[stage]]
type = "grpo"
buffer = { warm = "warm" }
[[stage.reward.functions]]
name = "short"
function = "mine.rewards:short"
[[stage.reward.functions]]
name = "packaged"
function = "math:hypot"
"""


def model(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "README.md", ".lock"):
        (folder / name).write_text("{}")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    write_lines(tmp_path / "train.jsonl", [ROW])
    for name in ("pairs", "held"):
        write_lines(tmp_path / f"{name}.jsonl", [PAIR])
    (tmp_path / "shards").mkdir()
    for number in range(2):
        write_lines(tmp_path / "shards" / f"{number}.jsonl", [ROW])
        write_parquet(tmp_path / f"test-{number}.parquet", [ROW])
    write_parquet(tmp_path / "train-0.parquet", [ROW])  # fits no pattern
    write_saved(tmp_path / "saved", [ROW, ROW], shards=2)
    for name in ("tower", "language", "whole", "updates", "judge/reward_model"):
        model(tmp_path / name)
    (tmp_path / "updates" / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(tmp_path / "whole")})
    )
    calibration = {"calibration": {"median": 0.0, "spread": 1.0}}
    (tmp_path / "judge" / "reward_model" / "reward.json").write_text(json.dumps(calibration))
    (tmp_path / "warm").write_text("")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "rewards.py").write_text("")
    (tmp_path / "all.toml").write_text(RECIPE)
    return load_recipe(str(tmp_path / "all.toml"))


def test_every_file_of_a_recipe_is_an_input(recipe: Recipe, tmp_path: Path) -> None:
    plain = ["config.json", "model.safetensors"]
    expected = {
        "data.train": ["train.jsonl"],
        "data.tuning": ["0.jsonl", "1.jsonl"],
        "data.test": ["test-0.parquet", "test-1.parquet"],
        "data.captions": ["train.jsonl"],
        "data.probe": ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow", "state.json"],
        "stage.assemble.vision": plain,
        "stage.assemble.language": plain,
        "stage.assemble.adapter": plain,
        "stage.again.path": ["adapter_config.json", "base/config.json", "base/model.safetensors", *plain],
        "stage.reward_model.pairs_file": ["pairs.jsonl"],
        "stage.reward_model.held_out_file": ["held.jsonl"],
        "stage.load_reward_model.path": [*plain, "reward.json"],
        "stage.mpo.pairs.file": ["pairs.jsonl"],
        "stage.grpo.buffer.warm": ["warm"],
        "stage.grpo.reward.functions.short": ["rewards.py"],
    }
    found = input_files(recipe)
    assert expected == {key: sorted(files) for key, files in found.items()}
    assert all(path.is_file() and path.is_relative_to(tmp_path) for files in found.values() for path in files.values())


def test_a_built_in_task_has_no_files_of_the_users(tmp_path: Path) -> None:
    assert {} == input_files(load_recipe("digits"))


def test_the_meta_file_of_mmpr_and_what_it_names_are_inputs(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write_lines(tmp_path / "a" / "x.jsonl", [PAIR])
    meta = {"one": {"root": "images", "annotation": "a/x.jsonl"}}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    found = data_files(Source(tmp_path / "meta.json", LAYOUTS["mmpr"]))
    assert {"a/x.jsonl", "meta.json"} == set(found)


def test_updates_of_a_model_that_is_gone_have_their_own_files(tmp_path: Path) -> None:
    """That the model is gone is said by whoever loads it."""
    model(tmp_path / "updates")
    (tmp_path / "updates" / "adapter_config.json").write_text('{"base_model_name_or_path": "nowhere"}')
    assert {"adapter_config.json", "config.json", "model.safetensors"} == set(model_files(tmp_path / "updates"))


@pytest.mark.parametrize("network", [False, True])
def test_pictures_are_noted_unless_a_digest_covers_them(recipe: Recipe, tmp_path: Path, network: bool) -> None:
    """As files they are; as bytes in a row they are part of the data file, unless they may be from the network."""
    (tmp_path / "7.png").write_bytes(picture_bytes(7))
    inside = ROW | {"id": "8", "images": [{"bytes": picture_bytes(8), "path": None}]}
    store = ImageStore(tmp_path / "store", limit_bytes=10**6)
    write_parquet(tmp_path / "inside.parquet", [inside])
    data = recipe.data.model_copy(update={"network": network})
    seen = SeenPictures(data)
    for name in ("train.jsonl", "inside.parquet"):
        source = Source(tmp_path / name, store=store)
        check_problems(source, also=seen.of_problems(name, source))
    expected = {"train.jsonl": {"7"}, "inside.parquet": {"8"}} if network else {"train.jsonl": {"7"}}
    assert expected == {key: set(found) for key, found in seen.found.items()}
    assert [hashlib.sha256(picture_bytes(7)).hexdigest()] == [image.sha256 for image in seen.found["train.jsonl"]["7"]]


def test_pictures_of_pairs_are_noted_by_number_because_pairs_need_no_id(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "7.png").write_bytes(picture_bytes(7))
    more = [PAIR | {"chosen": "3"}, PAIR | {"images": [], "question": "why?"}]
    write_lines(tmp_path / "pairs.jsonl", [PAIR, *more])
    source, seen = source_of(recipe.data, tmp_path / "pairs.jsonl", "pairs"), SeenPictures(recipe.data)
    assert 3 == check_preferences(source, seen.of_pairs("pairs", source))
    assert {"pair 1", "pair 2"} == set(seen.found["pairs"])
