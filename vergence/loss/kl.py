"""Estimators of KL[pi || pi_ref] from tokens sampled by pi (Schulman's k1, k2, k3), per token."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

KlEstimator = Callable[[Tensor, Tensor], Tensor]


def k1(logprobs: Float[Tensor, "B T"], ref_logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """log pi - log pi_ref: unbiased, any sign."""
    return logprobs - ref_logprobs


def k2(logprobs: Float[Tensor, "B T"], ref_logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """(log pi - log pi_ref)^2 / 2: biased, never negative; its gradient is that of the true KL."""
    return (logprobs - ref_logprobs).square() / 2


def k3(logprobs: Float[Tensor, "B T"], ref_logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """exp(d) - d - 1 with d = log pi_ref - log pi: unbiased, never negative (GRPO's choice)."""
    difference = ref_logprobs - logprobs
    return difference.exp() - difference - 1
