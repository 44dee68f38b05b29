"""From rewards to advantages: centred within each prompt group, and scaled by one spread or another.

r: rewards [G] of a group. mean and std without a word more are those of the group, "batch" those of all groups of a
step together. Every std is the population's, plus 1e-4, so that a spread of nothing but rounding is not blown up.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vergence.types import Doubles, ScoredGroup

Advantage = Callable[[Sequence[ScoredGroup]], list[Doubles]]
"""The scored groups of a batch -> the advantages [G] of each, in order."""

_EPSILON = 1e-4


def group_normalised(scored: Sequence[ScoredGroup]) -> list[Doubles]:
    """R1V2 Eq. 6: A = (r - mean) / std within each group."""
    return [_normalised(one.rewards) for one in scored]


def group_centred(scored: Sequence[ScoredGroup]) -> list[Doubles]:
    """A = r - mean within each group (Dr. GRPO): the size of the advantage keeps the size of the reward."""
    return [_centred(one.rewards) for one in scored]


def batch_scaled(scored: Sequence[ScoredGroup]) -> list[Doubles]:
    """A = (r - mean) / std of all rewards of the batch (Lite-PPO; REINFORCE++ divides by the std of the centred ones).

    Groups keep their sizes relative to each other: one that hardly differs stays small, where Eq. 6 would give it the
    size of every other.
    """
    spread = np.concatenate([one.rewards for one in scored]).std() + _EPSILON
    return [_centred(one.rewards) / spread for one in scored]


def decoupled_components(weights: Callable[[], Mapping[str, float]]) -> Advantage:
    """GDPO: A_k = (r_k - mean) / std for each component k by itself, B = sum_k w_k A_k, A = B / std of the batch's B.

    `r_k` are the group's terms: components after bound and gate. A component then counts by its weight alone, however
    much or little it differs; in a sum, the one that differs most decides. B has mean 0 in every group, so GDPO's
    subtraction of the batch's mean is left out.

    `weights` (component name to w_k) is asked at every batch, since a controller may turn them; a component that is
    not named there counts nothing.
    """

    def advantage(scored: Sequence[ScoredGroup]) -> list[Doubles]:
        named = [(name, weight) for name, weight in weights().items() if weight > 0]
        sums = [
            sum((weight * _normalised(one.terms[name]) for name, weight in named), np.zeros_like(one.rewards))
            for one in scored
        ]
        spread = np.concatenate(sums).std() + _EPSILON
        return [one / spread for one in sums]

    return advantage


def _centred(values: Doubles) -> Doubles:
    centred: Doubles = values - values.mean()
    return centred


def _normalised(values: Doubles) -> Doubles:
    normalised: Doubles = (values - values.mean()) / (values.std() + _EPSILON)
    return normalised
