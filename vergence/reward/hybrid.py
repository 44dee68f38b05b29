"""The hybrid reward as one calibrated object (R1V2 Eq. 7: r = r_rule + r_theta + r_format).

The paper's plain sum lets an unbounded preference score drown the rules, and leaves no group without an advantage.
Here the score is calibrated and bounded, weighted, and by default given to correct answers only; "effective" is judged
on the rules. The sum as printed is the preset `paper`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from vergence.reward.rules import accuracy, format_reward
from vergence.types import Doubles, Metrics, RolloutGroup, ScoredGroup, Scorer

Bound = Callable[[Doubles], Doubles]
"""Calibrated scores [G] -> bounded scores [G]."""
Gate = Callable[[Doubles, Doubles], Doubles]
"""(accuracy [G], format [G]) -> 1.0 where the preference score counts, 0.0 where it does not."""


def sigmoid_bound(scores: Doubles) -> Doubles:
    """To 0..1; a score at the calibration set's median becomes 0.5."""
    return 1 / (1 + np.exp(-scores))


def clip_bound(scores: Doubles) -> Doubles:
    """To -1..1, linear in between."""
    return np.clip(scores, -1.0, 1.0)


def no_bound(scores: Doubles) -> Doubles:
    """As it comes: the paper's reading."""
    return scores


def correct_gate(right: Doubles, formed: Doubles) -> Doubles:
    """Among correct answers only: the score ranks them, and can never make up for a wrong one."""
    return right


def formed_gate(right: Doubles, formed: Doubles) -> Doubles:
    """Among well-formed answers only."""
    return formed


def no_gate(right: Doubles, formed: Doubles) -> Doubles:
    """Everywhere: the paper's reading."""
    return np.ones_like(right)


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardWeights:
    """What each component counts."""

    accuracy: float
    format: float
    preference: float


@final
class RuleReward:
    """Accuracy and format alone."""

    def __init__(self, weights: RewardWeights) -> None:
        self._weights = weights

    def __call__(self, groups: Sequence[RolloutGroup]) -> list[ScoredGroup]:
        """P groups to P scored groups."""
        scored = []
        for group in groups:
            right, formed = rule_scores(group)
            terms = {"accuracy": self._weights.accuracy * right, "format": self._weights.format * formed}
            rules = terms["accuracy"] + terms["format"]
            scored.append(ScoredGroup(group, {"accuracy": right, "format": formed}, terms, rules, rules))
        return scored


@final
class HybridReward:
    """Rules plus a preference model's score, calibrated, bounded, gated and weighted."""

    def __init__(self, weights: RewardWeights, scorer: Scorer, bound: Bound, gate: Gate) -> None:
        self._weights = weights
        self._scorer = scorer
        self._bound = bound
        self._gate = gate

    def __call__(self, groups: Sequence[RolloutGroup]) -> list[ScoredGroup]:
        """P groups to P scored groups."""
        scored = []
        for group, scores in zip(groups, self._scorer.scores(groups), strict=True):
            right, formed = rule_scores(group)
            terms = {"accuracy": self._weights.accuracy * right, "format": self._weights.format * formed}
            rules = terms["accuracy"] + terms["format"]
            terms["preference"] = self._weights.preference * self._bound(scores) * self._gate(right, formed)
            components = {"accuracy": right, "format": formed, "preference": scores}
            scored.append(ScoredGroup(group, components, terms, rules, rules + terms["preference"]))
        return scored


def rule_scores(group: RolloutGroup) -> tuple[Doubles, Doubles]:
    """Accuracy [G] and format [G] of a group."""
    problem = group.prompt.problem
    right = np.array([accuracy(problem, completion) for completion in group.completions])
    formed = np.array([format_reward(problem, completion) for completion in group.completions])
    return right, formed


def reward_metrics(scored: Sequence[ScoredGroup]) -> Metrics:
    """Means of the components and of the whole, and how rules and preference agree: reward hacking shows here."""
    names = scored[0].components
    metrics = {f"reward/{name}": float(np.mean([group.components[name] for group in scored])) for name in names}
    metrics["reward/total"] = float(np.mean([group.rewards for group in scored]))
    if "preference" in names:
        right = np.concatenate([group.components["accuracy"] for group in scored]) > 0
        scores = np.concatenate([group.components["preference"] for group in scored])
        if right.any() and not right.all():
            metrics["reward/preference_when_right"] = float(scores[right].mean())
            metrics["reward/preference_when_wrong"] = float(scores[~right].mean())
            if scores.std() > 0:
                metrics["reward/rule_preference_correlation"] = float(np.corrcoef(right, scores)[0, 1])
    return metrics
