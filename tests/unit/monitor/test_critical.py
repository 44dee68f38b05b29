"""Which tokens begin a turn of the reasoning: with tokens of many cuts, and one whose text depends on its place."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.monitor.critical import critical_places, marker_pattern, no_places
from vergence.types import Completion

from ..builders import completion


def written(pieces: Sequence[str]) -> tuple[Completion, list[str]]:
    """A completion whose token i writes `pieces[i]`."""
    one = replace(completion("".join(pieces)), token_ids=np.arange(len(pieces), dtype=np.int64))
    return one, list(pieces)


def places(markers: Sequence[str], pieces: Sequence[str]) -> list[int]:
    one, table = written(pieces)
    return critical_places(markers, lambda ids: "".join(table[id_] for id_ in ids))(one)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["So", " 4", ".", " Wait", ",", " no"], [3]),
        (["Wa", "it", ":", " Alter", "natively", ",", " 5"], [0, 3]),  # the token in which it begins
        ([" Wait", " wait", " Wait"], [0, 2]),  # as it is written
        ([" Waiting", " for", " aWait", " Wait2"], []),  # whole words only
        (["no", " turn"], []),
        (["x. Wait Wait"], [0]),  # one token that writes both counts once
        (["", "", "Wait"], [2]),  # tokens that write nothing, as special ones do
    ],
)
def test_places_by_hand(pieces: list[str], expected: list[int]) -> None:
    assert expected == places(["Wait", "Alternatively"], pieces)


def test_marks_that_are_no_words_are_found_beside_anything() -> None:
    assert [1, 3] == places([","], ["5", ",", "6", ",7"])
    assert [1] == places(["+4"], ["5", "+", "4", "="])
    assert [] == places(["+4"], ["5", "+", "45"])  # as a number it would be another one


def test_of_two_markers_that_begin_alike_the_longer_one_is_found() -> None:
    assert ["Wait a moment"] == marker_pattern(["Wait", "Wait a moment"]).findall("Wait a moment")


def test_a_marker_is_text_and_no_pattern() -> None:
    assert [0] == places(["Hm..."], ["Hm...", " Hmmm", "."])


def test_a_tokenizer_that_drops_the_first_blank_is_asked_for_beginnings() -> None:
    """Sentencepiece writes " Wait" as "Wait" when it stands first; single tokens would not add up to the text."""
    table = [" So", " it", " is", " Wait", " no"]
    one = replace(completion("So it is Wait no"), token_ids=np.arange(5, dtype=np.int64))
    found = critical_places(["Wait"], lambda ids: "".join(table[id_] for id_ in ids).removeprefix(" "))(one)
    assert [3] == found


def test_without_markers_nothing_is_critical() -> None:
    assert [] == no_places(completion("Wait"))


@given(st.lists(st.sampled_from(["Wait", " ", "a", ". ", "W", "ait", ""]), max_size=12))
def test_every_place_is_where_some_marker_begins(pieces: list[str]) -> None:
    """By brute force: the token that writes the first character of each occurrence."""
    owners = [index for index, piece in enumerate(pieces) for _ in piece]
    text = "".join(pieces)
    expected = {
        owners[at]
        for at in range(len(text))
        if text.startswith("Wait", at)
        and not (at > 0 and text[at - 1].isalnum())
        and not text[at + 4 : at + 5].isalnum()
    }
    assert sorted(expected) == places(["Wait"], pieces)
