"""`compute.gradient_checkpointing` reaches every stage that trains a vision-language model."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from families import picture_problems, tiny_policy
from rich.console import Console
from transformers import modeling_utils

from flow.test_mpo_rounds import alternating
from vergence.recipe.load import load_recipe
from vergence.run.progress import Progress, Verbosity
from vergence.run.stage_run import StageRun
from vergence.stages.context import Context
from vergence.stages.grpo import build
from vergence.stages.run_recipe import run_recipe
from vergence.update.learner import Learner

RECIPE = """
name = "checkpointing"
device = "cpu"
threads = 1
[data]
type = "files"
train = "{folder}/data.jsonl"
captions = "{folder}/data.jsonl"
tuning = "{folder}/data.jsonl"
test = "{folder}/data.jsonl"
[[stage]]
type = "load"
path = "{model}"
[[stage]]
type = "align"
max_steps = 1
batch_size = 2
target_accuracy = 1.0
evaluation = {{ every = 9, problems = 1, blank_problems = 0 }}
max_new_tokens = 2
[[stage]]
type = "reward_model"
prompts = 4
held_out = 2
steps = 1
batch_size = 2
sampling = {{ num_completions = 2, max_new_tokens = 4 }}
[[stage]]
type = "mpo"
rounds = 1
steps_per_round = 1
batch_size = 2
pairs.file = "{folder}/pairs.jsonl"
evaluation = {{ every = 9, problems = 1, blank_problems = 0 }}
monitor = {{ mode = "off" }}
sampling = {{ num_completions = 2, max_new_tokens = 4 }}
[[stage]]
type = "grpo"
steps = 1
prompts_per_step = 2
minibatch_size = 4
sampling = {{ num_completions = 2, max_new_tokens = 4 }}
reward.preset = "rules"
evaluation = {{ every = 9, problems = 1, blank_problems = 0 }}
monitor = {{ mode = "off" }}
"""
TRAINING = {"align", "reward_model", "mpo", "grpo"}


def written(folder: Path) -> Path:
    rows = [
        {"id": one.id, "question": one.question, "images": [image.path for image in one.images]}
        for one in picture_problems(folder / "pictures", 6)
    ]
    more = {"data": {"answer": "2", "target": "it is 2"}, "pairs": {"chosen": "it is 2", "rejected": "no"}}
    for name, keys in more.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row | keys) + "\n" for row in rows))
    model = tiny_policy("llava", folder / "models").model.name_or_path
    (folder / "recipe.toml").write_text(RECIPE.format(folder=folder, model=model))
    return folder / "recipe.toml"


@pytest.mark.parametrize("asked", [True, False])
def test_every_stage_that_trains_computes_its_layers_again_if_asked_to_and_none_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    """Counted where transformers hands a layer over to be computed again, within the updates of each stage."""
    stage = [""]
    updates, layers = Counter[str](), Counter[str]()
    steps, update, checkpoint = StageRun.steps, Learner.update, modeling_utils.checkpoint

    def named(run: StageRun, *arguments) -> Iterator[int]:  # type: ignore[no-untyped-def]
        stage[0] = run.stage
        yield from steps(run, *arguments)

    def counted(learner: Learner, *arguments):  # type: ignore[no-untyped-def]
        updates[stage[0]] += 1
        return update(learner, *arguments)

    def handed_over(*arguments, **keywords):  # type: ignore[no-untyped-def]
        layers[stage[0]] += torch.is_grad_enabled()
        return checkpoint(*arguments, **keywords)

    monkeypatch.setattr(StageRun, "steps", named)
    monkeypatch.setattr(Learner, "update", counted)
    monkeypatch.setattr(modeling_utils, "checkpoint", handed_over)
    monkeypatch.setattr(Context, "rules", lambda context: alternating)
    monkeypatch.setattr(build, "reward_for", lambda *arguments: (alternating, {}))
    recipe = load_recipe(str(written(tmp_path)), [f"compute.gradient_checkpointing={str(asked).lower()}"])
    run_recipe(recipe, tmp_path / "run", Progress(Console(quiet=True), Verbosity.QUIET), stop_after=None)
    assert TRAINING == {name for name, count in updates.items() if count}
    assert (TRAINING if asked else set()) == {name for name, count in layers.items() if count}
