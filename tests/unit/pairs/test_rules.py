"""Which candidates are made of a scored group."""

import math
from dataclasses import replace

import numpy as np

from vergence.pairs.rules import (
    by_margin,
    candidates_of,
    is_formed,
    is_good,
    preference_component,
    rules_only,
    verified,
)
from vergence.types import Finish, PreferencePair, ScoredGroup

from ..builders import completion, without_grades
from .making import answering, one_group


def places(group: ScoredGroup, pairs: list[PreferencePair]) -> list[tuple[int, int, str]]:
    """(place of chosen, place of rejected, source) of each pair."""
    place = {id(one): index for index, one in enumerate(group.group.completions)}
    return [(place[id(pair.chosen)], place[id(pair.rejected)], pair.source) for pair in pairs]


def test_chosen_is_right_and_formed_and_rejected_is_anything_else() -> None:
    """0 is good; 1 is right in bad form; 2 and 3 are wrong in either form."""
    group = one_group(
        [(answering("15"), 1, 1, 0), (answering("15"), 1, 0, 0), (answering("7"), 0, 1, 0), (answering("8"), 0, 0, 0)]
    )
    pairs = verified(format_negatives=True)(group, preference_component(group))
    assert [(0, 1, "format"), (0, 2, "correctness"), (0, 3, "correctness")] == places(group, pairs)
    without = verified(format_negatives=False)(group, preference_component(group))
    assert [(0, 2, "correctness"), (0, 3, "correctness")] == places(group, without)


def test_two_good_answers_are_no_verified_pair_and_neither_are_two_bad_ones() -> None:
    good, bad = (answering("15"), 1, 1, 5.0), (answering("7"), 0, 1, 0.0)
    for group in (one_group([good, (answering("15"), 1, 1, 0.0)]), one_group([bad, (answering("8"), 0, 0, 9.0)])):
        assert [] == verified(format_negatives=True)(group, preference_component(group))


def test_a_candidate_carries_its_prompt_its_margin_and_its_source() -> None:
    group = one_group([(answering("15"), 1, 1, 2.5), (answering("15"), 1, 0, 0.5), (answering("7"), 0, 1, -1.0)])
    pairs = verified(format_negatives=True)(group, preference_component(group))
    assert [(2.0, "format"), (3.5, "correctness")] == [(pair.margin, pair.source) for pair in pairs]
    assert all(pair.prompt is group.group.prompt for pair in pairs)


def test_margin_pairs_are_every_two_good_responses_the_higher_score_chosen() -> None:
    """Scores 1, 4, 2 of three good responses; the wrong one with score 9 takes no part."""
    tokens = (2, 3, 4)
    rows = [(answering("15", tokens=n), 1, 1, score) for n, score in zip(tokens, (1.0, 4.0, 2.0), strict=True)]
    group = one_group([*rows, (answering("7"), 0, 1, 9.0)])
    pairs = by_margin(is_good)(group, preference_component(group))
    assert [(1, 0, "margin"), (2, 0, "margin"), (1, 2, "margin")] == places(group, pairs)
    assert [3.0, 1.0, 2.0] == [pair.margin for pair in pairs]


def test_without_known_answers_every_well_formed_response_may_be_chosen() -> None:
    rows = [(answering("15", tokens=2), 1, 1, 1.0), (answering("7", tokens=3), 0, 1, 9.0), (completion("7"), 0, 0, 5.0)]
    group = one_group(rows)
    assert [(1, 0, "margin")] == places(group, by_margin(is_formed)(group, preference_component(group)))


def test_responses_with_the_same_text_are_one_response_to_the_margin_source_whatever_token_ends_them() -> None:
    """A reward model that scores them in different passes may find a gap of rounding between them."""
    ends = [completion("<answer>15</answer>", logprobs=[-1.0] * count) for count in (3, 3, 4)]
    group = one_group([(one, 1, 1, score) for one, score in zip(ends, (1.0, 1.0, 1.0 + 1e-7), strict=True)])
    assert [] == by_margin(is_good)(group, preference_component(group))
    cut = replace(ends[0], finish=Finish.LENGTH)
    group = one_group([(ends[0], 1, 1, 1.0), (cut, 1, 1, 0.5)])
    assert [(0, 1, "margin")] == places(group, by_margin(is_good)(group, preference_component(group)))


def test_rules_alone_make_right_and_formed_infinitely_better() -> None:
    group = one_group([(answering("15"), 1, 1, -5.0), (answering("15"), 1, 0, 3.0), (answering("7"), 0, 1, 9.0)])
    assert [math.inf, 0.0, 0.0] == rules_only(group).tolist()
    pairs = verified(format_negatives=True)(group, rules_only(group))
    assert [math.inf, math.inf] == [pair.margin for pair in pairs]


def test_candidates_of_several_sources_stand_behind_one_another_prompt_by_prompt() -> None:
    group = one_group([(answering("15"), 1, 1, 2.0), (answering("15", tokens=5), 1, 1, 1.0), (answering("7"), 0, 1, 0)])
    sources = [verified(format_negatives=True), by_margin(is_good)]
    first, second = candidates_of([group, group], sources, lambda one: np.asarray(one.components["preference"]))
    expected = [(0, 2, "correctness"), (1, 2, "correctness"), (0, 1, "margin")]
    assert expected == places(group, first)
    assert expected == places(group, second)


def test_a_response_that_could_not_be_judged_is_on_no_side_of_any_pair() -> None:
    """0 and 3 are good, 1 is wrong; without its grade 2 would be wrong too, and 4 the best of the good."""
    rows = [(1, 1, 1.0), (0, 1, 0.0), (0, 1, 0.0), (1, 1, 3.0), (1, 1, 9.0)]
    group = one_group([(answering(str(n), tokens=n + 2), *row) for n, row in enumerate(rows)])
    sources = [verified(format_negatives=True), by_margin(is_good)]
    (made,) = candidates_of([without_grades(group, [2, 4])], sources, preference_component)
    assert [(0, 1, "correctness"), (3, 1, "correctness"), (3, 0, "margin")] == places(group, made)
    (made,) = candidates_of([without_grades(group, [2, 4])], [by_margin(is_formed)], preference_component)
    assert {0, 1, 3} == {place for pair in places(group, made) for place in pair[:2]}
    assert [[]] == candidates_of([without_grades(group, range(5))], sources, preference_component)
