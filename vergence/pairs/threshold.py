"""The margin threshold tau (R1V2's 7, 10, 15, whose unit the paper does not say): a number, or a quantile.

A number means the same only for one reward model. A quantile of the reward model's own score gaps means the same for
every one: with quantile 0.3 the guard turns away the three tenths of the candidates that the model is least sure of.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from vergence.errors import RunError


@runtime_checkable
class Threshold(Protocol):
    """tau, in units of the margins; what it was measured to be is part of its state."""

    def of(self, margins: Sequence[float]) -> float:
        """tau, given the margins of a round's candidates that reached the margin guard."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What later rounds depend on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        ...


@final
class Given:
    """A number that the recipe says."""

    def __init__(self, value: float) -> None:
        self._value = value

    def of(self, margins: Sequence[float]) -> float:
        """The number."""
        return self._value

    def state_dict(self) -> dict[str, Any]:
        """Nothing lasts."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing lasts."""


@final
class QuantileOfFirst:
    """The quantile of the first round's margins, kept for all rounds, so that tau does not drift with the policy.

    Between two margins it is interpolated linearly.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._measured: list[float] = []
        """The one value, once a round had margins."""

    def of(self, margins: Sequence[float]) -> float:
        """The value, measured now if it was not yet. Raises RunError if the first round has no candidate."""
        if not self._measured:
            if not margins or not all(map(math.isfinite, margins)):
                raise RunError(
                    "mpo: the threshold is a quantile of the candidates' score gaps, and the first round has no "
                    "candidate with one; sample more completions, align the model further, or give a number"
                )
            self._measured = [float(np.quantile(np.asarray(margins, dtype=np.float64), self._share))]
        return self._measured[0]

    def state_dict(self) -> dict[str, Any]:
        """The value, if it is measured."""
        return {"measured": list(self._measured)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._measured = list(state["measured"])
