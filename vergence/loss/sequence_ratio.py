"""GSPO: a surrogate whose ratio is that of the whole sequence."""

import torch
from jaxtyping import Float
from torch import Tensor

from vergence.loss.policy_gradient import Surrogate, SurrogateFunction, SurrogateInput


def gspo(low: float, high: float) -> SurrogateFunction:
    """GSPO: one ratio per sequence, and one clip.

        s    = exp(mean_t log rho_t)
        loss = -w * min(s * A, clip(s, 1 - low, 1 + high) * A),      grad s = s * mean_t grad log pi_t

    Every token of a sequence carries its sequence's loss, so `sequence_mean` gives GSPO's mean over sequences. Ratios
    of sequences lie far closer to 1 than those of tokens: GSPO's bounds are 3e-4 and 4e-4. The off-policy weight of a
    sequence is the geometric mean of its tokens' weights, as its ratio is of theirs.
    """

    def surrogate(given: SurrogateInput) -> Surrogate:
        ratio = _token_mean(given.logprobs - given.old_logprobs, given).exp()
        weight = _token_mean(given.weights.log(), given).exp()
        free = ratio * given.advantages
        bounded = ratio.clamp(1 - low, 1 + high) * given.advantages
        held = (bounded < free).detach()
        below = held & (given.advantages < 0)
        shape = given.mask.shape
        return Surrogate(
            (-weight * torch.minimum(free, bounded))[:, None].expand(shape),
            ratio.detach()[:, None].expand(shape),
            clipped_low=below[:, None].expand(shape),
            clipped_high=(held & ~below)[:, None].expand(shape),
            clipped_dual=torch.zeros_like(given.mask),
        )

    return surrogate


def _token_mean(values: Float[Tensor, "B T"], given: SurrogateInput) -> Float[Tensor, "B"]:
    """Mean over each sequence's own tokens."""
    return values.masked_fill(~given.mask, 0.0).sum(1) / given.mask.sum(1).clamp(min=1)
