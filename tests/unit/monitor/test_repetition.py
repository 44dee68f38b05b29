"""Repeated n-grams and loops: by hand, and against a plain count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.monitor.repetition import loops, repeat_share, repetition_metrics
from vergence.types import Completion, Finish

from ..builders import group


def ids(text: str) -> np.ndarray:
    return np.array([ord(one) for one in text], dtype=np.int64)


def written(text: str, finish: Finish = Finish.STOP) -> Completion:
    return Completion(ids(text), np.zeros(len(text), dtype=np.float32), finish, 0, text)


@pytest.mark.parametrize(
    ("text", "size", "share"),
    [
        ("abcd", 2, 0.0),  # ab bc cd
        ("abab", 2, 1 / 3),  # ab ba ab
        ("aaaa", 2, 2 / 3),
        ("aaaa", 4, 0.0),  # one 4-gram only
        ("abc", 4, 0.0),  # too short for any
        ("", 2, 0.0),
        ("abcabcabc", 3, 4 / 7),  # abc bca cab abc bca cab abc
    ],
)
def test_share_of_repeated_grams_by_hand(text: str, size: int, share: float) -> None:
    assert pytest.approx(share) == repeat_share(ids(text), size)


@given(st.text("abc", max_size=40), st.integers(2, 5))
def test_share_of_repeated_grams_against_a_set(text: str, size: int) -> None:
    grams = [text[place : place + size] for place in range(len(text) - size + 1)]
    expected = 1 - len(set(grams)) / len(grams) if grams else 0.0
    assert pytest.approx(expected) == repeat_share(ids(text), size)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("so it is so it is so it is ", True),
        ("xyz and then ababababab", True),
        ("aaaaaaaa", True),
        ("the answer is 100000", False),  # five equal digits may be a number
        ("ababababab and then an end", False),  # a loop that was left
        ("abcdefgh", False),
        ("abcabcab", False),  # not three times round
        ("abcabcabc", True),
        ("", False),
    ],
)
def test_loops_by_hand(text: str, expected: bool) -> None:
    assert expected is loops(ids(text))


@given(st.text("ab", max_size=30))
def test_loops_against_comparing_every_tail(text: str) -> None:
    """A tail of three or more whole rounds, and of eight tokens or more, all of one pattern."""
    expected = any(
        all(tail[place] == tail[place - period] for place in range(period, len(tail)))
        for begin in range(len(text))
        for period in range(1, len(text))
        if len(tail := text[begin:]) >= max(8, 3 * period)
    )
    assert expected is loops(ids(text))


def test_only_a_response_that_was_cut_off_can_be_looping() -> None:
    text = "abababababab"
    groups = [group([written(text), written(text, Finish.LENGTH), written("abcdefghijkl", Finish.LENGTH)])]
    metrics = repetition_metrics(groups, 2)
    assert pytest.approx(1 / 3) == metrics["rollout/looping"]
    assert pytest.approx((9 / 11 + 9 / 11 + 0) / 3) == metrics["rollout/repetition"]
