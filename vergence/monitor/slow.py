"""A slow copy of the policy: an exponential moving average of its trained weights (GRPO-CARE's reference).

slow <- decay * slow + (1 - decay) * now,  every so many steps
"""

from typing import Any, final

import torch

from vergence.model.policy import Policy


@final
class SlowCopy:
    """A second model whose trained weights follow those of the first; the others stay as they were loaded."""

    def __init__(self, policy: Policy, copy: Policy, *, decay: float, every: int) -> None:
        self._policy = policy
        self._copy = copy
        self._decay = decay
        self._every = every

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """After the updates of a step; nothing happens in most of them."""
        if (step + 1) % self._every:
            return
        slow = dict(self._copy.model.named_parameters())
        for name, parameter in self._policy.model.named_parameters():
            if parameter.requires_grad:
                slow[name].lerp_(parameter, 1 - self._decay)

    def state_dict(self) -> dict[str, Any]:
        """The copy's version of what is trained."""
        slow = dict(self._copy.model.named_parameters())
        trained = [name for name, parameter in self._policy.model.named_parameters() if parameter.requires_grad]
        return {name: slow[name].detach() for name in trained}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        slow = dict(self._copy.model.named_parameters())
        for name, value in state.items():
            slow[name].copy_(value)
