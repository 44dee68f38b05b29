"""The pairs of a round: walked in epochs without gaps, and held by checkpoints."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from vergence.pairs.pool import PairPool
from vergence.types import PreferencePair, TrainingPair

from ..builders import completion, prompt, through_a_file


def pool_of(count: int, *, max_passes: int = 99) -> PairPool:
    """Pairs whose source is their number, two to a prompt."""
    pool = PairPool(max_passes)
    prompts = [prompt(f"p{index}") for index in range((count + 1) // 2)]
    none = np.zeros(2, np.float32)
    pool.refill(
        [
            TrainingPair(
                PreferencePair(prompts[index // 2], completion("good"), completion("bad"), math.inf, str(index)),
                none,
                none,
            )
            for index in range(count)
        ]
    )
    return pool


def sources(pairs: list[TrainingPair]) -> list[str]:
    return [one.pair.source for one in pairs]


def test_refill_replaces_the_last_rounds_pairs_and_begins_anew() -> None:
    pool = pool_of(5, max_passes=1)
    pool.refill(pool.take(4, seed=0))
    assert (4, 2) == (len(pool), pool.batches(2))


@pytest.mark.parametrize(("size", "count"), [(6, 2), (5, 2), (3, 7), (1, 3)])
def test_every_epoch_takes_every_pair_once(size: int, count: int) -> None:
    """Steps do not have to divide the pool: the walk goes on across the border."""
    pool = pool_of(size)
    walk = [name for _ in range(4 * size) for name in sources(pool.take(count, seed=3))]
    epochs = [walk[start : start + size] for start in range(0, len(walk), size)]
    assert 4 * count == len(epochs)
    assert all(sorted(map(str, range(size))) == sorted(epoch) for epoch in epochs)


def test_every_epoch_is_a_fresh_shuffle_and_every_seed_its_own() -> None:
    pool = pool_of(20)
    first, second = sources(pool.take(20, seed=1)), sources(pool.take(20, seed=1))
    assert first != second
    assert first != sources(pool_of(20).take(20, seed=2))
    assert first == sources(pool_of(20).take(20, seed=1))


def test_pairs_of_one_step_may_come_from_two_epochs() -> None:
    assert Counter("012" * 2) == Counter(sources(pool_of(3).take(6, seed=0)))


@given(some.integers(0, 12), some.integers(1, 9), some.integers(1, 5))
def test_the_batches_that_are_promised_are_whole_and_stay_within_the_passes(
    size: int, count: int, max_passes: int
) -> None:
    """All of them are whole, but for one alone; and less than a batch of what may be used is left at the end."""
    pool = pool_of(size, max_passes=max_passes)
    walk, lengths = [], []
    while pool.batches(count):
        promised = pool.batches(count)
        walk += sources(pool.take(count, seed=0))
        lengths.append(len(walk) - sum(lengths))
        assert promised - 1 == pool.batches(count)
    assert all(uses <= max_passes for uses in Counter(walk).values())
    assert max_passes * size - len(walk) < count
    assert set(lengths) <= {count} or lengths == [max_passes * size]


def test_a_restored_pool_goes_on_with_the_same_pairs() -> None:
    pool, restored = pool_of(7, max_passes=3), PairPool(3)
    pool.take(3, seed=9)
    restored.load_state_dict(through_a_file(pool.state_dict()))
    assert 7 == len(restored)
    for _ in range(5):
        assert pool.batches(3) == restored.batches(3)
        ours, theirs = pool.take(3, seed=9), restored.take(3, seed=9)
        assert sources(ours) == sources(theirs)
        assert [one.pair.prompt.problem for one in ours] == [one.pair.prompt.problem for one in theirs]
        assert [math.inf] * 3 == [one.pair.margin for one in theirs]


def test_an_empty_pool_survives_a_checkpoint() -> None:
    """A stage saves before its first round has any pairs."""
    restored = PairPool(4)
    restored.load_state_dict(through_a_file(PairPool(4).state_dict()))
    assert (0, 0) == (len(restored), restored.batches(2))
