"""The clipped surrogate of GRPO, per token (R1V2 Eq. 8; PPO)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """Per-token terms, not yet reduced."""

    loss: Float[Tensor, "B T"]
    ratio: Float[Tensor, "B T"]
    clipped: Bool[Tensor, "B T"]
    """True where the clip took the gradient away."""


def clipped_surrogate(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B"],
    weights: Float[Tensor, "B T"],
    *,
    clip_low: float,
    clip_high: float,
) -> Surrogate:
    """R1V2 Eq. 8, negated so that it is minimised.

        rho  = exp(log pi - log pi_old)
        loss = -w * min(rho * A, clip(rho, 1 - clip_low, 1 + clip_high) * A)

    `weights` w are 1 for fresh samples and the off-policy correction for replayed ones (buffer correction).
    Differs from the paper: the paper prints one eps; two are DAPO's, equal by default.
    """
    ratio = (logprobs - old_logprobs).exp()
    advantage = advantages[:, None]
    free = ratio * advantage
    bounded = ratio.clamp(1 - clip_low, 1 + clip_high) * advantage
    return Surrogate(-weights * torch.minimum(free, bounded), ratio.detach(), (bounded < free).detach())
