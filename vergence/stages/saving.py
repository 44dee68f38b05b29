"""How a stage hands its policy on, and what its row of the stage table says."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vergence.model.policy import Policy
from vergence.model.save import save_policy
from vergence.run.checkpoint import whole_folder
from vergence.run.directory import StageRow
from vergence.run.stage_run import StageRun
from vergence.stages.context import Context


def save_stage_policy(policy: Policy, label: str, context: Context) -> str:
    """Save as `checkpoints/LABEL/policy`; returns that path relative to the run directory."""
    folder = context.directory.stage_folder(label) / "policy"
    with whole_folder(folder) as target:
        save_policy(policy, target, example_question=context.tuning()[0].question)
    return str(folder.relative_to(context.directory.path))


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
