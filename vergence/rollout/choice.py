"""From logits to tokens: one uniform number a row, by the inverse of the cumulative distribution.

Truncation (top-k, top-p) and the repetition penalty change which tokens can be drawn. The log-prob that is kept is
always the policy's own at the sampling temperature, before them: it is what training compares with. With any of them
switched on, samples are therefore slightly off-policy, in every trainer that has them.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vergence.types import Sampling

BLOCK = 256
"""Tokens summed at once when a cumulative distribution is searched."""

Shaping = Callable[[Float[Tensor, "R V"], Bool[Tensor, "R V"]], Float[Tensor, "R V"]]
"""(scaled logits, which tokens each row has seen) -> the logits to draw from."""


def shaping(sampling: Sampling) -> Shaping | None:
    """Repetition penalty, then top-k, then top-p, as in transformers; None if all of them are off."""
    steps: list[Shaping] = []
    if sampling.repetition_penalty != 1.0:
        steps.append(lambda logits, seen: penalised(logits, seen, sampling.repetition_penalty))
    if sampling.top_k > 0:
        steps.append(lambda logits, seen: most_likely(logits, sampling.top_k))
    if sampling.top_p < 1.0:
        steps.append(lambda logits, seen: nucleus(logits, sampling.top_p))
    if not steps:
        return None

    def shape(logits: Tensor, seen: Tensor) -> Tensor:
        for step in steps:
            logits = step(logits, seen)
        return logits

    return shape


def penalised(logits: Float[Tensor, "R V"], seen: Bool[Tensor, "R V"], penalty: float) -> Float[Tensor, "R V"]:
    """Tokens already in the prompt or the answer lose: logit / penalty if positive, else times penalty (CTRL)."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def most_likely(logits: Float[Tensor, "R V"], count: int) -> Float[Tensor, "R V"]:
    """All but the `count` largest are -inf; ties with the last of them stay."""
    least = logits.topk(min(count, logits.shape[-1]), dim=-1).values[:, -1:]
    return logits.masked_fill(logits < least, float("-inf"))


def nucleus(logits: Float[Tensor, "R V"], share: float) -> Float[Tensor, "R V"]:
    """The smallest set of most likely tokens whose probabilities reach `share`; all others are -inf."""
    ordered, places = logits.sort(dim=-1, descending=True)
    weights = ordered.softmax(-1)
    outside = weights.cumsum(-1) - weights >= share
    return logits.masked_fill(torch.zeros_like(outside).scatter_(-1, places, outside), float("-inf"))


Choice = Callable[[Float[Tensor, "R V"], Float[Tensor, "R"]], tuple[Int[Tensor, "R"], Float[Tensor, "R"]]]
"""(logits, uniform numbers) -> tokens, and the logarithm of each row's normaliser."""


def inverse_cdf(
    logits: Float[Tensor, "R V"], uniform: Float[Tensor, "R"]
) -> tuple[Int[Tensor, "R"], Float[Tensor, "R"]]:
    """The token at which the cumulative distribution passes `uniform` in [0, 1); the normaliser on the way.

    Searched block by block, in double precision, so that a large vocabulary costs one pass over it.
    """
    largest = logits.amax(-1, keepdim=True)
    weights = (logits - largest).exp_()
    size = min(BLOCK, weights.shape[1])
    short = -weights.shape[1] % size
    blocks = (torch.nn.functional.pad(weights, (0, short)) if short else weights).unflatten(1, (-1, size))
    upto = blocks.sum(-1).double().cumsum_(-1)
    total = upto[:, -1:]
    wanted = uniform[:, None] * total
    # rounding may point past the last block or token of positive weight, hence the clamps
    block = torch.searchsorted(upto, wanted, right=True).clamp_(max=upto.shape[1] - 1)
    inside = blocks.gather(1, block[:, :, None].expand(-1, -1, size))[:, 0].double().cumsum_(-1)
    before = torch.nn.functional.pad(upto, (1, 0)).gather(1, block)
    places = torch.searchsorted(inside, wanted - before, right=True)
    last = torch.searchsorted(inside, inside[:, -1:].contiguous())
    chosen = block * size + torch.minimum(places, last)
    return chosen[:, 0], (largest + total.log().to(largest.dtype))[:, 0]


def greedy(logits: Float[Tensor, "R V"], uniform: Float[Tensor, "R"]) -> tuple[Int[Tensor, "R"], Float[Tensor, "R"]]:
    """The most likely token; takes no part of the noise."""
    return logits.argmax(-1), logits.logsumexp(-1)


def chooser(sampling: Sampling) -> Choice:
    """How tokens are chosen at that temperature."""
    return greedy if sampling.temperature == 0.0 else inverse_cdf
