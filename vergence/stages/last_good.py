"""The last state of a stage that was measured and found healthy: what a roll-back returns to."""

from collections.abc import Mapping
from typing import Any, final

import torch

from vergence.run.checkpoint import Stateful


@final
class LastGood:
    """Keeps a copy, in the host's memory, of the state of some parts.

    A copy is taken before a step's updates, because that is the state which the step's monitors look at, and it is kept
    only if they find nothing: `consider`, then `approve` or `dismiss`.
    """

    def __init__(self, parts: Mapping[str, Stateful]) -> None:
        self._parts = dict(parts)
        self._candidate: dict[str, Any] = {}
        self._good: dict[str, Any] = {}

    @property
    def step(self) -> int | None:
        """The step before whose updates the good state was; None where there is none."""
        return self._good.get("step")

    def consider(self, step: int) -> None:
        """Copy the state as it is now, before the updates of `step`."""
        self._candidate = {
            "step": step,
            "parts": {name: copied(part.state_dict()) for name, part in self._parts.items()},
        }

    def approve(self) -> None:
        """What was considered is good, and takes the place of what was so far."""
        self._good = self._candidate or self._good
        self._candidate = {}

    def dismiss(self) -> None:
        """What was considered is not good."""
        self._candidate = {}

    def restore(self) -> None:
        """Put the good state in place, bit by bit; it stays good, so this can be done again."""
        for name, part in self._parts.items():
            # a copy, because an optimizer goes on with the very tensors that it is given
            part.load_state_dict(copied(self._good["parts"][name]))

    def state_dict(self) -> dict[str, Any]:
        """The good state, if there is one."""
        return self._good

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._good, self._candidate = dict(state), {}


def copied(state: Any) -> Any:
    """Nested state with tensors of its own, on the host."""
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, Mapping):
        return {key: copied(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(copied(value) for value in state)
    return state
