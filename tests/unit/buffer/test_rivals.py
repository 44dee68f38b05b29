"""The rivals of the buffer: plain GRPO, dropped groups, dynamic sampling, Selective Sample Replay."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.buffer.dynamic import DynamicSampling
from vergence.buffer.episode import EpisodeBuffer
from vergence.buffer.fresh import DropDead, PlainGrpo
from vergence.buffer.selection import Ask, Selection
from vergence.types import JudgedGroup, Origin

from ..builders import through_a_file
from .cases import advantaged, buffer_of, limits, lone, replayed, rewarded, rng, texts

MIXED, RIGHT = [1.0, 0.0, 0.0, 1.0], [1.0] * 4
PARTLY = [0.0, 0.5, 1.0, 0.5]
"""Two completions at the mean, hence without advantage."""


def asked_of(batches: Sequence[Sequence[Sequence[float]]], log: list[int]) -> Ask:
    """Groups with these rewards, batch by batch; which batches were asked for is written into the log."""

    def ask(turn: int) -> list[JudgedGroup]:
        log.append(turn)
        return [rewarded(values, name=f"{turn}.{index}") for index, values in enumerate(batches[turn])]

    return ask


def test_all_of_them_are_selections() -> None:
    for one in (
        PlainGrpo(),
        DropDead(),
        DynamicSampling(groups=1, max_batches=1),
        EpisodeBuffer(exponent=1.0, episode=9),
    ):
        assert isinstance(one, Selection)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (PlainGrpo(), ["b@0/0", "b@0/1", "b@0/2", "b@0/3", "c@0/1", "c@0/3"]),
        (buffer_of(limits()), ["b@0/0", "b@0/1", "b@0/2", "b@0/3", "c@0/1", "c@0/3"]),
        (EpisodeBuffer(exponent=1.0, episode=9), ["b@0/0", "b@0/1", "b@0/2", "b@0/3", "c@0/1", "c@0/3"]),
        (DropDead(), ["c@0/1", "c@0/3"]),
        (DynamicSampling(groups=2, max_batches=1), ["c@0/1", "c@0/3"]),
    ],
    ids=["none", "ssb", "ssr", "drop", "dynamic"],
)
def test_completions_without_advantage_are_offered_where_their_group_is_in_the_batch(
    strategy: Selection, expected: list[str]
) -> None:
    """Those of a dead group, and those at the mean of a live one; what is dropped is out of the batch altogether."""
    groups = [rewarded(MIXED, name="a"), rewarded(RIGHT, name="b"), rewarded(PARTLY, name="c")]
    selected = strategy.select(groups, 12, version=0, rng=rng())
    assert expected == texts(selected.zero_advantage)
    assert all(not one.effective and 0.0 == one.sample.advantage for one in selected.zero_advantage)
    assert all(one.effective for one in selected.draws)


# ── plain GRPO, dropped groups ───────────────────────────────────────────────────────────────────────────────────


def test_plain_grpo_counts_what_it_does_not_compute() -> None:
    groups = [rewarded(MIXED, name="a"), rewarded(RIGHT, name="b"), rewarded(PARTLY, name="c")]
    selected = PlainGrpo().select(groups, 12, version=0, rng=rng())
    assert ["a@0/0", "a@0/1", "a@0/2", "a@0/3", "c@0/0", "c@0/2"] == texts(selected.draws)
    assert (12, 0) == (selected.places, selected.kept)
    assert (3, 2, 12, 6) == (
        selected.sampled.groups,
        selected.sampled.groups_used,
        selected.sampled.samples,
        selected.sampled.effective_samples,
    )


def test_dropping_takes_dead_groups_out_of_the_count_and_nothing_else() -> None:
    groups = [rewarded(MIXED, name="a"), rewarded(RIGHT, name="b"), rewarded(PARTLY, name="c")]
    plain, dropped = (one.select(groups, 12, version=0, rng=rng()) for one in (PlainGrpo(), DropDead()))
    assert texts(plain.draws) == texts(dropped.draws)
    assert (12, 8) == (plain.places, dropped.places)


def test_a_step_of_dead_groups_gives_an_empty_batch() -> None:
    for one in (PlainGrpo(), DropDead(), DynamicSampling(groups=1, max_batches=1)):
        judged = one.gather(asked_of([[RIGHT, RIGHT]], []), 0)
        assert () == one.select(judged, 8, version=0, rng=rng()).draws


@given(st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=3, max_size=3), max_size=4))
def test_a_buffer_of_capacity_zero_is_plain_grpo(rewards: list[list[float]]) -> None:
    groups = [rewarded(values, name=str(index)) for index, values in enumerate(rewards)]
    buffer, plain = buffer_of(limits(capacity=0)), PlainGrpo()
    for version in range(2):
        ours, theirs = (one.select(groups, 12, version=version, rng=rng()) for one in (buffer, plain))
        assert texts(ours.draws) == texts(theirs.draws)
        assert (ours.places, ours.kept, ours.sampled) == (theirs.places, theirs.kept, theirs.sampled)


# ── dynamic sampling ─────────────────────────────────────────────────────────────────────────────────────────────


def test_it_asks_until_the_batch_is_full_and_leaves_the_surplus_out() -> None:
    log: list[int] = []
    batches = [[RIGHT, MIXED], [MIXED, MIXED], [MIXED, MIXED]]
    one = DynamicSampling(groups=2, max_batches=5)
    judged = one.gather(asked_of(batches, log), 0)
    assert [0, 1] == log
    assert 4 == len(judged)
    selected = one.select(judged, 8, version=0, rng=rng())
    assert [f"{name}@0/{index}" for name in ("0.1", "1.0") for index in range(4)] == texts(selected.draws)
    counts = selected.sampled
    assert (8, 2, 4, 2) == (selected.places, counts.batches, counts.groups, counts.groups_used)
    assert (16, 12) == (counts.samples, counts.effective_samples)


def test_it_goes_on_where_it_stopped_so_that_no_prompt_is_skipped_or_repeated() -> None:
    log: list[int] = []
    ask = asked_of([[RIGHT, RIGHT], [MIXED, MIXED], [MIXED, MIXED], [RIGHT, MIXED], [MIXED, RIGHT]], log)
    one = DynamicSampling(groups=2, max_batches=5)
    counts = [len(one.gather(ask, step)) // 2 for step in range(3)]
    assert [2, 1, 2] == counts
    assert [0, 1, 2, 3, 4] == log


def test_the_limit_of_batches_gives_a_smaller_update_normalised_by_itself() -> None:
    log: list[int] = []
    one = DynamicSampling(groups=3, max_batches=2)
    judged = one.gather(asked_of([[RIGHT, PARTLY, RIGHT], [RIGHT, RIGHT, MIXED], [MIXED] * 3], log), 0)
    selected = one.select(judged, 12, version=0, rng=rng())
    assert [0, 1] == log
    assert (6, 8, 2) == (len(selected.draws), selected.places, selected.sampled.groups_used)


# ── Selective Sample Replay ──────────────────────────────────────────────────────────────────────────────────────


def test_fresh_samples_enter_before_the_draw_and_may_come_twice() -> None:
    one = EpisodeBuffer(exponent=1.0, episode=100)
    selected = one.select(lone(1.0, -1.0), 4, version=0, rng=rng())
    assert ["0", "1"] == texts(selected.draws, Origin.FRESH)
    assert ["0", "1"] == sorted(replayed(selected.draws))
    assert [0, 0] == [draw.age for draw in selected.draws if draw.origin is Origin.REPLAY]
    assert (4, 2) == (selected.places, selected.kept)


def test_no_draw_where_the_fresh_samples_fill_the_batch() -> None:
    one = EpisodeBuffer(exponent=1.0, episode=100)
    assert [] == replayed(one.select(lone(*[1.0] * 6), 4, version=0, rng=rng()).draws)


def test_the_draw_follows_the_advantage_over_the_whole_episode() -> None:
    """Kept |A| = 1, fresh |A| = 3: the fresh one is drawn first in three of four cases."""
    again = 0
    for seed in range(400):
        one = EpisodeBuffer(exponent=1.0, episode=100)
        one.select(lone(1.0), 1, version=0, rng=rng())
        (name,) = replayed(one.select(lone(-3.0, first=7), 2, version=1, rng=rng(seed)).draws)
        again += name == "7"
    assert abs(again - 300) < 5 * (400 * 3 / 16) ** 0.5


def test_nothing_limits_age_or_use_within_an_episode_and_nothing_outlives_it() -> None:
    """An episode of 3 prompts, one a step: cleared before the fourth step."""
    one = EpisodeBuffer(exponent=1.0, episode=3)
    one.select(lone(1.0), 1, version=0, rng=rng())
    for version, uses in ((1, 1), (2, 2)):
        selected = one.select(lone(0.0, first=9), 1, version=version, rng=rng())
        assert [(version, uses)] == [(draw.age, draw.uses) for draw in selected.draws]
    assert () == one.select(lone(0.0, first=9), 1, version=3, rng=rng()).draws


def test_a_batch_is_never_overfull_and_a_draw_never_repeats() -> None:
    one = EpisodeBuffer(exponent=1.0, episode=10**6)
    for version in range(30):
        fresh = lone(*[1.0 + version] * (version % 4), first=10 * version)
        selected = one.select(fresh, 5, version=version, rng=rng(version))
        drawn = replayed(selected.draws)
        assert len(selected.draws) <= max(5, len(fresh))
        assert len(set(drawn)) == len(drawn)


def test_ssr_and_ssb_differ_in_when_fresh_samples_enter() -> None:
    ssb, ssr = buffer_of(limits()), EpisodeBuffer(exponent=1.0, episode=100)
    group = [advantaged([2.0, -2.0], texts=list("ab"))]
    ours, theirs = (one.select(group, 4, version=0, rng=rng()) for one in (ssb, ssr))
    assert [] == replayed(ours.draws)
    assert ["a", "b"] == sorted(replayed(theirs.draws))
    assert through_a_file(ssr.state_dict())["uses"] == [1, 1]
