"""How a stage hands its policy on, and what its row of the stage table says."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vergence.model.lora import attach, load_low_rank_state, merge, save_low_rank
from vergence.model.parameters import trained_parameters
from vergence.model.policy import Policy, load_policy
from vergence.model.save import save_all_but_weights, save_policy
from vergence.recipe.sections import Roles
from vergence.run.checkpoint import whole_folder
from vergence.run.directory import StageRow
from vergence.run.stage_run import StageRun
from vergence.stages.context import Context
from vergence.stages.parts import low_rank, training


def save_stage_policy(policy: Policy, label: str, context: Context) -> str:
    """Save as `checkpoints/LABEL/policy`; returns that path relative to the run directory."""
    folder = context.directory.stage_folder(label) / "policy"
    with whole_folder(folder) as target:
        save_policy(policy, target, example_question=context.tuning()[0].question)
    return str(folder.relative_to(context.directory.path))


def save_trained_policy(policy: Policy, roles: Roles, label: str, context: Context, begun: Path) -> str:
    """Save what a stage has trained of the checkpoint `begun`, as `checkpoints/LABEL/policy`.

    Low-rank updates go into the weights, unless they are to be saved alone. Weights in 4 bits and in bfloat16 are only
    for training: the updates are put into the full ones, read again.
    """
    wanted = low_rank(roles)
    if wanted and roles.save == "updates":
        folder = context.directory.stage_folder(label) / "policy"
        with whole_folder(folder) as target:
            save_low_rank(policy, begun, target)
            save_all_but_weights(policy, target, example_question=context.tuning()[0].question)
        return str(folder.relative_to(context.directory.path))
    if context.recipe.compute.frozen_weights != "full":
        policy = _with_full_weights(policy, roles, context, begun)
    if wanted:
        merge(policy)
    return save_stage_policy(policy, label, context)


def _with_full_weights(policy: Policy, roles: Roles, context: Context, begun: Path) -> Policy:
    # on the host: the device need not have room for a model in float32
    full, wanted = load_policy(begun, torch.device("cpu"), context.recipe.compute.dtype), low_rank(roles)
    if wanted:
        attach(full, wanted, seed=0)  # whatever is drawn is replaced
    trained = trained_parameters(policy, training(roles))
    load_low_rank_state(full, {name: one.detach() for found in trained.values() for name, one in found.items()})
    return full


def tuning_row(run: StageRun, context: Context, *, upto: float = math.inf) -> StageRow:
    """The stage's row, from its lines in metrics.jsonl, so that a resumed stage says the same.

    `upto` is the step that the saved policy comes from, where that is not the last one.
    """
    lines = stage_lines(context, run.stage)
    taken = [line for line in lines if "tuning/greedy_accuracy" in line and line["step"] <= upto]
    measured: Mapping[str, Any] = taken[-1] if taken else {}
    ratios = [line["effective/fresh"] for line in lines if "effective/fresh" in line]
    window = max(1, len(ratios) // 10)
    return StageRow(
        greedy_accuracy=measured.get("tuning/greedy_accuracy"),
        sampled_accuracy=measured.get("tuning/sampled_accuracy"),
        format_rate=measured.get("tuning/format_rate"),
        hallucination_rate=measured.get("tuning/hallucination_rate"),
        effective_ratio_first=float(np.mean(ratios[:window])) if ratios else None,
        effective_ratio_last=float(np.mean(ratios[-window:])) if ratios else None,
        seconds=run.seconds(),
        split="tuning" if measured else None,
    )


def stage_lines(context: Context, stage: str) -> list[Mapping[str, Any]]:
    """The stage's lines of metrics.jsonl."""
    lines = map(json.loads, context.directory.metrics.read_text().splitlines())
    return [line for line in lines if line["stage"] == stage]
