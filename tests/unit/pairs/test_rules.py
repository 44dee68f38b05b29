"""Which pairs are made, which guard turns a pair away, and which of the rest are kept."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from vergence.pairs.rules import (
    PairGuards,
    PairHarvest,
    entails,
    harvest,
    harvest_metrics,
    preference_component,
    rules_only,
)
from vergence.types import Completion, PreferencePair, ScoredGroup

from ..builders import completion, prompt, scored


def guards(
    *,
    min_margin: float = -math.inf,
    max_length_ratio: float = 100.0,
    max_per_prompt: int = 100,
    format_negatives: bool = True,
) -> PairGuards:
    return PairGuards(
        min_margin=min_margin,
        max_length_ratio=max_length_ratio,
        max_per_prompt=max_per_prompt,
        format_negatives=format_negatives,
    )


def answering(answer: str, *, tokens: int = 4) -> Completion:
    return completion(f"<think>so</think><answer>{answer}</answer>", logprobs=[-1.0] * tokens)


def one_group(rows: Sequence[tuple[Completion, int, int, float]]) -> ScoredGroup:
    """Rows of (completion, accuracy, format, preference score)."""
    texts, right, formed, scores = zip(*rows, strict=True)
    return scored(right, texts=texts, components={"accuracy": right, "format": formed, "preference": scores})


def made(
    group: ScoredGroup, with_guards: PairGuards, scores=preference_component, seed: int = 0
) -> tuple[list[tuple[int, int]], dict[str, int]]:
    """The pairs as (place of chosen, place of rejected), and how many were refused and why."""
    result = harvest([group], with_guards, scores, np.random.default_rng(seed))
    places = {id(one): place for place, one in enumerate(group.group.completions)}
    pairs = [(places[id(pair.chosen)], places[id(pair.rejected)]) for pair in result.pairs]
    return pairs, {reason: count for reason, count in result.refused.items() if count}


def test_chosen_is_right_and_formed_and_rejected_is_anything_else() -> None:
    """0 is good; 1 is right in bad form; 2 and 3 are wrong in either form."""
    group = one_group(
        [(answering("15"), 1, 1, 0), (answering("15"), 1, 0, 0), (answering("7"), 0, 1, 0), (answering("8"), 0, 0, 0)]
    )
    pairs, refused = made(group, guards())
    assert {(0, 1), (0, 2), (0, 3)} == set(pairs)
    assert {} == refused


def test_two_good_answers_are_no_pair_and_neither_are_two_bad_ones() -> None:
    good, bad = (answering("15"), 1, 1, 5.0), (answering("7"), 0, 1, 0.0)
    assert ([], {}) == made(one_group([good, (answering("15"), 1, 1, 0.0)]), guards())
    assert ([], {}) == made(one_group([bad, (answering("8"), 0, 0, 9.0)]), guards())


def test_without_format_negatives_right_answers_are_never_rejected() -> None:
    group = one_group([(answering("15"), 1, 1, 0), (answering("15"), 1, 0, 0), (answering("7"), 0, 1, 0)])
    pairs, _ = made(group, guards(format_negatives=False))
    assert [(0, 2)] == pairs


def test_a_pair_carries_its_prompt_its_margin_and_its_source() -> None:
    group = one_group([(answering("15"), 1, 1, 2.5), (answering("15"), 1, 0, 0.5), (answering("7"), 0, 1, -1.0)])
    result = harvest([group], guards(), preference_component, np.random.default_rng(0))
    assert [(3.5, "correctness"), (2.0, "format")] == [(pair.margin, pair.source) for pair in result.pairs]
    assert all(pair.prompt is group.group.prompt for pair in result.pairs)


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


def test_entailment_guard() -> None:
    """The rule called "it is 15" wrong, and may have been mistaken. In bad form on purpose it is another matter."""
    group = one_group([(answering("15"), 1, 1, 1), (answering("it is 15"), 0, 1, 0), (answering("115"), 0, 1, 0)])
    assert ([(0, 2)], {"entailment": 1}) == made(group, guards())
    in_bad_form = one_group([(answering("15"), 1, 1, 1), (answering("15"), 1, 0, 0)])
    assert ([(0, 1)], {}) == made(in_bad_form, guards())


@pytest.mark.parametrize(("chosen", "rejected", "kept"), [(4, 8, True), (8, 4, True), (4, 9, False), (9, 4, False)])
def test_length_guard_works_both_ways_and_allows_the_ratio_itself(chosen: int, rejected: int, kept: bool) -> None:
    group = one_group([(answering("15", tokens=chosen), 1, 1, 1), (answering("7", tokens=rejected), 0, 1, 0)])
    expected = ([(0, 1)], {}) if kept else ([], {"length": 1})
    assert expected == made(group, guards(max_length_ratio=2.0))


@pytest.mark.parametrize(("score", "kept"), [(1.5, True), (1.4, False), (-3.0, False)])
def test_margin_guard_allows_the_threshold_itself(score: float, kept: bool) -> None:
    group = one_group([(answering("15"), 1, 1, score), (answering("7"), 0, 1, 0.0)])
    expected = ([(0, 1)], {}) if kept else ([], {"margin": 1})
    assert expected == made(group, guards(min_margin=1.5))


def test_guards_are_asked_in_their_order() -> None:
    """A pair that all three would refuse is counted once, and what the first leaves the second sees."""
    entailed, long = answering("so 15", tokens=20), answering("7", tokens=20)
    group = one_group([(answering("15", tokens=2), 1, 1, 0.0), (entailed, 0, 1, 9.0), (long, 0, 1, 9.0)])
    assert ([], {"entailment": 1, "length": 1}) == made(group, guards(max_length_ratio=2.0, min_margin=0.0))


def test_largest_margins_come_first_up_to_the_limit() -> None:
    rows = [
        (answering("15"), 1, 1, 10.0),
        *((answering(str(k)), 0, 1, float(score)) for k, score in enumerate([4, 1, 7, 2])),
    ]
    pairs, refused = made(one_group(rows), guards(max_per_prompt=2))
    assert [(0, 2), (0, 4)] == pairs  # margins 9 and 8
    assert {"per prompt": 2} == refused


def test_responses_that_no_pair_uses_yet_are_preferred() -> None:
    """Good 0 and 1 score 10 and 5, bad 2 and 3 score 0 and 1: (0, 2), then (1, 3), though (0, 3) is clearer."""
    rows = [
        (answering("15"), 1, 1, 10.0),
        (answering("15"), 1, 1, 5.0),
        (answering("7"), 0, 1, 0.0),
        (answering("8"), 0, 1, 1.0),
    ]
    assert [(0, 2), (1, 3)] == made(one_group(rows), guards(max_per_prompt=2))[0]
    assert [(0, 2), (1, 3), (0, 3)] == made(one_group(rows), guards(max_per_prompt=3))[0]
    assert [(0, 2), (1, 3), (0, 3), (1, 2)] == made(one_group(rows), guards(max_per_prompt=9))[0]


def test_every_prompt_has_its_own_limit_and_groups_keep_their_order() -> None:
    groups = [
        one_group([(answering("15"), 1, 1, 1.0), (answering("7"), 0, 1, 0.0), (answering("8"), 0, 1, 0.0)])
        for _ in range(3)
    ]
    result = harvest(groups, guards(max_per_prompt=1), preference_component, np.random.default_rng(0))
    assert [id(group.group.prompt) for group in groups] == [id(pair.prompt) for pair in result.pairs]
    assert 3 == result.refused["per prompt"]


def test_ties_are_broken_by_the_rng_alone() -> None:
    rows = [(answering("15"), 1, 1, 1.0), *((answering(str(k)), 0, 1, 0.0) for k in range(6))]
    choices = [made(one_group(rows), guards(max_per_prompt=1), seed=seed)[0] for seed in range(30)]
    again = [made(one_group(rows), guards(max_per_prompt=1), seed=seed)[0] for seed in range(30)]
    assert choices == again
    assert len({tuple(choice) for choice in choices}) > 1


def test_rules_alone_give_infinite_margins_that_pass_any_threshold() -> None:
    group = one_group([(answering("15"), 1, 1, -5.0), (answering("15"), 1, 0, 3.0), (answering("7"), 0, 1, 9.0)])
    assert [math.inf, 0.0, 0.0] == rules_only(group).tolist()
    result = harvest([group], guards(min_margin=1e9), rules_only, np.random.default_rng(0))
    assert [math.inf, math.inf] == [pair.margin for pair in result.pairs]


def test_metrics_by_hand() -> None:
    """Finite margins 1 and 4 have the mean 2.5; an infinite one has none."""
    one = prompt()
    pairs = tuple(PreferencePair(one, completion(), completion(), margin, "rule") for margin in (1.0, 4.0, math.inf))
    metrics = harvest_metrics(PairHarvest(pairs, Counter({"entailment": 2, "per prompt": 5})))
    expected = {
        "pairs/kept": 3.0,
        "pairs/refused_entailment": 2.0,
        "pairs/refused_per_prompt": 5.0,
        "pairs/margin_mean": 2.5,
    }
    assert pytest.approx(expected) == metrics


def test_metrics_without_a_finite_margin_have_no_mean() -> None:
    assert {"pairs/kept": 0.0} == harvest_metrics(PairHarvest((), Counter()))
