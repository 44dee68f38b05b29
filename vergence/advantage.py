"""From rewards to advantages, within one prompt group (R1V2 Eq. 6)."""

from collections.abc import Callable, Sequence

import numpy as np

from vergence.types import Doubles, JudgedGroup, Metrics, Sample, ScoredGroup

TOLERANCE = 1e-6
"""Rewards that differ by less are the same number after rounding."""

Advantage = Callable[[Doubles], Doubles]
"""Rewards [G] -> advantages [G]."""


def group_normalised(rewards: Doubles) -> Doubles:
    """R1V2 Eq. 6: (r - mean) / std, with the population's standard deviation plus 1e-4."""
    normalised: Doubles = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
    return normalised


def group_centred(rewards: Doubles) -> Doubles:
    """r - mean (Dr. GRPO): the size of the advantage keeps the size of the reward."""
    centred: Doubles = rewards - rewards.mean()
    return centred


def is_effective(rule_rewards: Doubles, tolerance: float = TOLERANCE) -> bool:
    """Whether rules tell the completions of a group apart.

    Judged on the rule rewards, because preference scores are never quite equal (R1V2 counts samples with non-zero
    advantage and does not say for which reward), and with a tolerance, because equal sums need not be equal floats.
    """
    return float(rule_rewards.max() - rule_rewards.min()) > tolerance


def judge(scored: ScoredGroup, advantage: Advantage) -> JudgedGroup:
    """Advantages of a group; exactly 0.0 throughout if rules cannot tell its completions apart."""
    if is_effective(scored.rule_rewards):
        return JudgedGroup(scored, advantage(scored.rewards), True)
    return JudgedGroup(scored, np.zeros_like(scored.rewards), False)


def effective_samples(judged: Sequence[JudgedGroup]) -> list[Sample]:
    """The completions that can teach, in order: those whose advantage is not zero, but for rounding."""
    return [
        Sample(group.scored.group.prompt, completion, float(advantage), float(reward))
        for group in judged
        for completion, advantage, reward in zip(
            group.scored.group.completions, group.advantages, group.scored.rewards, strict=True
        )
        if abs(advantage) > TOLERANCE
    ]


def advantage_metrics(judged: Sequence[JudgedGroup]) -> Metrics:
    """Share of effective groups among the fresh ones, and what the others were: all right, or all wrong."""
    dead = [group for group in judged if not group.effective]
    solved = sum(bool(group.scored.components["accuracy"].all()) for group in dead)
    return {
        "effective/fresh": 1 - len(dead) / len(judged),
        "effective/all_right": solved / len(judged),
        "effective/all_wrong": (len(dead) - solved) / len(judged),
    }
