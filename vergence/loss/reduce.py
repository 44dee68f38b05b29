"""From per-token terms to one number: the only place that divides. The count always comes from outside.

A micro-batch cannot know how many tokens the whole batch has, so it is told. That is what makes accumulation, padding
and the number of ranks unable to change a loss.
"""

from collections.abc import Callable

from jaxtyping import Bool, Float
from torch import Tensor

Reduction = Callable[[Tensor, Tensor, int, int], Tensor]
"""(per-token terms [B, T], mask [B, T], tokens in the whole batch, sequences in the whole batch) -> scalar."""


def token_mean(
    terms: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], num_tokens: int, num_sequences: int
) -> Float[Tensor, ""]:
    """Every token of the batch counts the same (DAPO)."""
    return terms.masked_fill(~mask, 0.0).sum() / max(1, num_tokens)


def sequence_mean(
    terms: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], num_tokens: int, num_sequences: int
) -> Float[Tensor, ""]:
    """Mean over each sequence's tokens, then over sequences (R1V2 Eq. 8: 1/G sum_i 1/|y_i| sum_t)."""
    means = terms.masked_fill(~mask, 0.0).sum(1) / mask.sum(1).clamp(min=1)
    return means.sum() / max(1, num_sequences)


def constant_length(length: int) -> Reduction:
    """Sum over all tokens, divided by sequences x `length`, the longest answer there can be (Dr. GRPO).

    A token counts the same in every batch; the other two divide by how long answers happen to be, which makes the
    tokens of long wrong answers cheap.
    """

    def reduce(
        terms: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], num_tokens: int, num_sequences: int
    ) -> Float[Tensor, ""]:
        return terms.masked_fill(~mask, 0.0).sum() / (max(1, num_sequences) * length)

    return reduce
