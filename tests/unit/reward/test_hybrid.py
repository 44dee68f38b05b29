"""The hybrid reward with a fake preference model: bounds, gates, weights, the paper's sum, and the metrics."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.advantage import group_normalised, judge
from vergence.reward.hybrid import (
    HybridReward,
    RewardWeights,
    RuleReward,
    clip_bound,
    correct_gate,
    formed_gate,
    no_bound,
    no_gate,
    reward_metrics,
    rule_scores,
    sigmoid_bound,
)
from vergence.types import RolloutGroup

from ..builders import BARE, NOTHING, RIGHT, WRONG, doubles, group, scored

WEIGHTS = RewardWeights(accuracy=1.0, format=0.5, preference=0.2)
ONES = RewardWeights(accuracy=1.0, format=1.0, preference=1.0)
FOUR = [RIGHT, BARE, WRONG, NOTHING]
"""Accuracy 1 1 0 0, format 1 0 1 0."""


class FakeScorer:
    """Gives the scores it was made with."""

    def __init__(self, *scores: Sequence[float]) -> None:
        self._scores = scores

    def scores(self, groups: Sequence[RolloutGroup]) -> list[np.ndarray]:
        return [doubles(row) for row in self._scores]


def test_sigmoid_bound_by_hand() -> None:
    assert pytest.approx([0.5, 0.75, 0.25]) == sigmoid_bound(doubles([0.0, math.log(3), -math.log(3)])).tolist()


def test_clip_bound_by_hand() -> None:
    assert [-1.0, -0.25, 0.5, 1.0] == clip_bound(doubles([-7.0, -0.25, 0.5, 7.0])).tolist()


def test_no_bound_lets_everything_through() -> None:
    assert [-15.5, 7.53] == no_bound(doubles([-15.5, 7.53])).tolist()


@given(st.lists(st.floats(-500, 500), min_size=2, max_size=6))
def test_bounds_keep_the_order_and_their_range(scores: list[float]) -> None:
    ordered = sorted(scores)
    for bound, low, high in ((sigmoid_bound, 0.0, 1.0), (clip_bound, -1.0, 1.0)):
        values = bound(doubles(ordered)).tolist()
        assert sorted(values) == values
        assert low <= values[0] <= values[-1] <= high


def test_gates_say_where_the_score_counts() -> None:
    right, formed = doubles([1, 1, 0, 0]), doubles([1, 0, 1, 0])
    assert [1, 1, 0, 0] == correct_gate(right, formed).tolist()
    assert [1, 0, 1, 0] == formed_gate(right, formed).tolist()
    assert [1, 1, 1, 1] == no_gate(right, formed).tolist()


def test_rule_scores_are_accuracy_and_format() -> None:
    right, formed = rule_scores(group(FOUR))
    assert [1.0, 1.0, 0.0, 0.0] == right.tolist()
    assert [1.0, 0.0, 1.0, 0.0] == formed.tolist()


def test_rule_reward_is_the_weighted_sum() -> None:
    """R1V3's 0.8 accuracy + 0.2 format."""
    (result,) = RuleReward(RewardWeights(accuracy=0.8, format=0.2, preference=0.0))([group(FOUR)])
    assert pytest.approx([1.0, 0.8, 0.2, 0.0]) == result.rewards.tolist()
    assert result.rewards.tolist() == result.rule_rewards.tolist()
    assert {"accuracy", "format"} == set(result.components)


SCORES = [math.log(3), -math.log(3), 0.0, 10.0]


@pytest.mark.parametrize(
    ("bound", "gate", "preference"),
    [
        (sigmoid_bound, correct_gate, [0.15, 0.05, 0.0, 0.0]),  # 0.2 * 0.75, 0.2 * 0.25, and none for wrong answers
        (sigmoid_bound, formed_gate, [0.15, 0.0, 0.1, 0.0]),
        (clip_bound, correct_gate, [0.2, -0.2, 0.0, 0.0]),
        (no_bound, no_gate, [0.2 * math.log(3), -0.2 * math.log(3), 0.0, 2.0]),
    ],
)
def test_hybrid_reward_is_rules_plus_weighted_bounded_gated_score(bound, gate, preference: list[float]) -> None:
    (result,) = HybridReward(WEIGHTS, FakeScorer(SCORES), bound, gate)([group(FOUR)])
    rules = [1.5, 1.0, 0.5, 0.0]
    assert pytest.approx(rules) == result.rule_rewards.tolist()
    assert (
        pytest.approx([rule + extra for rule, extra in zip(rules, preference, strict=True)]) == result.rewards.tolist()
    )


def test_components_are_raw() -> None:
    """Before weights, bounds and gates: what the metrics and the report show."""
    (result,) = HybridReward(WEIGHTS, FakeScorer(SCORES), sigmoid_bound, correct_gate)([group(FOUR)])
    assert {"accuracy", "format", "preference"} == set(result.components)
    assert [1.0, 1.0, 0.0, 0.0] == result.components["accuracy"].tolist()
    assert [1.0, 0.0, 1.0, 0.0] == result.components["format"].tolist()
    assert SCORES == result.components["preference"].tolist()


def test_the_papers_sum_has_no_weights_bounds_or_gates() -> None:
    """Eq. 7 with the scores printed for Skywork-VL Reward: 1 + 1 + 7.53, 1 - 15.5, 1 + 5.86, -10.36."""
    reward = HybridReward(ONES, FakeScorer([7.53, -15.5, 5.86, -10.36]), no_bound, no_gate)
    (result,) = reward([group(FOUR)])
    assert pytest.approx([9.53, -14.5, 6.86, -10.36]) == result.rewards.tolist()


@pytest.mark.parametrize("texts", [[RIGHT, RIGHT, RIGHT], [NOTHING, NOTHING, NOTHING]])
def test_preference_differences_alone_do_not_make_a_group_effective(texts: list[str]) -> None:
    """Not even with the paper's unbounded sum."""
    (result,) = HybridReward(ONES, FakeScorer([-15.0, 0.0, 8.0]), no_bound, no_gate)([group(texts)])
    assert 3 == len(set(result.rewards.tolist()))
    verdict = judge(result, group_normalised)
    assert not verdict.effective
    assert [0.0, 0.0, 0.0] == verdict.advantages.tolist()


def test_every_group_gets_its_own_scores_in_order() -> None:
    groups = [group([RIGHT, WRONG]), group([WRONG, RIGHT])]
    results = HybridReward(ONES, FakeScorer([1.0, 2.0], [3.0, 4.0]), no_bound, no_gate)(groups)
    assert [[3.0, 3.0], [4.0, 6.0]] == [result.rewards.tolist() for result in results]
    assert groups[0] is results[0].group
    assert groups[1] is results[1].group


def test_a_scorer_that_forgets_a_group_is_an_error() -> None:
    with pytest.raises(ValueError):
        HybridReward(ONES, FakeScorer([1.0]), no_bound, no_gate)([group([RIGHT]), group([RIGHT])])


def preferred(right: Sequence[float], preference: Sequence[float], rewards: Sequence[float]):
    components = {"accuracy": right, "format": [1.0] * len(right), "preference": preference}
    return scored(right, rewards, components=components)


def test_metrics_by_hand() -> None:
    """Right: scores 2 and 0; wrong: 1 and -1. Covariance 1/4, variances 1/4 and 5/4: correlation 1 / sqrt(5)."""
    groups = [preferred([1.0, 0.0], [2.0, 1.0], [1.4, 0.2]), preferred([1.0, 0.0], [0.0, -1.0], [1.1, 0.1])]
    expected = {
        "reward/accuracy": 0.5,
        "reward/format": 1.0,
        "reward/preference": 0.5,
        "reward/total": 0.7,
        "reward/preference_when_right": 1.0,
        "reward/preference_when_wrong": 0.0,
        "reward/rule_preference_correlation": 1 / math.sqrt(5),
    }
    assert pytest.approx(expected) == reward_metrics(groups)


def test_metrics_leave_out_what_cannot_be_told() -> None:
    """No correlation of constants, no mean of nothing, no preference without a preference model."""
    always = {"reward/accuracy", "reward/format", "reward/preference", "reward/total"}
    assert always == set(reward_metrics([preferred([1.0, 1.0], [0.3, 0.4], [1.0, 1.0])]))
    assert always == set(reward_metrics([preferred([0.0, 0.0], [0.3, 0.4], [0.0, 0.0])]))
    both_sides = always | {"reward/preference_when_right", "reward/preference_when_wrong"}
    assert both_sides == set(reward_metrics([preferred([1.0, 0.0], [0.3, 0.3], [1.0, 0.0])]))
    rules = RuleReward(WEIGHTS)([group(FOUR)])
    assert pytest.approx({"reward/accuracy": 0.5, "reward/format": 0.5, "reward/total": 0.75}) == reward_metrics(rules)
