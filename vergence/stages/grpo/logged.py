"""What the loop says about a step: figures and the rollouts that are kept for the report."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vergence.advantage.judging import TOLERANCE
from vergence.run.rollout_rows import judged_rows, replay_rows
from vergence.types import Draw, JudgedGroup, Metrics, Origin, RolloutGroup


def generation_metrics(groups: Sequence[RolloutGroup], seconds: float) -> Metrics:
    """How long the completions are, and how fast they came."""
    lengths = np.array([len(one.token_ids) for group in groups for one in group.completions])
    cut = np.array([one.finish == "length" for group in groups for one in group.completions])
    return {
        "rollout/length_mean": float(lengths.mean()),
        "rollout/truncated": float(cut.mean()),
        "rollout/tokens": float(lengths.sum()),
        "tokens_per_second": float(lengths.sum()) / seconds,
    }


def idle_length(judged: Sequence[JudgedGroup]) -> float:
    """Mean number of tokens of the completions that teach nothing; 0 where all do."""
    lengths = [
        len(completion.token_ids)
        for group in judged
        for completion, advantage in zip(group.scored.group.completions, group.advantages, strict=True)
        if abs(advantage) <= TOLERANCE
    ]
    return float(np.mean(lengths)) if lengths else 0.0


def mean_metrics(updates: Sequence[Metrics]) -> Metrics:
    """Means over the updates of a step that have the figure; `updates` counts them all.

    A step without any sample has no update.
    """
    names = dict.fromkeys(name for one in updates for name in one)
    means = {name: float(np.mean([one[name] for one in updates if name in one])) for name in names}
    return means | {"updates": float(len(updates))}


def shown_rows(judged: Sequence[JudgedGroup], draws: Sequence[Draw]) -> list[dict[str, Any]]:
    """Two effective groups, one that taught nothing, and two samples out of the buffer, where there are such."""
    effective = [group for group in judged if group.effective][:2]
    dead = [group for group in judged if not group.effective][:1]
    replayed = [draw for draw in draws if draw.origin is Origin.REPLAY][:2]
    return judged_rows(effective + dead) + replay_rows(replayed)
