"""The keys of stages reward_model and load_reward_model, and of [scores]."""

from pathlib import Path
from typing import Any

import pytest

from vergence.errors import RecipeError
from vergence.recipe.load import load_recipe, parse_recipe, to_toml

LOAD = {"type": "load", "path": "/m"}
FILES = {"type": "files", "train": "/a", "tuning": "/b", "test": "/c"}


def recipe_of(*stages: dict[str, Any], **keys: Any):
    return parse_recipe({"name": "r", "data": FILES, "stage": [LOAD, *stages]} | keys, "r.toml")


def test_a_loaded_reward_model_serves_whoever_needs_one() -> None:
    loaded = {"type": "load_reward_model", "path": "/rm"}
    stages = recipe_of(loaded, {"type": "mpo"}, {"type": "grpo"}).stage
    assert ("vergence", Path("/rm"), ("policy",)) == (stages[1].kind, stages[1].path, stages[1].needs())
    assert () == recipe_of(loaded | {"prompts": 0}).stage[1].needs()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, 'kind = "vergence" needs the key "path"'),
        ({"kind": "classifier"}, 'kind = "classifier" needs the key "path"'),
        ({"kind": "http", "path": "/rm"}, 'kind = "http" needs the key "url"'),
        ({"kind": "http", "url": "http://h", "path": "/rm"}, 'kind = "http" has no use for the key "path"'),
        ({"path": "/rm", "url": "http://h"}, 'kind = "vergence" has no use for the key "url"'),
        ({"kind": "grpc", "url": "http://h"}, "stage.1.kind"),
    ],
)
def test_a_loaded_reward_model_is_named_as_its_kind_asks(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipe_of({"type": "load_reward_model"} | keys)


def test_nothing_to_learn_from_is_refused() -> None:
    nothing = dict.fromkeys(("rule", "reasoning", "corruption", "elsewhere", "wrong_image"), 0.0)
    with pytest.raises(RecipeError, match="every share of sources is 0 and there is no pairs_file"):
        recipe_of({"type": "reward_model", "sources": nothing})
    recipe_of({"type": "reward_model", "sources": nothing, "pairs_file": "/p.jsonl"})
    with pytest.raises(RecipeError, match=r"stage\.1\.sources\.rule"):
        recipe_of({"type": "reward_model", "sources": {"rule": 1.5}})


def test_low_rank_updates_of_a_reward_model_are_refused_and_not_left_out_in_silence() -> None:
    with pytest.raises(RecipeError, match=r"train\.language\.lora: a reward model is trained in full"):
        recipe_of({"type": "reward_model", "train": {"language": {"lora": {"rank": 2}}}})


def test_paths_are_relative_to_the_recipe_and_survive_being_written(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        'name = "r"\n[data]\ntype = "files"\ntrain = "a"\ntuning = "b"\ntest = "c"\n[scores]\ndisk = "kept/s.jsonl"\n'
        '[[stage]]\ntype = "load"\npath = "m"\n[[stage]]\ntype = "reward_model"\npairs_file = "p.jsonl"\n'
        'held_out_file = "h.jsonl"\n[[stage]]\ntype = "load_reward_model"\nname = "other"\npath = "rm"\n'
    )
    recipe = load_recipe(str(tmp_path / "r.toml"))
    stage, loaded = recipe.stage[1:]
    assert [tmp_path / "p.jsonl", tmp_path / "h.jsonl"] == [stage.pairs_file, stage.held_out_file]
    assert (tmp_path / "rm", tmp_path / "kept" / "s.jsonl") == (loaded.path, recipe.scores.disk)
    (tmp_path / "again.toml").write_text(to_toml(recipe))
    assert recipe == load_recipe(str(tmp_path / "again.toml"))


def test_as_many_problems_as_calibrate_have_to_be_there() -> None:
    digits = {"type": "digits", "train": 100}
    with pytest.raises(RecipeError, match=r'\("load_reward_model"\): prompts = 128, .* has 100 problems'):
        parse_recipe(
            {"name": "r", "data": digits, "stage": [LOAD, {"type": "load_reward_model", "path": "/rm"}]}, "r.toml"
        )
