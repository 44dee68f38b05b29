"""Which groups and samples can teach at all, and what advantages they get."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vergence.advantage.scaling import Advantage
from vergence.errors import NonFiniteError
from vergence.types import Doubles, Finish, JudgedGroup, Metrics, Sample, ScoredGroup, graded

TOLERANCE = 1e-6
"""Rewards that differ by less are the same number after rounding."""

LARGEST_REWARD = 1e30
"""Beyond it a spread overflows, whose inverse is 0, or the advantage does in the loss, which computes in fp32."""

Judge = Callable[[Sequence[ScoredGroup]], list[JudgedGroup]]
"""The scored groups of a batch -> the same with advantages."""


@dataclass(frozen=True, slots=True)
class Effectiveness:
    """When the completions of a group count as told apart.

    By default on the rule rewards, because preference scores are never quite equal (R1V2 counts samples with non-zero
    advantage and does not say for which reward), and with a tolerance, because equal sums need not be equal floats.
    """

    component: str = "rules"
    """rules: accuracy and format, weighted; total: the whole reward; else the name of a component."""
    tolerance: float = TOLERANCE

    def holds(self, scored: ScoredGroup) -> bool:
        """Whether the component differs by more than the tolerance within a group whose completions were all judged."""
        whole = {"rules": scored.rule_rewards, "total": scored.rewards}
        judged_on = whole.get(self.component, scored.components.get(self.component))
        assert judged_on is not None, f"the reward has no component {self.component}; a recipe is checked for it"
        return float(judged_on.max() - judged_on.min()) > self.tolerance


def judge(
    scored: Sequence[ScoredGroup], advantage: Advantage, effectiveness: Effectiveness = Effectiveness()
) -> list[JudgedGroup]:
    """Advantages of the groups of a batch; exactly 0.0 throughout a group whose completions are not told apart.

    A completion that could not be judged is in no mean and no spread, and has advantage 0.0: it teaches nothing.

    Raises NonFiniteError naming problem and component if a reward is too large to compute with.
    """
    known = graded(scored)
    for one in known:
        _refuse_overflow(one)
    found = iter(advantage(known) if known else [])
    judged = []
    for one in scored:
        left = one.graded()
        advantages = next(found) if len(left.rewards) else left.rewards
        effective = len(left.rewards) > 1 and effectiveness.holds(left)
        whole = _in_places(one, advantages) if effective else np.zeros_like(one.rewards)
        judged.append(JudgedGroup(one, whole, effective))
    return judged


def _refuse_overflow(scored: ScoredGroup) -> None:
    for name, values in {**scored.terms, "total": scored.rewards}.items():
        largest = float(np.abs(values).max())
        if not largest <= LARGEST_REWARD:
            raise NonFiniteError(
                f"problem {scored.group.prompt.problem.id}: reward component {name} is {largest:.2g} in size, expected "
                f"at most {LARGEST_REWARD:g}, beyond which advantages overflow; scale it down or bound it"
            )


def _in_places(scored: ScoredGroup, advantages: Doubles) -> Doubles:
    """The advantages of a group's judged completions, each in its completion's place, and 0.0 in the others."""
    failed = scored.failed
    if not failed:
        return advantages
    whole = np.zeros(len(scored.rewards))
    whole[[place for place in range(len(whole)) if place not in failed]] = advantages
    return whole


def without_truncated(judged: Sequence[JudgedGroup]) -> list[JudgedGroup]:
    """DAPO's overlong filter: advantage 0.0 for completions that the token limit cut off: their reward teaches nothing.

    They still took part in their group's mean and spread, and they still count in the divisor of the loss, as every
    completion without advantage does. Differs from TRL, which masks their tokens out of every term: here they take
    part in the KL penalty and the entropy bonus, which do not rest on the reward.
    """
    return [
        replace(
            one,
            advantages=np.array(
                [
                    0.0 if completion.finish is Finish.LENGTH else advantage
                    for completion, advantage in zip(one.scored.group.completions, one.advantages, strict=True)
                ]
            ),
        )
        for one in judged
    ]


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


def zero_advantage_samples(judged: Sequence[JudgedGroup]) -> list[Sample]:
    """The other completions, in order, without those that could not be judged; their advantage is exactly 0.0."""
    return [
        Sample(group.scored.group.prompt, completion, 0.0, float(group.scored.rewards[place]))
        for group in judged
        for place, completion in enumerate(group.scored.group.completions)
        if abs(group.advantages[place]) <= TOLERANCE and place not in group.scored.failed
    ]


def advantage_metrics(judged: Sequence[JudgedGroup]) -> Metrics:
    """Share of effective groups among the fresh ones, and what the others were: all right, or all wrong.

    Among the completions that could be judged; a group without any is none of the three.
    """
    dead = [group for group in judged if not group.effective]
    known = graded([group.scored for group in dead])
    solved = sum(bool(group.components["accuracy"].all()) for group in known)
    return {
        "effective/fresh": 1 - len(dead) / len(judged),
        "effective/all_right": solved / len(judged),
        "effective/all_wrong": (len(known) - solved) / len(judged),
    }
