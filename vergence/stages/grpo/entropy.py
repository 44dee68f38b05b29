"""The weight of the entropy bonus: none, a fixed one, or one that adapts itself to the entropy (Skywork-OR1)."""

import math
from typing import Any, Protocol, final, runtime_checkable

import torch

from vergence.loss.entropy import adapted_weight, applied_weight
from vergence.recipe.objective import EntropySection


@runtime_checkable
class EntropyWeight(Protocol):
    """What the entropy of a token is multiplied by; the product is taken off the loss."""

    def begin(self) -> float:
        """At the beginning of an update: its weight."""
        ...

    def note(self, entropy: torch.Tensor) -> None:
        """Entropies [N] of the tokens of a part of the update."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What later updates depend on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        ...


@final
class FixedEntropy:
    """The same weight at every update; 0 is no bonus."""

    def __init__(self, weight: float) -> None:
        self._weight = weight

    def begin(self) -> float:
        """The weight."""
        return self._weight

    def note(self, entropy: torch.Tensor) -> None:
        """Nothing depends on it."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing lasts."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing lasts."""


NO_BONUS = FixedEntropy(0.0)


@final
class AdaptiveEntropy:
    """Skywork-OR1's alpha: it begins at 0, and follows the mean entropy of the tokens of the update before.

    Differs from the paper, which reads the entropy of the very update: here the parts of an update are computed one by
    one, and its mean is known only after the last.
    """

    def __init__(self, *, target: float, step: float, largest: float) -> None:
        self._target = target
        self._step = step
        self._largest = largest
        self._weight = 0.0
        self._entropy = math.inf
        """Of the last whole update; before the first there is nothing to answer to."""
        self._sum = 0.0
        self._tokens = 0

    def begin(self) -> float:
        """Move by one step for the update that has ended, if there was one, and say what counts now."""
        if self._tokens:
            self._entropy = self._sum / self._tokens
            self._weight = adapted_weight(
                self._weight, self._entropy, target=self._target, step=self._step, largest=self._largest
            )
            self._sum, self._tokens = 0.0, 0
        return applied_weight(self._weight, self._entropy, target=self._target)

    def note(self, entropy: torch.Tensor) -> None:
        """Entropies [N] of the tokens of a part of the update."""
        self._sum += float(entropy.detach().sum(dtype=torch.float64))
        self._tokens += entropy.numel()

    def state_dict(self) -> dict[str, Any]:
        """The weight, the last entropy, and what has been seen of the update since."""
        return {"weight": self._weight, "entropy": self._entropy, "sum": self._sum, "tokens": self._tokens}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._weight, self._entropy = state["weight"], state["entropy"]
        self._sum, self._tokens = state["sum"], state["tokens"]


def entropy_for(section: EntropySection) -> EntropyWeight:
    """The entropy bonus of a recipe."""
    match section.bonus:
        case "none" | "fixed":
            return FixedEntropy(section.weight)
        case "adaptive":
            return AdaptiveEntropy(target=section.target, step=section.step, largest=section.largest)
