"""Corruptions damage what they say, leave alone what they cannot damage, and depend on the rng alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.pairs.corruptions import CORRUPTIONS, change_number, corrupt, cut_short, drop_thought

from ..builders import BARE, RIGHT

texts = st.text(alphabet="0123456789abc<>/ ", max_size=40)
seeds = st.integers(0, 1000)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(texts, seeds)
def test_change_number_changes_one_digit_to_another_and_nothing_else(text: str, seed: int) -> None:
    worse = change_number(text, rng(seed))
    changed = [(old, new) for old, new in zip(text, worse, strict=True) if old != new]
    assert (1 if any(letter.isdigit() for letter in text) else 0) == len(changed)
    assert all(old.isdigit() and new.isdigit() for old, new in changed)


def test_change_number_reaches_every_digit_of_the_text_and_every_other_digit() -> None:
    worse = {change_number("a1b2", rng(seed)) for seed in range(400)}
    assert {f"a{k}b2" for k in range(10) if k != 1} | {f"a1b{k}" for k in range(10) if k != 2} == worse


@given(st.text(min_size=4, max_size=60), seeds)
def test_cut_short_keeps_a_quarter_to_three_quarters_of_the_beginning(text: str, seed: int) -> None:
    worse = cut_short(text, rng(seed))
    assert text.startswith(worse)
    assert len(text) / 4 - 1 < len(worse) <= len(text) * 3 / 4
    assert len(worse) >= 1


@pytest.mark.parametrize("text", ["", "a"])
def test_cut_short_leaves_alone_what_is_too_short(text: str) -> None:
    assert text == cut_short(text, rng(0))


def test_drop_thought_leaves_the_answer() -> None:
    assert BARE == drop_thought(RIGHT, rng(0))
    assert "<answer>1</answer>" == drop_thought("<think>two\nlines</think><answer>1</answer>", rng(0))


@pytest.mark.parametrize("text", [BARE, "", "<think>never closed", "15"])
def test_drop_thought_leaves_alone_what_has_none(text: str) -> None:
    assert text == drop_thought(text, rng(0))


@pytest.mark.parametrize("corruption", [*CORRUPTIONS, corrupt])
@given(seed=seeds)
def test_a_good_response_never_comes_out_unchanged(corruption, seed: int) -> None:
    assert RIGHT != corruption(RIGHT, rng(seed))


@given(texts, seeds)
def test_equal_rngs_corrupt_alike(text: str, seed: int) -> None:
    assert corrupt(text, rng(seed)) == corrupt(text, rng(seed))


def test_all_kinds_occur_and_numbers_most_often() -> None:
    """Of 1,000: a changed number 500 +- 4 sigma, the other two 250 +- 4 sigma."""
    kinds = {"number": 0, "cut": 0, "thoughtless": 0}
    for seed in range(1000):
        worse = corrupt(RIGHT, rng(seed))
        kinds["thoughtless" if worse == BARE else "cut" if len(worse) < len(RIGHT) else "number"] += 1
    assert abs(kinds["number"] - 500) < 4 * 250**0.5
    assert abs(kinds["cut"] - 250) < 4 * 187.5**0.5
    assert abs(kinds["thoughtless"] - 250) < 4 * 187.5**0.5
