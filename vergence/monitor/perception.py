"""Judge-free monitors of whether the model looks at the picture; they need no truth.

    perception KL   mean_t [exp(d) - d - 1],  d = log pi(y_t | masked picture) - log pi(y_t | picture)    (PAPO, VPPO)
    blank gap       accuracy with the picture minus accuracy with a grey one

A KL that falls towards 0 says that the answers no longer depend on the picture; one that shoots up says that the text
has come apart. The second needs generation and is measured where the policy is evaluated.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vergence.model.batch import collate
from vergence.model.forward import token_scores
from vergence.model.policy import Policy
from vergence.model.vision import Tower
from vergence.types import Completion, Metrics, Prompt

DEPENDENT = 0.1
"""A token whose divergence exceeds this many nats is counted as depending on the picture."""


def token_divergence(logprobs: Float[Tensor, "B T"], masked_logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """k3 estimate per token of KL[pi(.|picture) || pi(.|masked picture)]; d is held to +-20 and the value to 10."""
    difference = (masked_logprobs - logprobs).clamp(-20, 20)
    return (difference.exp() - difference - 1).clamp(0, 10)


def perception_summary(divergence: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Metrics:
    """Mean over tokens, and the share of tokens that depend on the picture."""
    picked = divergence[mask]
    return {
        "perception/kl": float(picked.mean()),
        "perception/dependent_share": float((picked > DEPENDENT).float().mean()),
    }


@torch.no_grad()
def perception_metrics(
    policy: Policy,
    members: Sequence[tuple[Prompt, Completion]],
    *,
    tower: Tower,
    masked_tower: Tower,
    temperature: float,
) -> Metrics:
    """One forward pass with the pictures and one with masked pictures, over the model's own responses."""
    batch = collate(members, policy.device)
    seen = token_scores(policy, batch, temperature=temperature, tower=tower).logprobs
    masked = token_scores(policy, batch, temperature=temperature, tower=masked_tower).logprobs
    return perception_summary(token_divergence(seen, masked), batch.mask)
