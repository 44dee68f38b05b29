"""The law of the draw: |A|^alpha, without replacement, for single samples and for whole groups."""

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.advantage.scaling import group_centred
from vergence.buffer.entries import draw_entries, priorities, single_samples, whole_groups

from .cases import advantaged, lone, rewarded, rng

CRITICAL = {3: 16.27, 11: 31.26}
"""What chi-square with so many degrees of freedom exceeds once in a thousand."""


def chi_square(counts: Counter[tuple[int, ...]], expected: dict[tuple[int, ...], float]) -> float:
    assert set(counts) <= set(expected)
    total = sum(counts.values())
    return sum((counts[key] - total * share) ** 2 / (total * share) for key, share in expected.items())


def successive(weights: Sequence[float], count: int) -> dict[tuple[int, ...], float]:
    """Ordered outcomes of drawing one after the other, each in proportion to the weights of what is left."""
    found = {}
    for order in itertools.permutations(range(len(weights)), count):
        left, probability = sum(weights), 1.0
        for place in order:
            probability *= weights[place] / left
            left -= weights[place]
        found[order] = probability
    assert math.isclose(sum(found.values()), 1.0)
    return found


MANY = pytest.param(1.0, 100_000, marks=pytest.mark.slow)


@pytest.mark.parametrize(("exponent", "draws"), [(0.0, 20_000), (1.0, 20_000), MANY, (2.0, 20_000)])
def test_the_first_draw_follows_the_absolute_advantage_to_the_power_alpha(exponent: float, draws: int) -> None:
    """|A| = 1, 2, 3, 4 of either sign: shares k^alpha / sum of them."""
    weights = priorities(single_samples(lone(1.0, -2.0, 3.0, -4.0)), exponent)
    source = rng(1)
    counts = Counter(tuple(draw_entries(weights, 1, source)) for _ in range(draws))
    whole = sum(k**exponent for k in (1, 2, 3, 4))
    expected = {(k - 1,): k**exponent / whole for k in (1, 2, 3, 4)}
    assert chi_square(counts, expected) < CRITICAL[3]


@pytest.mark.parametrize(("exponent", "draws"), [(1.0, 20_000), MANY, (2.0, 20_000)])
def test_draws_without_replacement_are_successive_draws_from_what_is_left(exponent: float, draws: int) -> None:
    """Two of four, in order: twelve outcomes, whose probabilities are enumerated."""
    weights = priorities(single_samples(lone(1.0, -2.0, 3.0, -4.0)), exponent)
    source = rng(2)
    counts = Counter(tuple(draw_entries(weights, 2, source)) for _ in range(draws))
    assert chi_square(counts, successive([k**exponent for k in (1.0, 2.0, 3.0, 4.0)], 2)) < CRITICAL[11]


def test_the_statistic_sees_a_wrong_exponent() -> None:
    """Draws of alpha 0.8 where 1 is expected."""
    weights = priorities(single_samples(lone(1.0, -2.0, 3.0, -4.0)), 0.8)
    source = rng(3)
    counts = Counter(tuple(draw_entries(weights, 1, source)) for _ in range(20_000))
    assert chi_square(counts, {(k - 1,): k / 10 for k in (1, 2, 3, 4)}) > 3 * CRITICAL[3]


@given(st.lists(st.floats(0, 50), min_size=1, max_size=12), st.integers(0, 14), st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_nothing_comes_twice_and_nothing_without_priority(advantages: list[float], count: int, exponent: float) -> None:
    entries = single_samples([advantaged(advantages, texts=[str(i) for i in range(len(advantages))])])
    drawn = draw_entries(priorities(entries, exponent), count, rng())
    assert len(set(drawn)) == len(drawn) == min(count, len(entries))


def test_an_advantage_that_vanished_is_never_drawn_whatever_the_exponent() -> None:
    """0^0 is 1, so alpha = 0 needs to be told."""
    (entry, other) = single_samples(lone(1.0, 2.0))
    gone = replace(entry, samples=(replace(entry.samples[0], advantage=1e-9),))
    for exponent in (0.0, 1.0, 2.0):
        weights = priorities([gone, other], exponent)
        assert 0.0 == weights[0] < weights[1]
        assert [1] == draw_entries(weights, 2, rng())


def test_an_empty_buffer_draws_nothing() -> None:
    assert [] == draw_entries(priorities([], 1.0), 5, rng())


# ── what the unit means ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("right", range(1, 8))
def test_among_samples_the_rare_outcome_and_among_groups_the_even_ones(right: int) -> None:
    """k of G = 8 right, p = k / 8, normalised: |A| = sqrt((1-p)/p) if right, sqrt(p/(1-p)) if wrong; the group's sum is
    2 G sqrt(p (1-p)). Not exactly: the judge adds 1e-4 to the standard deviation."""
    share = right / 8
    group = rewarded([1.0] * right + [0.0] * (8 - right))
    singles, (whole,) = single_samples([group]), whole_groups([group])
    for entry in singles[:right]:
        assert pytest.approx(math.sqrt((1 - share) / share), rel=1e-3) == entry.strength
    for entry in singles[right:]:
        assert pytest.approx(math.sqrt(share / (1 - share)), rel=1e-3) == entry.strength
    assert pytest.approx(16 * math.sqrt(share * (1 - share)), rel=1e-3) == whole.strength


def test_centred_advantages_have_the_same_preferences_and_are_bounded() -> None:
    """r - mean: |A| = 1 - p if right, p if wrong; the group's sum is 2 G p (1 - p)."""
    for right in range(1, 8):
        share = right / 8
        group = rewarded([1.0] * right + [0.0] * (8 - right), advantage=group_centred)
        singles, (whole,) = single_samples([group]), whole_groups([group])
        assert pytest.approx([1 - share] * right) == [entry.strength for entry in singles[:right]]
        assert pytest.approx([share] * (8 - right)) == [entry.strength for entry in singles[right:]]
        assert pytest.approx(16 * share * (1 - share)) == whole.strength


def test_what_a_draw_prefers_depends_on_the_unit() -> None:
    """Three groups with 1, 4 and 7 of 8 right. By samples the one right answer of the hard group is the likeliest
    single draw; by groups the even group is, and the lopsided ones are alike."""
    groups = [rewarded([1.0] * right + [0.0] * (8 - right), name=str(right)) for right in (1, 4, 7)]
    by_sample = priorities(single_samples(groups), 1.0)
    by_group = priorities(whole_groups(groups), 1.0)
    rare = [0, 23]  # the one right answer of the first group, the one wrong answer of the last
    assert set(rare) == set(np.argsort(by_sample)[-2:].tolist())
    assert pytest.approx(by_sample[0] / by_sample[8], rel=1e-3) == math.sqrt(7)
    assert 1 == int(by_group.argmax())
    assert pytest.approx(by_group[1] / by_group[0], rel=1e-3) == 0.5 / math.sqrt(7 / 64)


def test_the_table_in_the_documents_is_what_the_judge_and_the_buffer_make() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "buffer.md").read_text()
    stated = re.findall(r"^\| (\d) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE)
    assert ["1", "2", "4", "6", "7"] == [row[0] for row in stated]
    for right, *numbers in stated:
        group = rewarded([1.0] * int(right) + [0.0] * (8 - int(right)))
        singles, (whole,) = single_samples([group]), whole_groups([group])
        found = [singles[0].strength, singles[-1].strength, whole.strength]
        assert pytest.approx([float(number) for number in numbers], abs=0.0055) == found
