"""Estimators of KL[pi || pi_ref] from tokens sampled by pi (Schulman's k1, k2, k3), per token; and its weight."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

KlEstimator = Callable[[Tensor, Tensor], Tensor]
KlSchedule = Callable[[int], float]
"""Step, from 0, to the weight of the penalty."""


def k1(logprobs: Float[Tensor, "B T"], ref_logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """log pi - log pi_ref: unbiased, any sign. For the reward: as a term of the loss its expected gradient is zero,
    since that of log pi is."""
    return logprobs - ref_logprobs


def k2(logprobs: Float[Tensor, "B T"], ref_logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """(log pi - log pi_ref)^2 / 2: biased, never negative; as a term of the loss its expected gradient is that of the
    true KL of each token, given the tokens before it."""
    return (logprobs - ref_logprobs).square() / 2


def k3(logprobs: Float[Tensor, "B T"], ref_logprobs: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """exp(d) - d - 1 with d = log pi_ref - log pi: unbiased, never negative (GRPO's choice). As a term of the loss its
    expected gradient is that of KL[pi_ref || pi] of each token, which is zero at the reference as well."""
    difference = ref_logprobs - logprobs
    return difference.exp() - difference - 1


def fixed_weight(weight: float) -> KlSchedule:
    """The same at every step."""
    return lambda step: weight


def grpo_d(low: float, high: float, *, steps: int, turn: float) -> KlSchedule:
    """GRPO-D's weight beta at step s (OThink-MR1), with t = steps - 1 the last step and w = turn * t:

        beta(s) = mid - (mid - low) * s / w                  s <= w        mid = (low + high) / 2
                = low + (high - low) * (s - w) / (t - w)     s > w

    So it falls from the middle to `low` while the policy explores, and then rises to `high`. The paper's prose says
    that beta starts small; its formula, and this function, start in the middle. `turn` is 0.3 in the paper.
    """
    last = steps - 1
    lowest = turn * last

    def weight(step: int) -> float:
        if step > lowest:
            return low + (high - low) * (step - lowest) / (last - lowest)
        middle = (low + high) / 2
        return middle - (middle - low) * step / lowest if step else middle

    return weight
