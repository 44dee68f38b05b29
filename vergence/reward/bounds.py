"""Bounds of the preference score: what keeps a score of any size from drowning rules that give 0 or 1.

    bound      of the scores s of a batch            range                       needs
    sigmoid    1 / (1 + exp(-s))                     0..1                        calibrated scores
    clip       min(max(s, -1), 1)                    -1..1                       calibrated scores
    zscore     (s - mean) / std over the batch       within sqrt(N - 1) of 0     nothing
    quantile   rank among the last scores            0..1                        nothing; has state
    none       s                                     any                         nothing

A bound maps the scores of all completions of one call, [N], to as many bounded scores. The last three but one know
nothing of units: the same reward follows from s and from 3 s + 7.
"""

from collections.abc import Callable
from typing import Any, final

import numpy as np

from vergence.types import Doubles

Bound = Callable[[Doubles], Doubles]
"""Scores of a batch [N] -> bounded scores [N], in the same order."""

SAME = 1e-6
"""Scores whose spread is a smaller share of their size are one number after rounding (a reward model is float32)."""
_STEEPEST = -700.0
"""exp(700) still is a number."""


def sigmoid_bound(scores: Doubles) -> Doubles:
    """[N] to 0..1: 1 / (1 + exp(-s)); a score at the calibration set's median becomes 0.5."""
    return np.asarray(1 / (1 + np.exp(-np.maximum(scores, _STEEPEST))))


def clip_bound(scores: Doubles) -> Doubles:
    """[N] to -1..1, linear in between."""
    return np.clip(scores, -1.0, 1.0)


def zscore_bound(scores: Doubles) -> Doubles:
    """[N] to (s - mean) / std, both over the batch; 0 throughout where all scores are the same.

    At most sqrt(N - 1) from 0 (Samuelson's inequality). A batch is one call of the reward: all prompts of a step.
    """
    centred = scores - scores.mean()
    spread = scores.std()
    if spread <= SAME * np.abs(scores).max():
        return np.zeros_like(scores)
    return np.asarray(centred / spread)


def no_bound(scores: Doubles) -> Doubles:
    """[N] as they come: the paper's reading (R1V2 Eq. 7)."""
    return scores


@final
class RunningQuantile:
    """To 0..1: a score's rank among the last `window` scores, those of its own batch included.

        q(s) = (number below s + half the number equal to s, itself included) / number

    Every score of a call is ranked against the same scores. The mean over a batch stays near 0.5 while the window moves
    along, so a policy whose scores rise as a whole gains nothing by it: only the order pays.
    """

    def __init__(self, window: int) -> None:
        """`window` is a number of completions."""
        self._window = window
        self._seen: Doubles = np.empty(0)

    def __call__(self, scores: Doubles) -> Doubles:
        """[N] to 0..1; equal scores become equal ranks, and a score that is alone of its kind never 0 or 1."""
        reference = np.concatenate([self._seen, scores])[-max(self._window, len(scores)) :]
        self._seen = reference[-self._window :]
        ordered = np.sort(reference)
        below = np.searchsorted(ordered, scores, side="left")
        up_to = np.searchsorted(ordered, scores, side="right")
        return np.asarray((below + up_to) / (2 * len(ordered)))

    def state_dict(self) -> dict[str, Any]:
        """The scores in the window, oldest first."""
        return {"scores": self._seen.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._seen = np.array(state["scores"], dtype=np.float64)
