"""The hybrid reward as one calibrated object (R1V2 Eq. 7: r = r_rule + r_theta + r_format).

    r = w_a accuracy + w_f format + w_p factor gate bound(min(score, cap)) + the user's own and what shapes it, weighted

The paper's plain sum lets an unbounded preference score drown the rules, and leaves no group without an advantage.
Here the score is calibrated and bounded, weighted, and by default given to right answers only; "effective" is judged on
accuracy and format unless a recipe says otherwise. The sum as printed is the preset `paper`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import final

import numpy as np

from vergence.errors import NonFiniteError
from vergence.reward.bounds import Bound
from vergence.reward.failures import FailureWatch, unwatched
from vergence.reward.form import TAGS, Form
from vergence.reward.form_watch import FormWatch
from vergence.reward.functions import Failure, UserReward
from vergence.reward.gates import Gate
from vergence.reward.rules import Rule, accuracy, format_reward, grades_of, rule_values
from vergence.types import Doubles, Grade, Grader, RolloutGroup, ScoredGroup, Scorer, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardWeights:
    """What the two rules count."""

    accuracy: float
    format: float


RULES = RewardWeights(accuracy=1.0, format=0.5)
"""For whoever reads components, and for a reward that is only logged."""


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
    """Accuracy and format, a user's own functions, and what shapes them, without a preference model."""

    def __init__(
        self,
        weights: RewardWeights,
        grader: Grader,
        *,
        form: Form = TAGS,
        functions: Sequence[UserReward] = (),
        shaping: Shaping = NO_SHAPING,
        watch: FailureWatch | None = None,
        form_watch: FormWatch | None = None,
    ) -> None:
        """`watch` looks at every batch's failures; without one they are counted and nothing else. `form_watch` looks at
        the form of the first batch.
        """
        self._weights = weights
        self._grader = grader
        self._formed = format_reward(form)
        self._functions = tuple(functions)
        self._shaping = shaping
        self._watch = watch or unwatched()
        self._form_watch = form_watch or FormWatch(form, lambda line: None)

    def __call__(self, groups: Sequence[RolloutGroup]) -> list[ScoredGroup]:
        """P groups to P scored groups; grader and functions are each asked once, for all of them.

        Where one of them fails, accuracy and reward are not numbers. Raises RunError if too many fail.
        """
        grades = grades_of(groups, self._grader)
        values: dict[str, list[Doubles]] = {}
        for one in self._functions:
            values[one.name], grades = function_values(one, groups, grades)
        self._watch.look(groups, grades)
        self._form_watch.look(groups)
        return [
            self._scored(group, row, {name: column[place] for name, column in values.items()})
            for place, (group, row) in enumerate(zip(groups, grades, strict=True))
        ]

    def _scored(self, group: RolloutGroup, grades: tuple[Grade, ...], given: Mapping[str, Doubles]) -> ScoredGroup:
        right, formed = accuracy(grades), rule_values(self._formed, group)
        components = {"accuracy": right, "format": formed}
        terms = {"accuracy": self._weights.accuracy * right, "format": self._weights.format * formed}
        rewards = rules = terms["accuracy"] + terms["format"]
        for function in self._functions:
            components[function.name] = given[function.name]
            terms[function.name] = function.weight * given[function.name]
            rewards = rewards + terms[function.name]
            rules = rules + terms[function.name] if function.rule else rules
        for name, one in self._shaping.items():
            components[name] = rule_values(one.rule, group)
            terms[name] = one.weight * components[name]
            rewards = rewards + terms[name]
        return ScoredGroup(group, components, terms, rules, rewards, grades)


def weighted(weights: RewardWeights, scored: ScoredGroup) -> ScoredGroup:
    """A group whose components are known, with the reward that accuracy and format make of them."""
    terms = {
        "accuracy": weights.accuracy * scored.components["accuracy"],
        "format": weights.format * scored.components["format"],
    }
    rewards = terms["accuracy"] + terms["format"]
    return replace(scored, terms=terms, rule_rewards=rewards, rewards=rewards)


def function_values(
    function: UserReward, groups: Sequence[RolloutGroup], grades: Sequence[tuple[Grade, ...]]
) -> tuple[list[Doubles], list[tuple[Grade, ...]]]:
    """What a function gives each completion, [G] for each group; and the grades, failed where the function failed."""
    responses = [(group.prompt.problem, text) for group in groups for text in group.responses]
    found = iter(function.values(responses))
    values: list[Doubles] = []
    judged: list[tuple[Grade, ...]] = []
    for row in grades:
        given = [next(found) for _ in row]
        values.append(np.array([np.nan if isinstance(one, Failure) else one for one in given], dtype=np.float64))
        judged.append(
            tuple(
                Grade(Verdict.FAILED, grade.extracted, f"{function.name}: {one.reason}")
                if isinstance(one, Failure)
                else grade
                for grade, one in zip(row, given, strict=True)
            )
        )
    return values, judged


@final
class HybridReward:
    """Rules plus a preference model's score, calibrated, capped, bounded, gated and weighted."""

    def __init__(
        self,
        rules: RuleReward,
        weight: float,
        scorer: Scorer,
        bound: Bound,
        gate: Gate,
        *,
        limits: Callable[[], PreferenceLimits] = PreferenceLimits,
    ) -> None:
        """`weight`: of the preference score. `limits` is asked at every call, so that a controller's hand is felt at
        once."""
        self._rules = rules
        self._weight = weight
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
        ruled = self._rules(groups)
        judged = ~np.isnan(np.concatenate([one.rewards for one in ruled]))  # a bound looks at no others
        bounded = np.full(len(judged), np.nan)
        if judged.any():
            bounded[judged] = self._bound(np.minimum(np.concatenate(scores), limits.cap)[judged])
        ends = np.cumsum([len(row) for row in scores])[:-1]
        scored = []
        for rules, raw, counted in zip(ruled, scores, np.split(bounded, ends), strict=True):
            gate = self._gate(rules.components["accuracy"], rules.components["format"])
            scored.append(_with_preference(rules, raw, self._weight * limits.factor * counted * gate))
        return scored


def _with_preference(ruled: ScoredGroup, scores: Doubles, term: Doubles) -> ScoredGroup:
    return replace(
        ruled,
        components={**ruled.components, "preference": scores},
        terms={**ruled.terms, "preference": term},
        rewards=ruled.rewards + term,
    )


def _check_finite(group: RolloutGroup, scores: Doubles) -> None:
    if not np.isfinite(scores).all():
        place = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise NonFiniteError(
            f"reward model, problem {group.prompt.problem.id}, completion {place}: the score is {scores[place]}, "
            "expected a finite number; check the reward model's weights, or train it anew"
        )
