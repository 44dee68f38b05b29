"""Fifty steps of every strategy, in one go and with a checkpoint in the middle: the same draws."""

from collections.abc import Callable
from typing import Any

import pytest

from vergence.advantage.scaling import group_normalised
from vergence.buffer.dynamic import DynamicSampling
from vergence.buffer.entries import single_samples, whole_groups
from vergence.buffer.episode import EpisodeBuffer
from vergence.buffer.fresh import DropDead, PlainGrpo
from vergence.buffer.mixed import MixedAdvantages, StaleAdvantages
from vergence.buffer.selection import Selected, Selection
from vergence.buffer.selective import SampleBuffer, lowest_first, oldest_first
from vergence.types import JudgedGroup

from ..builders import through_a_file
from .cases import limits, rewarded, rng

STEPS, GROUPS, SIZE = 50, 4, 16
PROMPTS = 12
"""So few that prompts come again while their samples are kept."""


def ask_at(version: int) -> Callable[[int], list[JudgedGroup]]:
    """Four groups a batch; about half of them are effective."""

    def ask(turn: int) -> list[JudgedGroup]:
        source = rng(1000 + turn)
        names = source.permutation(PROMPTS)[:GROUPS]
        solved = source.random((GROUPS, 4)) < source.choice([0.0, 0.3, 1.0], (GROUPS, 1))
        return [
            rewarded(row.astype(float).tolist(), name=str(name), version=version)
            for name, row in zip(names, solved, strict=True)
        ]

    return ask


def told(selected: Selected) -> tuple[Any, ...]:
    """Everything that a selection says."""
    draws = [
        (one.origin, one.age, one.uses, one.sample.advantage, one.sample.reward, one.sample.completion.text)
        for one in selected.draws
    ]
    return draws, selected.places, selected.kept, selected.sampled


def run(selection: Selection, steps: range) -> list[tuple[Any, ...]]:
    found = []
    for version in steps:
        judged = selection.gather(ask_at(version), version)
        found.append(told(selection.select(judged, SIZE, version=version, rng=rng(version))))
    return found


def ssb(unit: Any, leaving: Any, advantages: Any) -> SampleBuffer:
    return SampleBuffer(limits(capacity=40, max_age=9, max_uses=3), unit, leaving, advantages)


STRATEGIES: dict[str, Callable[[], Selection]] = {
    "ssb": lambda: ssb(single_samples, oldest_first, StaleAdvantages()),
    "ssb, groups": lambda: ssb(whole_groups, oldest_first, StaleAdvantages()),
    "ssb, lowest": lambda: ssb(single_samples, lowest_first, StaleAdvantages()),
    "ssb, recomputed": lambda: ssb(single_samples, lowest_first, MixedAdvantages(group_normalised, 9)),
    "ssb, groups, recomputed": lambda: ssb(whole_groups, lowest_first, MixedAdvantages(group_normalised, 9)),
    "ssr": lambda: EpisodeBuffer(exponent=1.0, episode=60),
    "dynamic": lambda: DynamicSampling(groups=GROUPS, max_batches=3),
    "drop": DropDead,
    "none": PlainGrpo,
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_resumed_selection_goes_on_exactly_as_one_that_was_not_interrupted(name: str) -> None:
    make = STRATEGIES[name]
    whole = run(make(), range(STEPS))
    for cut in (1, 23):
        before = make()
        first = run(before, range(cut))
        after = make()
        after.load_state_dict(through_a_file(before.state_dict()))
        assert whole == first + run(after, range(cut, STEPS))


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name.startswith("ss")])
def test_the_steps_of_this_test_do_replay(name: str) -> None:
    replays = [sum(draw[0] == "replay" for draw in one[0]) for one in run(STRATEGIES[name](), range(STEPS))]
    assert sum(count > 0 for count in replays) > STEPS // 2


def test_the_steps_of_this_test_do_renew_advantages() -> None:
    stale, renewed = (run(STRATEGIES[name](), range(STEPS)) for name in ("ssb, lowest", "ssb, recomputed"))
    assert stale != renewed
