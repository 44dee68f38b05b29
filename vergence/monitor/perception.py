"""Whether the policy's own responses depend on the picture; no truth is needed.

    perception KL     mean_t v_t,  v_t = exp(d) - d - 1,  d = log pi(y_t | masked picture) - log pi(y_t | picture)
    dependent share   share of tokens with v_t > tau                                                    (PAPO, VPPO)
    entropy gap       mean_t H[pi(. | masked picture)] - H[pi(. | picture)]

A KL that falls towards 0 says that the answers no longer depend on the picture; one that shoots up says that the text
has come apart. An entropy gap that falls says that the picture no longer makes the policy surer. One pass with the
pictures and one with masked pictures.
"""

from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from vergence.monitor.scores import Reader, Seen, spread_over
from vergence.types import Metrics, ScoredGroup

LEARNT_SHARE = 0.4
"""A learnt tau is what this share of the tokens exceeds at the first measurement (VPPO's top 40 %)."""


def token_divergence(logprobs: Float[Tensor, "..."], masked_logprobs: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """k3 estimate per token of KL[pi(.|picture) || pi(.|masked picture)]; d is held to +-20 and the value to 10."""
    difference = (masked_logprobs - logprobs).clamp(-20, 20)
    return (difference.exp() - difference - 1).clamp(0, 10)


def divergences(seen: Sequence[Seen], masked: Sequence[Seen]) -> Float[Tensor, "N"]:
    """v_t of the tokens of all completions, one behind the other."""
    return token_divergence(_joined([one.logprobs for one in seen]), _joined([one.logprobs for one in masked]))


def perception_summary(seen: Sequence[Seen], masked: Sequence[Seen], tau: float) -> Metrics:
    """Means over the tokens of all completions."""
    divergence = divergences(seen, masked)
    gap = _joined([one.entropy for one in masked]) - _joined([one.entropy for one in seen])
    return {
        "perception/kl": float(divergence.mean()),
        "perception/dependent_share": float((divergence > tau).float().mean()),
        "perception/entropy_gap": float(gap.mean()),
    }


@final
class Perception:
    """Reads some of a step's completions with their pictures and with masked ones."""

    def __init__(self, reader: Reader, masked: Reader, *, completions: int, tau: float | None) -> None:
        """Without a `tau` it is learnt at the first measurement."""
        self._reader = reader
        self._masked = masked
        self._completions = completions
        self._tau = tau

    def __call__(self, step: int, scored: Sequence[ScoredGroup]) -> Metrics:
        """Nothing where no problem has a picture."""
        groups = [(one.group.prompt, one.group.completions) for one in scored]
        members = spread_over(groups, self._completions)
        if not members:
            return {}
        seen, masked = self._reader(members), self._masked(members)
        if self._tau is None:
            self._tau = float(divergences(seen, masked).quantile(1 - LEARNT_SHARE))
        return perception_summary(seen, masked, self._tau)

    def state_dict(self) -> dict[str, Any]:
        """tau, if it is known."""
        return {} if self._tau is None else {"tau": self._tau}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self._tau = state.get("tau")


def _joined(rows: Sequence[Any]) -> Tensor:
    return torch.cat([torch.from_numpy(row) for row in rows])
