"""A slow copy of the policy: an exponential moving average of its trained weights (GRPO-CARE's reference).

slow <- decay * slow + (1 - decay) * now,  every so many steps
"""

from typing import Any, final

import torch

from vergence.model.weights_copy import WeightsCopy


@final
class SlowCopy:
    """Weights that follow the trained ones of a policy; the others are the policy's own."""

    def __init__(self, weights: WeightsCopy, *, decay: float, every: int) -> None:
        self._weights = weights
        self._decay = decay
        self._every = every

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """After the updates of a step; nothing happens in most of them."""
        if (step + 1) % self._every:
            return
        for name, slow in self._weights.values.items():
            slow.lerp_(self._weights.current[name], 1 - self._decay)

    def state_dict(self) -> dict[str, Any]:
        """The copy's version of what is trained."""
        return dict(self._weights.values)

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        for name, value in state.items():
            self._weights.values[name].copy_(value)
