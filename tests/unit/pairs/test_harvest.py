"""From candidates to pairs: what is kept, and that every candidate is accounted for once."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from vergence.pairs.guards import PairGuards
from vergence.pairs.harvest import FATES, KEPT, PairHarvest, harvest, harvest_metrics
from vergence.pairs.rules import by_margin, candidates_of, is_good, preference_component, verified
from vergence.pairs.statistics import PairStatistics, fate_table
from vergence.types import PreferencePair, ScoredGroup

from ..builders import completion, prompt, through_a_file
from .making import answering, one_group


def guards(*, ratio: float = 100.0, limit: int = 100) -> PairGuards:
    return PairGuards(max_length_ratio=ratio, format_length_ratio=ratio, max_per_prompt=limit)


def harvested(
    groups: list[ScoredGroup], with_guards: PairGuards, *, tau: float = -math.inf, seed: int = 0
) -> PairHarvest:
    candidates = candidates_of(groups, [verified(format_negatives=True)], preference_component)
    return harvest(candidates, with_guards, lambda margins: tau, np.random.default_rng(seed))


def made(group: ScoredGroup, with_guards: PairGuards, *, tau: float = -math.inf, seed: int = 0):
    """The pairs as (place of chosen, place of rejected), and how many were refused and why."""
    result = harvested([group], with_guards, tau=tau, seed=seed)
    places = {id(one): place for place, one in enumerate(group.group.completions)}
    pairs = [(places[id(pair.chosen)], places[id(pair.rejected)]) for pair in result.pairs]
    return pairs, {fate: result.refused(fate) for fate in FATES[1:] if result.refused(fate)}


def test_the_threshold_is_asked_for_the_margins_that_earlier_guards_left() -> None:
    """Margins 1, 2 and 3; the entailed one (2) and the long one (3) never reach the margin guard."""
    rows = [
        (answering("15"), 1, 1, 3.0),
        (answering("7"), 0, 1, 2.0),
        (answering("so 15"), 0, 1, 1.0),
        (answering("8", tokens=50), 0, 1, 0.0),
    ]
    seen: list[float] = []
    candidates = candidates_of([one_group(rows)], [verified(format_negatives=True)], preference_component)

    def tau(margins: list[float]) -> float:
        seen.extend(margins)
        return 0.5

    result = harvest(candidates, guards(ratio=2.0), tau, np.random.default_rng(0))
    assert [1.0] == seen
    assert 0.5 == result.threshold
    assert [1.0] == [pair.margin for pair in result.pairs]


def test_guards_are_asked_in_their_order() -> None:
    """A pair that all three would refuse is counted once, and what the first leaves the second sees."""
    entailed, long = answering("so 15", tokens=20), answering("7", tokens=20)
    group = one_group([(answering("15", tokens=2), 1, 1, 0.0), (entailed, 0, 1, 9.0), (long, 0, 1, 9.0)])
    assert ([], {"entailment": 1, "length": 1}) == made(group, guards(ratio=2.0), tau=0.0)


def test_largest_margins_come_first_up_to_the_limit() -> None:
    rows = [
        (answering("15"), 1, 1, 10.0),
        *((answering(str(k)), 0, 1, float(score)) for k, score in enumerate([4, 1, 7, 2])),
    ]
    pairs, refused = made(one_group(rows), guards(limit=2))
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
    assert [(0, 2), (1, 3)] == made(one_group(rows), guards(limit=2))[0]
    assert [(0, 2), (1, 3), (0, 3)] == made(one_group(rows), guards(limit=3))[0]
    assert [(0, 2), (1, 3), (0, 3), (1, 2)] == made(one_group(rows), guards(limit=9))[0]


def test_every_prompt_has_its_own_limit_and_groups_keep_their_order() -> None:
    groups = [
        one_group([(answering("15"), 1, 1, 1.0), (answering("7"), 0, 1, 0.0), (answering("8"), 0, 1, 0.0)])
        for _ in range(3)
    ]
    result = harvested(groups, guards(limit=1))
    assert [id(group.group.prompt) for group in groups] == [id(pair.prompt) for pair in result.pairs]
    assert 3 == result.refused("per prompt")


def test_ties_are_broken_by_the_rng_alone() -> None:
    rows = [(answering("15"), 1, 1, 1.0), *((answering(str(k)), 0, 1, 0.0) for k in range(6))]
    choices = [made(one_group(rows), guards(limit=1), seed=seed)[0] for seed in range(30)]
    again = [made(one_group(rows), guards(limit=1), seed=seed)[0] for seed in range(30)]
    assert choices == again
    assert len({tuple(choice) for choice in choices}) > 1


def test_continuations_do_not_count_towards_the_limit_of_a_prompt() -> None:
    one = prompt()
    pairs = [
        PreferencePair(one, answering("15"), answering(str(k)), float(k), source)
        for k, source in enumerate(["correctness", "correctness", "dropout", "dropout"])
    ]
    result = harvest([pairs], guards(limit=1), lambda margins: 0.0, np.random.default_rng(0))
    assert ["correctness", "dropout", "dropout"] == [pair.source for pair in result.pairs]
    assert 1 == result.refused("per prompt")


ROWS = some.lists(
    some.tuples(
        some.sampled_from(["15", "7", "so 15", "8"]),
        some.integers(1, 12),
        some.integers(0, 1),
        some.sampled_from([-1.0, 0.0, 0.5, 2.0]),
    ),
    min_size=1,
    max_size=8,
)


@given(some.lists(ROWS, min_size=1, max_size=4), some.floats(-1, 2), some.integers(1, 3), some.floats(1, 6))
def test_every_candidate_is_kept_or_refused_exactly_once(rows, tau: float, limit: int, ratio: float) -> None:
    groups = [
        one_group([(answering(text, tokens=n), int(text == "15"), formed, score) for text, n, formed, score in group])
        for group in rows
    ]
    candidates = candidates_of(groups, [verified(format_negatives=True), by_margin(is_good)], preference_component)
    result = harvest(candidates, guards(ratio=ratio, limit=limit), lambda margins: tau, np.random.default_rng(0))
    everything = [pair for of_prompt in candidates for pair in of_prompt]
    assert len(everything) == result.candidates == result.fates.total()
    counted = Counter(source for (source, _), count in result.fates.items() for _ in range(count))
    assert Counter(pair.source for pair in everything) == counted
    kept = Counter(pair.source for pair in result.pairs)
    assert kept == Counter({source: count for (source, fate), count in result.fates.items() if fate == KEPT})
    assert all(id(pair) in {id(one) for one in everything} for pair in result.pairs)
    assert len({id(pair) for pair in result.pairs}) == len(result.pairs)
    assert all(pair.margin >= tau for pair in result.pairs)
    most = Counter(id(pair.prompt) for pair in result.pairs)
    assert max(most.values(), default=0) <= limit
    metrics = harvest_metrics(result)
    refused = sum(value for name, value in metrics.items() if name.startswith("pairs/refused_"))
    assert len(everything) == metrics["pairs/kept"] + refused == metrics["pairs/candidates"]
    table = fate_table(result.fates)
    assert len(everything) == table["all"]["candidates"] == sum(table["all"][fate.replace(" ", "_")] for fate in FATES)


def test_metrics_by_hand() -> None:
    """Finite margins 1 and 4 have the mean 2.5; an infinite one has none."""
    one = prompt()
    pairs = tuple(PreferencePair(one, completion(), completion(), margin, "format") for margin in (1.0, 4.0, math.inf))
    fates = Counter({("format", KEPT): 3, ("correctness", "entailment"): 2, ("correctness", "per prompt"): 5})
    metrics = harvest_metrics(PairHarvest(pairs, fates, 0.75))
    expected = {
        "pairs/candidates": 10.0,
        "pairs/kept": 3.0,
        "pairs/kept_share": 0.3,
        "pairs/kept_correctness": 0.0,
        "pairs/kept_format": 3.0,
        "pairs/threshold": 0.75,
        "pairs/refused_entailment": 2.0,
        "pairs/refused_length": 0.0,
        "pairs/refused_margin": 0.0,
        "pairs/refused_per_prompt": 5.0,
        "pairs/margin_mean": 2.5,
    }
    assert pytest.approx(expected) == metrics


def test_metrics_without_candidates() -> None:
    metrics = harvest_metrics(PairHarvest((), Counter(), -math.inf))
    assert 0.0 == metrics["pairs/kept"] == metrics["pairs/kept_share"] == metrics["pairs/candidates"]
    assert not {"pairs/margin_mean", "pairs/threshold", "pairs/kept_format"} & metrics.keys()


def test_statistics_add_up_over_rounds_and_survive_a_checkpoint() -> None:
    statistics, restored = PairStatistics(), PairStatistics()
    statistics.add(Counter({("format", KEPT): 2, ("format", "length"): 1}))
    statistics.add(Counter({("format", KEPT): 3, ("file", KEPT): 1}))
    restored.load_state_dict(through_a_file(statistics.state_dict()))
    nothing = {"entailment": 0, "margin": 0, "per_prompt": 0}
    expected = {
        "format": {"candidates": 6, "kept": 5, "length": 1} | nothing,
        "file": {"candidates": 1, "kept": 1, "length": 0} | nothing,
        "all": {"candidates": 7, "kept": 6, "length": 1} | nothing,
    }
    assert expected == fate_table(restored.fates) == fate_table(statistics.fates)
