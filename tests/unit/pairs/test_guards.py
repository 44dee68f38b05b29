"""Which guard objects to a pair."""

import math

import pytest

from vergence.pairs.guards import PairGuards, entails, objection, too_close

from ..builders import completion
from .making import answering, pair


def guards(*, ratio: float = math.inf, format_ratio: float = math.inf) -> PairGuards:
    return PairGuards(max_length_ratio=ratio, format_length_ratio=format_ratio, max_per_prompt=100)


@pytest.mark.parametrize(
    ("rejected", "chosen", "expected"),
    [
        ("the answer is 15", "15", True),
        ("15", "15", True),
        ("15.", "15", True),
        ("x=15,y=2", "15", True),
        ("115", "15", False),  # MMPR's substring test would throw these away
        ("15", "1", False),
        ("150", "15", False),
        ("a15", "15", False),
        ("", "15", False),
        ("15", "", False),
        ("1+5", "1+5", True),  # not a regular expression
        ("111115", "1+5", False),
    ],
)
def test_entailment_looks_for_the_answer_as_a_whole_word(rejected: str, chosen: str, expected: bool) -> None:
    assert expected == entails(rejected, chosen)


@pytest.mark.parametrize(
    ("source", "expected"), [("correctness", "entailment"), ("dropout", "entailment"), ("format", ""), ("margin", "")]
)
def test_entailment_is_asked_where_the_answers_ought_to_differ(source: str, expected: str) -> None:
    """The rule called "it is 15" wrong and may have been mistaken; a blind continuation may have guessed right."""
    assert expected == objection(pair(source=source, rejected=answering("it is 15")), guards())
    assert "" == objection(pair(source=source, rejected=answering("115")), guards())


@pytest.mark.parametrize(("chosen", "rejected", "kept"), [(4, 8, True), (8, 4, True), (4, 9, False), (9, 4, False)])
def test_length_guard_works_both_ways_and_allows_the_ratio_itself(chosen: int, rejected: int, kept: bool) -> None:
    two = pair(chosen=answering("15", tokens=chosen), rejected=answering("7", tokens=rejected))
    assert ("" if kept else "length") == objection(two, guards(ratio=2.0))


def test_right_answers_in_bad_form_have_a_length_limit_of_their_own() -> None:
    bare = completion("15", logprobs=[-1.0])
    assert "length" == objection(pair(source="format", rejected=bare), guards(format_ratio=3.0))
    assert "" == objection(pair(source="format", rejected=bare), guards(ratio=3.0))
    assert "length" == objection(
        pair(source="correctness", rejected=completion("7", logprobs=[-1.0])), guards(ratio=3.0)
    )


def test_entailment_is_asked_before_length() -> None:
    two = pair(chosen=answering("15", tokens=1), rejected=answering("so 15", tokens=20))
    assert "entailment" == objection(two, guards(ratio=2.0))


@pytest.mark.parametrize(("margin", "refused"), [(1.5, False), (1.4, True), (-3.0, True), (math.inf, False)])
def test_margin_guard_allows_the_threshold_itself(margin: float, refused: bool) -> None:
    assert refused == too_close(pair(margin=margin, rejected=None), 1.5)


def test_two_equals_without_a_gap_are_no_pair_at_any_threshold() -> None:
    assert too_close(pair(margin=0.0, source="margin", rejected=None), -math.inf)
    assert not too_close(pair(margin=0.0, source="correctness", rejected=None), -math.inf)
