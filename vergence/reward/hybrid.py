"""The hybrid reward as one calibrated object (R1V2 Eq. 7: r = r_rule + r_theta + r_format).

    r = w_a accuracy + w_f format + w_p factor gate bound(min(score, cap)) + further rules with their weights

The paper's plain sum lets an unbounded preference score drown the rules, and leaves no group without an advantage.
Here the score is calibrated and bounded, weighted, and by default given to right answers only; "effective" is judged on
accuracy and format unless a recipe says otherwise. The sum as printed is the preset `paper`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

import numpy as np

from vergence.errors import NonFiniteError
from vergence.reward.bounds import Bound
from vergence.reward.gates import Gate
from vergence.reward.rules import Rule, rule_scores, rule_values
from vergence.types import Doubles, RolloutGroup, ScoredGroup, Scorer


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardWeights:
    """What each component counts."""

    accuracy: float
    format: float
    preference: float


@dataclass(frozen=True, slots=True)
class WeightedRule:
    """A further rule, and what it counts."""

    weight: float
    rule: Rule


Shaping = Mapping[str, WeightedRule]
"""Component name -> a rule that shapes the reward beside accuracy and format: it does not make a group effective."""
NO_SHAPING: Shaping = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PreferenceLimits:
    """What a controller may do to the preference score. The defaults change nothing."""

    factor: float = 1.0
    """Of the weight; 0 leaves the rules alone."""
    cap: float = math.inf
    """Largest preference score, before its bound: a larger one counts as this one. In units of the scorer."""


@final
class RuleReward:
    """Accuracy and format, and what shapes them, without a preference model."""

    def __init__(self, weights: RewardWeights, shaping: Shaping = NO_SHAPING) -> None:
        self._weights = weights
        self._shaping = shaping

    def __call__(self, groups: Sequence[RolloutGroup]) -> list[ScoredGroup]:
        """P groups to P scored groups."""
        return [self._scored(group) for group in groups]

    def _scored(self, group: RolloutGroup) -> ScoredGroup:
        right, formed = rule_scores(group)
        components = {"accuracy": right, "format": formed}
        terms = {"accuracy": self._weights.accuracy * right, "format": self._weights.format * formed}
        rewards = rules = terms["accuracy"] + terms["format"]
        for name, one in self._shaping.items():
            components[name] = rule_values(one.rule, group)
            terms[name] = one.weight * components[name]
            rewards = rewards + terms[name]
        return ScoredGroup(group, components, terms, rules, rewards)


@final
class HybridReward:
    """Rules plus a preference model's score, calibrated, capped, bounded, gated and weighted."""

    def __init__(
        self,
        weights: RewardWeights,
        scorer: Scorer,
        bound: Bound,
        gate: Gate,
        *,
        limits: Callable[[], PreferenceLimits] = PreferenceLimits,
        shaping: Shaping = NO_SHAPING,
    ) -> None:
        """`limits` is asked at every call, so that a controller's hand is felt at once."""
        self._rules = RuleReward(weights, shaping)
        self._weight = weights.preference
        self._scorer = scorer
        self._bound = bound
        self._gate = gate
        self._limits = limits

    def __call__(self, groups: Sequence[RolloutGroup]) -> list[ScoredGroup]:
        """P groups to P scored groups; one call is the batch that a bound may look at.

        Raises NonFiniteError if a score is infinite or not a number: such a completion would silently teach nothing.
        """
        scores = self._scorer.scores(groups)
        for group, row in zip(groups, scores, strict=True):
            _check_finite(group, row)
        limits = self._limits()
        bounded = self._bound(np.minimum(np.concatenate(scores), limits.cap))
        ends = np.cumsum([len(row) for row in scores])[:-1]
        scored = []
        for ruled, raw, counted in zip(self._rules(groups), scores, np.split(bounded, ends), strict=True):
            gate = self._gate(ruled.components["accuracy"], ruled.components["format"])
            scored.append(_with_preference(ruled, raw, self._weight * limits.factor * counted * gate))
        return scored


def _with_preference(ruled: ScoredGroup, scores: Doubles, term: Doubles) -> ScoredGroup:
    return ScoredGroup(
        ruled.group,
        {**ruled.components, "preference": scores},
        {**ruled.terms, "preference": term},
        ruled.rule_rewards,
        ruled.rewards + term,
    )


def _check_finite(group: RolloutGroup, scores: Doubles) -> None:
    if not np.isfinite(scores).all():
        place = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise NonFiniteError(
            f"reward model, problem {group.prompt.problem.id}, completion {place}: the score is {scores[place]}, "
            "expected a finite number; check the reward model's weights, or train it anew"
        )
