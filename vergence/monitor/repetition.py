"""Responses that repeat themselves: share of repeated n-grams, and loops at the end. Costs no pass of the model."""

from collections.abc import Sequence

import numpy as np

from vergence.types import Finish, Ints, Metrics, RolloutGroup

ROUNDS = 3
"""A loop has gone round at least so often."""
SPAN = 8
"""And covers at least so many tokens: "0000" may be a number."""


def repeat_share(token_ids: Ints, size: int) -> float:
    """Share of a completion's n-grams [T - n + 1] that have occurred in it before; 0 where it is shorter than n."""
    count = len(token_ids) - size + 1
    if count < 1:
        return 0.0
    grams = np.lib.stride_tricks.sliding_window_view(np.asarray(token_ids), size)
    return 1.0 - len(np.unique(grams, axis=0)) / count


def loops(token_ids: Ints) -> bool:
    """Whether a completion ends in a pattern that was repeated `ROUNDS` times or more over `SPAN` tokens or more."""
    ids = np.asarray(token_ids)
    for period in range(1, len(ids) // ROUNDS + 1):
        different = np.flatnonzero(ids[period:] != ids[:-period])
        equal = len(ids) - period - (int(different[-1]) + 1 if len(different) else 0)
        if equal + period >= max(SPAN, ROUNDS * period):
            return True
    return False


def repetition_metrics(groups: Sequence[RolloutGroup], size: int) -> Metrics:
    """Means over all completions; only one that did not end by itself can be looping."""
    completions = [one for group in groups for one in group.completions]
    return {
        "rollout/repetition": float(np.mean([repeat_share(one.token_ids, size) for one in completions])),
        "rollout/looping": float(
            np.mean([one.finish is Finish.LENGTH and loops(one.token_ids) for one in completions])
        ),
    }
