"""The learning-rate schedule of a stage grpo whose updates are fewer than its keys say."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from families import picture_problems, tiny_policy
from rich.console import Console

from vergence.recipe.load import load_recipe
from vergence.run.progress import Progress, Verbosity
from vergence.stages.run_recipe import run_recipe

RECIPE = """
name = "scheduled"
device = "cpu"
threads = 1
[data]
type = "files"
train = "{folder}/data.jsonl"
tuning = "{folder}/data.jsonl"
test = "{folder}/data.jsonl"
[[stage]]
type = "load"
path = "{folder}/llava-0"
[[stage]]
type = "grpo"
steps = {steps}
prompts_per_step = 4
minibatch_size = 2
checkpoint_every = 3
sampling = {{ num_completions = 4, max_new_tokens = 4 }}
reward = {{ preset = "rules", overlong = 1.0, overlong_margin = 1.0 }}
buffer = {{ effective_on = "total", strategy = "drop" }}
optimizer = {{ schedule = "cosine", floor = 0.0 }}
budget = {budget}
evaluation = {{ every = 99, problems = 2, blank_problems = 0 }}
monitor = {{ mode = "off" }}
"""


def lines_of(tmp_path: Path, *, steps: int, budget: str) -> list[Mapping[str, Any]]:
    """What the stage logs, a step a line."""
    tiny_policy("llava", tmp_path)
    rows = [
        {"id": one.id, "question": one.question, "images": [image.path for image in one.images], "answer": one.answer}
        for one in picture_problems(tmp_path / "pictures", 4)
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(folder=tmp_path, steps=steps, budget=budget))
    out = tmp_path / "run"
    run_recipe(load_recipe(str(path)), out, Progress(Console(quiet=True), Verbosity.QUIET), stop_after=None)
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def test_a_step_with_few_updates_goes_as_far_as_one_with_many(tmp_path: Path) -> None:
    """Groups that teach nothing are left out, and the schedule ends with the last step all the same."""
    lines = lines_of(tmp_path, steps=6, budget="{}")
    assert 6 == len(lines)
    factors = {line["step"]: line["learning_rate_factor"] for line in lines if "learning_rate_factor" in line}
    assert factors
    for step, factor in factors.items():  # the mean over the step's updates, of which there may be one
        assert cosine((step + 1) / 6) < factor <= cosine(step / 6) + 1e-9


def test_a_stage_that_its_budget_ends_has_gone_through_its_schedule(tmp_path: Path) -> None:
    """The steps alone would leave it at the beginning: a handful of 500."""
    lines = lines_of(tmp_path, steps=500, budget="{ tokens = 300 }")
    assert 4 <= len(lines) <= 20
    spent = [0.0, *(line["spent/tokens"] for line in lines)]
    for before, line in zip(spent, lines, strict=False):
        if "learning_rate_factor" in line:
            assert (
                pytest.approx(cosine(max(before / 300, line["step"] / 500)), abs=0.01) == line["learning_rate_factor"]
            )
    assert spent[-2] / 300 > 0.75
