"""The Selective Sample Buffer: what enters, what leaves, what is drawn and how often, and what a checkpoint keeps."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.buffer.entries import single_samples, whole_groups
from vergence.buffer.selective import BufferLimits, Leaving, SampleBuffer, lowest_first, oldest_first
from vergence.types import Draw, JudgedGroup, Origin

from ..builders import through_a_file
from .cases import advantaged, buffer_of, limits, lone, replayed, rewarded, rng, texts


def top_up(buffer: SampleBuffer, fresh: Sequence[JudgedGroup], size: int, *, version: int, seed: int = 0) -> list[Draw]:
    return list(buffer.select(fresh, size, version=version, rng=rng(seed)).draws)


def filled(with_limits: BufferLimits, kept: Sequence[JudgedGroup]) -> SampleBuffer:
    buffer = buffer_of(with_limits)
    top_up(buffer, kept, 0, version=0)
    return buffer


def everything(buffer: SampleBuffer) -> set[str]:
    """What the buffer holds, read from its state, which draws nothing."""
    return {row["completion"]["text"] for row in buffer.state_dict()["samples"]}


# ── what enters and what leaves ──────────────────────────────────────────────────────────────────────────────────


def test_an_empty_buffer_gives_the_fresh_samples_and_nothing_else() -> None:
    buffer = buffer_of(limits())
    draws = top_up(buffer, lone(1.0, -1.0), 8, version=3)
    assert ["0", "1"] == texts(draws)
    assert [(Origin.FRESH, 0), (Origin.FRESH, 0)] == [(one.origin, one.age) for one in draws]
    assert 2 == len(buffer)


def test_an_empty_buffer_and_no_fresh_samples_give_an_empty_batch() -> None:
    assert [] == top_up(buffer_of(limits()), [], 8, version=0)


def test_fresh_samples_come_first_and_in_order() -> None:
    buffer = filled(limits(), lone(1.0, 1.0))
    draws = top_up(buffer, lone(1.0, 1.0, 1.0, first=10), 5, version=1)
    assert ["10", "11", "12"] == texts(draws)[:3]
    assert {"0", "1"} == set(replayed(draws))


def test_fresh_samples_are_never_drawn_in_the_step_they_enter() -> None:
    """Room for six, and only the two old samples may fill it."""
    buffer = filled(limits(), lone(1.0, 1.0))
    draws = top_up(buffer, lone(9.0, 9.0, first=10), 8, version=1)
    assert ["0", "1"] == sorted(replayed(draws))
    assert {"0", "1", "10", "11"} == everything(buffer)


def test_never_more_than_the_batch_has_room_for() -> None:
    buffer = filled(limits(), lone(*[1.0] * 20))
    assert 3 == len(replayed(top_up(buffer, lone(1.0, first=30), 4, version=1)))
    assert 0 == len(replayed(top_up(buffer, lone(*[1.0] * 4, first=40), 4, version=2)))
    assert 0 == len(replayed(top_up(buffer, lone(*[1.0] * 6, first=50), 4, version=3)))


def test_a_full_buffer_drops_the_oldest_first() -> None:
    buffer = filled(limits(capacity=3), lone(9.0, 1.0))
    top_up(buffer, lone(1.0, 1.0, first=2), 0, version=1)
    assert {"1", "2", "3"} == everything(buffer)
    top_up(buffer, lone(*[1.0] * 5, first=4), 0, version=2)
    assert {"6", "7", "8"} == everything(buffer)
    assert 3 == len(buffer)


def test_capacity_zero_is_plain_grpo() -> None:
    buffer = buffer_of(limits(capacity=0))
    for version in range(3):
        draws = top_up(buffer, lone(1.0, -1.0), 8, version=version)
        assert ["0", "1"] == texts(draws)
        assert 0 == len(buffer)


def test_a_sample_is_kept_up_to_max_age_and_dropped_after() -> None:
    buffer = filled(limits(max_age=2), lone(1.0))
    assert ["0"] == replayed(top_up(buffer, [], 1, version=2))
    assert [] == replayed(top_up(buffer, [], 1, version=3))
    assert 0 == len(buffer)


def test_age_is_counted_in_policy_versions_since_sampling() -> None:
    buffer = filled(limits(), lone(1.0, version=4))
    assert [7] == [one.age for one in top_up(buffer, [], 1, version=11)]


def test_a_sample_is_replayed_max_uses_times_and_then_leaves() -> None:
    buffer = filled(limits(max_uses=2), lone(1.0))
    drawn = [len(top_up(buffer, [], 1, version=version)) for version in range(1, 5)]
    assert [1, 1, 0, 0] == drawn
    assert 0 == len(buffer)


def test_entering_fresh_is_no_use() -> None:
    buffer = filled(limits(max_uses=1), lone(1.0))
    assert 1 == len(buffer)
    assert ["0"] == replayed(top_up(buffer, [], 1, version=1))


# ── what is drawn ────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_drawn_twice_in_one_batch() -> None:
    """One priority a thousand times the others': with replacement it would fill the batch."""
    for seed in range(50):
        buffer = filled(limits(), lone(1000.0, 1.0, 1.0, 1.0))
        assert ["0", "1", "2", "3"] == sorted(texts(top_up(buffer, [], 4, version=1, seed=seed)))


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_equal_priorities_are_drawn_uniformly_and_without_complaint(exponent: float) -> None:
    """Binary rewards make equal priorities the rule. 2,000 draws of 2 out of 4: each comes 1,000 times +- 5 sigma."""
    counts: Counter[str] = Counter()
    buffer = filled(limits(exponent=exponent, max_uses=10_000), lone(0.5, -0.5, 0.5, -0.5))
    for seed in range(2000):
        counts.update(texts(top_up(buffer, [], 2, version=1, seed=seed)))
    assert all(abs(counts[name] - 1000) < 5 * 500**0.5 for name in "0123")


def test_the_same_rng_draws_the_same() -> None:
    kept = lone(*np.linspace(0.1, 3.0, 30).tolist())
    one, same, other = (texts(top_up(filled(limits(), kept), [], 10, version=1, seed=seed)) for seed in (5, 5, 6))
    assert one == same
    assert one != other


def test_a_target_below_one_leaves_places_empty_that_still_count() -> None:
    buffer = filled(limits(target=0.5), lone(*[1.0] * 20))
    selected = buffer.select(lone(1.0, 1.0, first=30), 10, version=1, rng=rng())
    assert (5, 10) == (len(selected.draws), selected.places)
    assert 3 == len(replayed(selected.draws))


def test_the_number_of_uses_and_what_was_sampled_are_told() -> None:
    buffer = filled(limits(), lone(1.0))
    top_up(buffer, [], 1, version=1)
    group = advantaged([0.0, 2.0, -2.0, 0.0], texts=list("abcd"), version=2)
    selected = buffer.select([group, *lone(0.0, first=9)], 4, version=2, rng=rng())
    assert [0, 0, 2] == [one.uses for one in selected.draws]
    counts = selected.sampled
    assert (1, 2, 1, 5, 2) == (
        counts.batches,
        counts.groups,
        counts.groups_used,
        counts.samples,
        counts.effective_samples,
    )


def test_a_warm_buffer_replays_at_the_first_step_with_age_zero() -> None:
    buffer = buffer_of(limits(capacity=3))
    buffer.warm(lone(1.0, -1.0, 0.0, 2.0, 3.0))
    assert {"1", "3", "4"} == everything(buffer)
    draws = top_up(buffer, lone(1.0, first=9), 4, version=0)
    assert ["9"] == texts(draws, Origin.FRESH)
    assert [(0, 1)] * 3 == [(one.age, one.uses) for one in draws[1:]]


# ── whole groups, and who leaves first ───────────────────────────────────────────────────────────────────────────


def test_whole_groups_are_drawn_together_and_without_what_has_no_advantage() -> None:
    buffer = buffer_of(limits(), whole_groups)
    top_up(
        buffer,
        [advantaged([1.0, 0.0, -1.0], texts=list("abc")), advantaged([2.0, -2.0], texts=list("de"))],
        0,
        version=0,
    )
    assert 4 == len(buffer)
    assert set("acde") == everything(buffer)
    drawn = texts(top_up(buffer, [], 2, version=1))
    assert drawn in (["a", "c"], ["d", "e"])
    assert ["a", "c", "d", "e"] == sorted(texts(top_up(buffer, [], 4, version=2)))


def test_a_group_that_does_not_fit_is_passed_over_for_one_that_does() -> None:
    """Room for 2, a group of 3 that nearly always comes first, and a group of 2."""
    groups = [advantaged([90.0] * 3, texts=list("abc")), advantaged([0.1, 0.1], texts=list("de"))]
    for seed in range(20):
        buffer = buffer_of(limits(), whole_groups)
        top_up(buffer, groups, 0, version=0)
        assert ["d", "e"] == texts(top_up(buffer, [], 2, version=1, seed=seed))
        assert [] == texts(top_up(buffer, [], 1, version=1, seed=seed))


def test_capacity_counts_samples_and_drops_whole_groups() -> None:
    """Capacity 5: groups of 2, 2 and 2 do not fit; the oldest goes whole, and one place stays free."""
    buffer = buffer_of(limits(capacity=5), whole_groups)
    top_up(buffer, [rewarded([1, 0], name=name) for name in "xyz"], 0, version=0)
    assert {"y@0/0", "y@0/1", "z@0/0", "z@0/1"} == everything(buffer)
    top_up(buffer, [rewarded([1, 0, 1, 0, 1, 0], name="w")], 0, version=1)
    assert set() == everything(buffer)


def test_lowest_priority_leaves_first_and_among_equal_ones_the_oldest() -> None:
    buffer = buffer_of(limits(capacity=3), leaving=lowest_first)
    top_up(buffer, lone(3.0, -1.0, 1.0, 2.0), 0, version=0)
    assert {"0", "2", "3"} == everything(buffer)
    top_up(buffer, lone(0.5, -4.0, first=4), 0, version=1)
    assert {"0", "3", "5"} == everything(buffer)


def test_with_exponent_zero_all_priorities_are_equal_and_the_oldest_leaves() -> None:
    buffer = buffer_of(limits(capacity=2, exponent=0.0), leaving=lowest_first)
    top_up(buffer, lone(9.0, 1.0, 5.0), 0, version=0)
    assert {"1", "2"} == everything(buffer)


# ── limits, for whatever comes ───────────────────────────────────────────────────────────────────────────────────

steps = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 8)), min_size=1, max_size=8)


@given(steps, st.integers(0, 9), st.integers(0, 5), st.integers(1, 3))
def test_contents_at_every_step_are_what_slow_bookkeeping_says(
    plan: list[tuple[int, int]], capacity: int, max_age: int, max_uses: int
) -> None:
    """Which samples are drawn is left to the buffer; everything else follows from that."""
    buffer = buffer_of(limits(capacity=capacity, max_age=max_age, max_uses=max_uses))
    held: dict[str, int] = {}  # text to version, oldest first
    uses: Counter[str] = Counter()
    born = 0
    for version, (count, size) in enumerate(plan):
        fresh = lone(*[1.0] * count, version=version, first=born)
        names = [str(born + index) for index in range(count)]
        born += count
        draws = top_up(buffer, fresh, size, version=version, seed=version)

        held = {text: since for text, since in held.items() if version - since <= max_age}
        again = replayed(draws)
        assert names == texts(draws, Origin.FRESH) == texts(draws)[:count]
        assert min(max(0, size - count), len(held)) == len(again)
        assert len(set(again)) == len(again)
        assert set(again) <= set(held)
        assert [version - held[text] for text in again] == [one.age for one in draws[count:]]

        uses.update(again)
        assert [uses[text] for text in again] == [one.uses for one in draws[count:]]
        held = {text: since for text, since in held.items() if uses[text] < max_uses}
        held |= dict.fromkeys(names, version)
        held = dict(list(held.items())[max(0, len(held) - capacity) :])
        assert set(held) == everything(buffer)
        assert len(held) == len(buffer)


solved = st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=4, max_size=4), max_size=3)


@given(
    st.lists(st.tuples(solved, st.integers(12, 20)), min_size=1, max_size=7),
    st.integers(0, 14),
    st.integers(0, 4),
    st.integers(1, 2),
    st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    st.sampled_from([oldest_first, lowest_first]),
    st.booleans(),
)
def test_limits_hold_with_every_unit_and_eviction(
    plan: list[tuple[list[list[float]], int]],
    capacity: int,
    max_age: int,
    max_uses: int,
    exponent: float,
    leaving: Leaving,
    grouped: bool,
) -> None:
    held_to = limits(capacity=capacity, max_age=max_age, max_uses=max_uses, exponent=exponent)
    buffer = buffer_of(held_to, whole_groups if grouped else single_samples, leaving)
    uses: Counter[str] = Counter()
    for version, (rewards, size) in enumerate(plan):
        fresh = [rewarded(values, name=f"p{version}-{index}", version=version) for index, values in enumerate(rewards)]
        before = everything(buffer)
        draws = top_up(buffer, fresh, size, version=version, seed=version)
        again = replayed(draws)
        uses.update(again)
        assert len(draws) <= size
        assert len(set(texts(draws))) == len(draws)
        assert set(again) <= before
        assert all(one.age <= max_age for one in draws)
        assert all(uses[text] <= max_uses for text in again)
        assert len(buffer) == len(everything(buffer)) <= capacity
        if grouped:  # a replayed group is whole: as many samples of its prompt as can teach
            drawn = Counter(text.split("/")[0] for text in again)
            assert all(count in (2, 3, 4) for count in drawn.values())


# ── checkpoints ──────────────────────────────────────────────────────────────────────────────────────────────────


def used_buffer() -> SampleBuffer:
    """A buffer after three steps, some of its samples used."""
    buffer = buffer_of(limits(capacity=14, max_age=5, max_uses=2))
    for version in range(3):
        top_up(
            buffer, [rewarded([1, 0, 0.5, 0], name=f"{version}{x}", version=version) for x in "ab"], 10, version=version
        )
    return buffer


def test_a_restored_buffer_goes_on_exactly_as_the_saved_one() -> None:
    """Through a file, since that is what a resumed run reads; six steps, until everything saved has left."""
    saved, restored = used_buffer(), buffer_of(limits(capacity=14, max_age=5, max_uses=2))
    restored.load_state_dict(through_a_file(saved.state_dict()))
    assert len(saved) == len(restored) > 0
    for version in range(3, 9):
        fresh = [rewarded([1, 0], name=f"new{version}", version=version)]
        ours, theirs = (top_up(one, fresh, 7, version=version, seed=version) for one in (saved, restored))
        assert texts(ours) == texts(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert (one.origin, one.age, one.uses) == (other.origin, other.age, other.uses)
            assert (one.sample.advantage, one.sample.reward) == (other.sample.advantage, other.sample.reward)
            assert one.sample.prompt.problem == other.sample.prompt.problem
            ours_now, theirs_now = one.sample.completion, other.sample.completion
            assert (ours_now.finish, ours_now.policy_version) == (theirs_now.finish, theirs_now.policy_version)
            for field in ("token_ids", "sampler_logprobs"):
                assert getattr(ours_now, field).tolist() == getattr(theirs_now, field).tolist()
                assert getattr(ours_now, field).dtype == getattr(theirs_now, field).dtype


def test_number_of_uses_survives_a_checkpoint() -> None:
    buffer = filled(limits(max_uses=2), lone(1.0))
    top_up(buffer, [], 1, version=1)
    restored = buffer_of(limits(max_uses=2))
    restored.load_state_dict(through_a_file(buffer.state_dict()))
    assert [1, 0] == [len(top_up(restored, [], 1, version=version)) for version in (2, 3)]


def test_a_prompt_is_stored_once_and_shared_again_after_restoring() -> None:
    buffer = filled(limits(), [rewarded([1, 0, 0], name="even"), rewarded([1, 1, 0], name="odd")])
    state = through_a_file(buffer.state_dict())
    assert 2 == len(state["prompts"])
    restored = buffer_of(limits())
    restored.load_state_dict(state)
    draws = top_up(restored, [], 6, version=1)
    assert 6 == len(draws)
    assert 2 == len({id(one.sample.prompt) for one in draws})


def test_loading_replaces_what_was_there() -> None:
    buffer = filled(limits(), lone(1.0, 1.0))
    buffer.load_state_dict(through_a_file(buffer_of(limits()).state_dict()))
    assert 0 == len(buffer)
