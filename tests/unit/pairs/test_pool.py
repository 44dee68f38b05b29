"""The pairs of a round: walked in epochs without gaps, and held by checkpoints."""

import math
from collections import Counter

import pytest

from vergence.pairs.pool import PairPool
from vergence.types import PreferencePair

from ..builders import completion, prompt, through_a_file


def pool_of(count: int) -> PairPool:
    """Pairs whose source is their number, two to a prompt."""
    pool = PairPool()
    prompts = [prompt(f"p{index}") for index in range((count + 1) // 2)]
    pool.refill(
        [
            PreferencePair(prompts[index // 2], completion("good"), completion("bad"), math.inf, str(index))
            for index in range(count)
        ]
    )
    return pool


def sources(pairs: list[PreferencePair]) -> list[str]:
    return [pair.source for pair in pairs]


def test_refill_replaces_the_last_rounds_pairs() -> None:
    pool = pool_of(5)
    pool.refill(pool.take(0, 2, seed=0))
    assert 2 == len(pool)


@pytest.mark.parametrize(("size", "count"), [(6, 2), (5, 2), (3, 7), (1, 3)])
def test_every_epoch_takes_every_pair_once(size: int, count: int) -> None:
    """Steps do not have to divide the pool: the walk goes on across the border."""
    pool = pool_of(size)
    walk = [name for step in range(4 * size) for name in sources(pool.take(step, count, seed=3))]
    epochs = [walk[start : start + size] for start in range(0, len(walk), size)]
    assert 4 * count == len(epochs)
    assert all(sorted(map(str, range(size))) == sorted(epoch) for epoch in epochs)


def test_every_epoch_is_a_fresh_shuffle_and_every_seed_its_own() -> None:
    pool = pool_of(20)
    first, second = sources(pool.take(0, 20, seed=1)), sources(pool.take(1, 20, seed=1))
    assert first != second
    assert first != sources(pool.take(0, 20, seed=2))
    assert first == sources(pool.take(0, 20, seed=1))


def test_pairs_of_one_step_may_come_from_two_epochs() -> None:
    assert Counter("012" * 2) == Counter(sources(pool_of(3).take(0, 6, seed=0)))


def test_a_restored_pool_gives_the_same_pairs() -> None:
    pool, restored = pool_of(7), PairPool()
    restored.load_state_dict(through_a_file(pool.state_dict()))
    assert 7 == len(restored)
    for step in range(5):
        ours, theirs = pool.take(step, 3, seed=9), restored.take(step, 3, seed=9)
        assert sources(ours) == sources(theirs)
        assert [pair.prompt.problem for pair in ours] == [pair.prompt.problem for pair in theirs]
        assert [math.inf] * 3 == [pair.margin for pair in theirs]


def test_an_empty_pool_survives_a_checkpoint() -> None:
    """A stage saves before its first round has any pairs."""
    restored = PairPool()
    restored.load_state_dict(through_a_file(PairPool().state_dict()))
    assert 0 == len(restored)
