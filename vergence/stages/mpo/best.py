"""Which policy a stage ends with: the last, or the best measured one, and when to stop looking for a better one."""

import math
from typing import Any, Protocol, final, runtime_checkable

import torch

from vergence.errors import RunError
from vergence.types import Metrics
from vergence.update.learner import Learner


@runtime_checkable
class Ending(Protocol):
    """Looks at what was measured, and decides."""

    @property
    def ended(self) -> bool:
        """Whether the stage is to stop after this step."""
        ...

    def look(self, step: int, measured: Metrics, learner: Learner) -> Metrics:
        """What a step measured, nothing included."""
        ...

    def settle(self, learner: Learner) -> float:
        """At the end: put the weights of the chosen policy in place; the step that it comes from, inf for the last."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What later steps depend on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        ...


@final
class LastPolicy:
    """All rounds, and the policy as they leave it."""

    ended = False

    def look(self, step: int, measured: Metrics, learner: Learner) -> Metrics:
        """Nothing to say."""
        return {}

    def settle(self, learner: Learner) -> float:
        """The weights stay."""
        return math.inf

    def state_dict(self) -> dict[str, Any]:
        """Nothing lasts."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing lasts."""


@final
class BestPolicy:
    """Keeps the trained weights of the best measurement so far, and stops after so many without a better one.

    Of equal measurements the first is the best. The weights are kept on the CPU and are part of the state.
    """

    def __init__(self, metric: str, *, smallest: bool, patience: int) -> None:
        self._metric = metric
        self._sign = -1.0 if smallest else 1.0
        self._patience = patience
        self._score = -math.inf
        self._step = -1
        self._misses = 0
        self._weights: dict[str, torch.Tensor] = {}

    @property
    def ended(self) -> bool:
        """Whether `patience` measurements in a row were no better."""
        return self._misses >= self._patience

    def look(self, step: int, measured: Metrics, learner: Learner) -> Metrics:
        """Compare, where the tuning split was measured. Raises RunError if the metric was not among the figures."""
        if "tuning/greedy_accuracy" not in measured:
            return {}
        if self._metric not in measured:
            raise RunError(
                f"mpo: early_stopping.metric {self._metric} was not measured on the tuning split; "
                "its rows may lack what the figure needs (docs/data.md); choose another metric"
            )
        score = self._sign * measured[self._metric]
        if score > self._score:
            self._score, self._step, self._misses = score, step, 0
            weights = learner.state_dict()["weights"]
            self._weights = {name: weight.cpu().clone() for name, weight in weights.items()}
        else:
            self._misses += 1
        return {"mpo/best_step": float(self._step)}

    def settle(self, learner: Learner) -> float:
        """The weights of the best measurement; the last ones stay if nothing was measured."""
        if not self._weights:
            return math.inf
        learner.load_state_dict(learner.state_dict() | {"weights": self._weights})
        return float(self._step)

    def state_dict(self) -> dict[str, Any]:
        """The best so far, its weights included."""
        return {"score": self._score, "step": self._step, "misses": self._misses, "weights": dict(self._weights)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._score, self._step, self._misses = state["score"], state["step"], state["misses"]
        self._weights = dict(state["weights"])
