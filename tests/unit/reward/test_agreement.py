"""How rules and reward model agree: against loops over pairs of answers, and numbers worked out by hand."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.reward.agreement import (
    agreement_metrics,
    concordance,
    correlation,
    favourite_right,
    is_mixed,
    last_right,
    length_correlation,
)
from vergence.types import ScoredGroup

from ..builders import completion, doubles, scored

ANSWERS = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=8)
"""Right or not, and a score; few scores, so that there are ties."""


def of(
    right: Sequence[float], scores: Sequence[float], lengths: Sequence[int] = (), category: str = "sum"
) -> ScoredGroup:
    """A scored group; every completion has two tokens unless lengths are given."""
    texts = [completion(f"answer {place}", logprobs=[-0.5] * length) for place, length in enumerate(lengths)]
    group = scored(right, components={"accuracy": right, "preference": scores}, texts=texts or None)
    problem = replace(group.group.prompt.problem, category=category)
    return replace(group, group=replace(group.group, prompt=replace(group.group.prompt, problem=problem)))


def split(answers: Sequence[tuple[bool, int]]) -> tuple[np.ndarray, np.ndarray]:
    return doubles([float(right) for right, _ in answers]), doubles([float(score) for _, score in answers])


@given(ANSWERS)
def test_concordance_counts_the_pairs_of_a_right_and_a_wrong_answer(answers: list[tuple[bool, int]]) -> None:
    right, scores = split(answers)
    won = [
        1.0 if good > bad else 0.5 if good == bad else 0.0
        for is_right, good in answers
        for is_other, bad in answers
        if is_right and not is_other
    ]
    assert is_mixed(right) == bool(won)
    if won:
        assert pytest.approx(sum(won) / len(won)) == concordance(right, scores)


@given(ANSWERS)
def test_turning_the_scores_around_turns_the_concordance_around(answers: list[tuple[bool, int]]) -> None:
    right, scores = split(answers)
    if is_mixed(right):
        assert pytest.approx(1 - concordance(right, scores)) == concordance(right, -scores)
        assert 0 <= concordance(right, scores) <= 1


@given(ANSWERS)
def test_the_favourite_is_drawn_among_the_best(answers: list[tuple[bool, int]]) -> None:
    right, scores = split(answers)
    best = max(score for _, score in answers)
    worst = min(score for _, score in answers)
    at_the_top = [is_right for is_right, score in answers if score == best]
    at_the_bottom = [is_right for is_right, score in answers if score == worst]
    assert pytest.approx(sum(at_the_top) / len(at_the_top)) == favourite_right(right, scores)
    assert pytest.approx(sum(at_the_bottom) / len(at_the_bottom)) == last_right(right, scores)


def test_correlation_by_hand_and_of_constants() -> None:
    """Deviations -1 0 1 and 1 -2 1: no covariance; -1 0 1 and -1 -1 2: 3 / sqrt(2 * 6)."""
    steady = doubles([1.0, 2.0, 3.0])
    assert correlation(steady, doubles([1.0, -2.0, 1.0])) == pytest.approx(0.0)
    assert correlation(steady, doubles([-1.0, -1.0, 2.0])) == pytest.approx(3 / math.sqrt(12))
    assert correlation(steady, doubles([0.1, 0.1, 0.1])) is None
    assert correlation(doubles([0.3, 0.1 + 0.2, 0.3]), steady) is None  # but for rounding


def test_length_is_compared_within_groups_and_among_right_answers_only() -> None:
    """Lengths 2 4 and scores 1 3 deviate by -1 1 and -1 1; lengths 3 5 and scores 9 7 by -1 1 and 1 -1."""
    one = of([1, 1, 0], [1.0, 3.0, -50.0], [2, 4, 20])
    two = of([1, 1, 0], [9.0, 7.0, 50.0], [3, 5, 20])
    assert length_correlation([one]) == pytest.approx(1.0)
    assert length_correlation([two]) == pytest.approx(-1.0)
    assert length_correlation([one, two]) == pytest.approx(0.0)


def test_length_correlation_needs_right_answers_that_differ() -> None:
    assert length_correlation([of([0, 0], [1.0, 2.0], [2, 3])]) is None
    assert length_correlation([of([1, 1], [1.0, 2.0], [3, 3])]) is None
    assert length_correlation([of([1, 0], [0.1, 2.0], [2, 3]), of([1, 0], [0.7, 2.0], [4, 3])]) is None


def test_a_reward_model_that_likes_length_shows() -> None:
    rng = np.random.default_rng(3)
    groups = []
    for _ in range(20):
        lengths = rng.integers(2, 30, 6).tolist()
        likes = doubles(lengths) / 10 + rng.normal(size=6)
        groups.append(of([1, 1, 1, 1, 0, 0], likes.tolist(), lengths))
    found = length_correlation(groups)
    assert found is not None
    assert 0.4 < found < 0.9


def test_metrics_by_hand() -> None:
    """Three groups, of which the last is not mixed.

    First: right 2 and 0 against wrong 1: one of two pairs; the favourite is right, the lowest is right. Deviations of
    right 1/3 1/3 -2/3 and of scores 1 -1 0: no correlation. Second: right 1 against wrong 1 and -1: 1.5 of 2 pairs; the
    favourite is a draw, the lowest is wrong. Deviations 2/3 -1/3 -1/3 and 2/3 2/3 -4/3: 2/3 / sqrt(2/3 * 8/3) = 1/2.
    """
    first = of([1, 1, 0], [2.0, 0.0, 1.0], category="sum")
    second = of([1, 0, 0], [1.0, 1.0, -1.0], category="max")
    last = of([1, 1, 1], [5.0, 6.0, 7.0], category="min")
    expected = {
        "agreement/mixed_groups": 2.0,
        "agreement/concordance": (0.5 + 0.75) / 2,
        "agreement/concordance_of_sum": 0.5,
        "agreement/concordance_of_max": 0.75,
        "agreement/favourite_right": (1 + 0.5) / 2,
        "agreement/last_right": (1 + 0) / 2,
        "agreement/chance_right": (2 / 3 + 1 / 3) / 2,
        "agreement/correlation": (0 + 0.5) / 2,
    }
    assert pytest.approx(expected) == agreement_metrics([first, second, last])


def test_without_mixed_groups_there_is_only_their_number() -> None:
    groups = [of([1, 1], [0.5, 0.7]), of([0, 0], [0.5, 0.7])]
    assert {"agreement/mixed_groups": 0.0} == agreement_metrics(groups)


def test_a_group_without_differences_in_score_has_no_correlation_and_counts_nowhere_in_its_mean() -> None:
    constant, perfect = of([1, 0], [1.0, 1.0]), of([1, 0], [1.0, 0.0])
    assert "agreement/correlation" not in agreement_metrics([constant])
    assert agreement_metrics([constant, perfect])["agreement/correlation"] == pytest.approx(1.0)
    assert agreement_metrics([constant, perfect])["agreement/concordance"] == pytest.approx(0.75)


def test_a_category_without_a_name_has_no_metric() -> None:
    assert not [name for name in agreement_metrics([of([1, 0], [1.0, 0.0], category="")]) if "_of_" in name]


def test_scores_without_information_agree_by_chance() -> None:
    rng = np.random.default_rng(0)
    groups = [of(rng.permutation([1, 1, 1, 0, 0, 0, 0, 0]).tolist(), rng.normal(size=8).tolist()) for _ in range(600)]
    metrics = agreement_metrics(groups)
    assert metrics["agreement/concordance"] == pytest.approx(0.5, abs=0.03)
    assert metrics["agreement/correlation"] == pytest.approx(0.0, abs=0.04)
    assert metrics["agreement/favourite_right"] == pytest.approx(3 / 8, abs=0.06)
    assert metrics["agreement/chance_right"] == pytest.approx(3 / 8)
