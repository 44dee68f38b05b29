"""The Selective Sample Buffer: what enters, what leaves, what is drawn and how often, and what a checkpoint keeps."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vergence.buffer import BufferLimits, SampleBuffer, draw_metrics
from vergence.types import Draw, Origin, Sample

from .builders import draw, prompt, sample, through_a_file


def limits(*, capacity: int = 100, exponent: float = 1.0, max_age: int = 1000, max_uses: int = 1000) -> BufferLimits:
    return BufferLimits(capacity=capacity, exponent=exponent, max_age=max_age, max_uses=max_uses)


def samples(*advantages: float, version: int = 0, first: int = 0) -> list[Sample]:
    """Samples whose texts are "0", "1", ... so that they can be told apart."""
    return [
        sample(advantage, version=version, text=str(first + index), name=f"p{first + index}")
        for index, advantage in enumerate(advantages)
    ]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def filled(with_limits: BufferLimits, kept: Sequence[Sample]) -> SampleBuffer:
    buffer = SampleBuffer(with_limits)
    buffer.top_up(kept, 0, version=0, rng=rng())
    return buffer


def texts(draws: Sequence[Draw], origin: Origin | None = None) -> list[str]:
    return [one.sample.completion.text for one in draws if origin in (None, one.origin)]


def replayed(draws: Sequence[Draw]) -> list[str]:
    return texts(draws, Origin.REPLAY)


def everything(buffer: SampleBuffer) -> set[str]:
    """What the buffer holds, read from its state, which draws nothing."""
    return {row["completion"]["text"] for row in buffer.state_dict()["samples"]}


# ── what enters and what leaves ──────────────────────────────────────────────────────────────────────────────────


def test_an_empty_buffer_gives_the_fresh_samples_and_nothing_else() -> None:
    buffer = SampleBuffer(limits())
    draws = buffer.top_up(samples(1.0, -1.0), 8, version=3, rng=rng())
    assert ["0", "1"] == texts(draws)
    assert [(Origin.FRESH, 0), (Origin.FRESH, 0)] == [(one.origin, one.age) for one in draws]
    assert 2 == len(buffer)


def test_an_empty_buffer_and_no_fresh_samples_give_an_empty_batch() -> None:
    assert [] == SampleBuffer(limits()).top_up([], 8, version=0, rng=rng())


def test_fresh_samples_come_first_and_in_order() -> None:
    buffer = filled(limits(), samples(1.0, 1.0))
    draws = buffer.top_up(samples(1.0, 1.0, 1.0, first=10), 5, version=1, rng=rng())
    assert ["10", "11", "12"] == texts(draws)[:3]
    assert {"0", "1"} == set(replayed(draws))


def test_fresh_samples_are_never_drawn_in_the_step_they_enter() -> None:
    """Room for six, and only the two old samples may fill it."""
    buffer = filled(limits(), samples(1.0, 1.0))
    draws = buffer.top_up(samples(9.0, 9.0, first=10), 8, version=1, rng=rng())
    assert ["0", "1"] == sorted(replayed(draws))
    assert {"0", "1", "10", "11"} == everything(buffer)


def test_never_more_than_the_batch_has_room_for() -> None:
    buffer = filled(limits(), samples(*[1.0] * 20))
    assert 3 == len(replayed(buffer.top_up(samples(1.0, first=30), 4, version=1, rng=rng())))
    assert 0 == len(replayed(buffer.top_up(samples(*[1.0] * 4, first=40), 4, version=2, rng=rng())))
    assert 0 == len(replayed(buffer.top_up(samples(*[1.0] * 6, first=50), 4, version=3, rng=rng())))


def test_a_full_buffer_drops_the_oldest_first() -> None:
    buffer = filled(limits(capacity=3), samples(9.0, 1.0))
    buffer.top_up(samples(1.0, 1.0, first=2), 0, version=1, rng=rng())
    assert {"1", "2", "3"} == everything(buffer)
    buffer.top_up(samples(*[1.0] * 5, first=4), 0, version=2, rng=rng())
    assert {"6", "7", "8"} == everything(buffer)
    assert 3 == len(buffer)


def test_capacity_zero_is_plain_grpo() -> None:
    buffer = SampleBuffer(limits(capacity=0))
    for version in range(3):
        draws = buffer.top_up(samples(1.0, -1.0), 8, version=version, rng=rng())
        assert ["0", "1"] == texts(draws)
        assert 0 == len(buffer)


def test_a_sample_is_kept_up_to_max_age_and_dropped_after() -> None:
    buffer = filled(limits(max_age=2), samples(1.0))
    assert ["0"] == replayed(buffer.top_up([], 1, version=2, rng=rng()))
    assert [] == replayed(buffer.top_up([], 1, version=3, rng=rng()))
    assert 0 == len(buffer)


def test_age_is_counted_in_policy_versions_since_sampling() -> None:
    buffer = filled(limits(), samples(1.0, version=4))
    assert [7] == [one.age for one in buffer.top_up([], 1, version=11, rng=rng())]


def test_a_sample_is_replayed_max_uses_times_and_then_leaves() -> None:
    buffer = filled(limits(max_uses=2), samples(1.0))
    drawn = [len(buffer.top_up([], 1, version=version, rng=rng())) for version in range(1, 5)]
    assert [1, 1, 0, 0] == drawn
    assert 0 == len(buffer)


def test_entering_fresh_is_no_use() -> None:
    buffer = filled(limits(max_uses=1), samples(1.0))
    assert 1 == len(buffer)
    assert ["0"] == replayed(buffer.top_up([], 1, version=1, rng=rng()))


# ── what is drawn ────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_drawn_twice_in_one_batch() -> None:
    """One priority a thousand times the others': with replacement it would fill the batch."""
    for seed in range(50):
        buffer = filled(limits(), samples(1000.0, 1.0, 1.0, 1.0))
        assert ["0", "1", "2", "3"] == sorted(texts(buffer.top_up([], 4, version=1, rng=rng(seed))))


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_equal_priorities_are_drawn_uniformly_and_without_complaint(exponent: float) -> None:
    """Binary rewards make equal priorities the rule. 2,000 draws of 2 out of 4: each comes 1,000 times +- 5 sigma."""
    counts: Counter[str] = Counter()
    kept = samples(0.5, -0.5, 0.5, -0.5)
    for seed in range(2000):
        counts.update(texts(filled(limits(exponent=exponent), kept).top_up([], 2, version=1, rng=rng(seed))))
    assert all(abs(counts[name] - 1000) < 5 * 500**0.5 for name in "0123")


def first_draws(exponent: float, advantages: Sequence[float], tries: int) -> list[int]:
    """How often each sample is the first to be drawn, over many seeds."""
    counts = [0] * len(advantages)
    kept = samples(*advantages)
    for seed in range(tries):
        counts[int(texts(filled(limits(exponent=exponent), kept).top_up([], 3, version=1, rng=rng(seed)))[0])] += 1
    return counts


@pytest.mark.parametrize(
    ("exponent", "shares"),
    [
        (0.0, [1 / 4, 1 / 4, 1 / 4, 1 / 4]),
        (1.0, [1 / 10, 2 / 10, 3 / 10, 4 / 10]),
        (2.0, [1 / 30, 4 / 30, 9 / 30, 16 / 30]),
    ],
)
def test_first_draws_follow_the_absolute_advantage_to_the_power_alpha(exponent: float, shares: list[float]) -> None:
    """|A| = 1, 2, 3, 4 of either sign. 16.3 is what chi-square with 3 degrees of freedom exceeds once in a thousand."""
    tries = 1500
    counts = first_draws(exponent, [1.0, -2.0, 3.0, -4.0], tries)
    chi_square = sum(
        (count - tries * share) ** 2 / (tries * share) for count, share in zip(counts, shares, strict=True)
    )
    assert chi_square < 16.3


def test_later_draws_follow_what_is_left() -> None:
    """|A| = 1, 1, 2: P(the heavy one is second) = 2 * 1/4 * 2/3 = 1/3."""
    second = 0
    kept = samples(1.0, 1.0, 2.0)
    for seed in range(1500):
        second += texts(filled(limits(), kept).top_up([], 2, version=1, rng=rng(seed)))[1] == "2"
    assert abs(second - 500) < 4 * (1500 * 1 / 3 * 2 / 3) ** 0.5


def test_the_same_rng_draws_the_same() -> None:
    kept = samples(*np.linspace(0.1, 3.0, 30).tolist())
    one, same, other = (texts(filled(limits(), kept).top_up([], 10, version=1, rng=rng(seed))) for seed in (5, 5, 6))
    assert one == same
    assert one != other


steps = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 8)), min_size=1, max_size=8)


@given(steps, st.integers(0, 9), st.integers(0, 5), st.integers(1, 3))
def test_contents_at_every_step_are_what_slow_bookkeeping_says(
    plan: list[tuple[int, int]], capacity: int, max_age: int, max_uses: int
) -> None:
    """Which samples are drawn is left to the buffer; everything else follows from that."""
    buffer = SampleBuffer(limits(capacity=capacity, max_age=max_age, max_uses=max_uses))
    held: dict[str, int] = {}  # text to version, oldest first
    uses: Counter[str] = Counter()
    born = 0
    for version, (count, size) in enumerate(plan):
        fresh = samples(*[1.0] * count, version=version, first=born)
        born += count
        draws = buffer.top_up(fresh, size, version=version, rng=rng(version))

        held = {text: since for text, since in held.items() if version - since <= max_age}
        again = replayed(draws)
        assert texts(list(map(draw, fresh))) == texts(draws, Origin.FRESH) == texts(draws)[:count]
        assert min(max(0, size - count), len(held)) == len(again)
        assert len(set(again)) == len(again)
        assert set(again) <= set(held)
        assert [version - held[text] for text in again] == [one.age for one in draws[count:]]

        uses.update(again)
        held = {text: since for text, since in held.items() if uses[text] < max_uses}
        held |= {one.completion.text: version for one in fresh}
        held = dict(list(held.items())[max(0, len(held) - capacity) :])
        assert set(held) == everything(buffer)
        assert len(held) == len(buffer)


# ── checkpoints ──────────────────────────────────────────────────────────────────────────────────────────────────


def shared(count: int, version: int) -> list[Sample]:
    """Samples of two prompts, as two groups give them."""
    both = prompt(f"even-{version}"), prompt(f"odd-{version}", images=())
    return [
        sample(
            0.3 + index, of=both[index % 2], version=version, text=f"{version}/{index}", logprobs=[-0.1 * index, -3.25]
        )
        for index in range(count)
    ]


def used_buffer() -> SampleBuffer:
    """A buffer after three steps, some of its samples used."""
    buffer = SampleBuffer(limits(capacity=14, max_age=5, max_uses=2))
    for version in range(3):
        buffer.top_up(shared(6, version), 10, version=version, rng=rng(version))
    return buffer


def test_a_restored_buffer_goes_on_exactly_as_the_saved_one() -> None:
    """Through a file, since that is what a resumed run reads; six steps, until everything saved has left."""
    saved, restored = used_buffer(), SampleBuffer(limits(capacity=14, max_age=5, max_uses=2))
    restored.load_state_dict(through_a_file(saved.state_dict()))
    assert len(saved) == len(restored)
    for version in range(3, 9):
        fresh = shared(2, version)
        ours, theirs = (one.top_up(fresh, 7, version=version, rng=rng(version)) for one in (saved, restored))
        assert texts(ours) == texts(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert (one.origin, one.age) == (other.origin, other.age)
            assert (one.sample.advantage, one.sample.reward) == (other.sample.advantage, other.sample.reward)
            assert one.sample.prompt.problem == other.sample.prompt.problem
            ours_now, theirs_now = one.sample.completion, other.sample.completion
            assert (ours_now.finish, ours_now.policy_version) == (theirs_now.finish, theirs_now.policy_version)
            for field in ("token_ids", "sampler_logprobs"):
                assert getattr(ours_now, field).tolist() == getattr(theirs_now, field).tolist()
                assert getattr(ours_now, field).dtype == getattr(theirs_now, field).dtype


def test_number_of_uses_survives_a_checkpoint() -> None:
    buffer = filled(limits(max_uses=2), samples(1.0))
    buffer.top_up([], 1, version=1, rng=rng())
    restored = SampleBuffer(limits(max_uses=2))
    restored.load_state_dict(through_a_file(buffer.state_dict()))
    assert [1, 0] == [len(restored.top_up([], 1, version=version, rng=rng())) for version in (2, 3)]


def test_a_prompt_is_stored_once_and_shared_again_after_restoring() -> None:
    buffer = filled(limits(), shared(6, 0))
    state = through_a_file(buffer.state_dict())
    assert 2 == len(state["prompts"])
    restored = SampleBuffer(limits())
    restored.load_state_dict(state)
    draws = restored.top_up([], 6, version=1, rng=rng())
    assert 6 == len(draws)
    assert 2 == len({id(one.sample.prompt) for one in draws})


def test_loading_replaces_what_was_there() -> None:
    buffer = filled(limits(), samples(1.0, 1.0))
    buffer.load_state_dict(through_a_file(SampleBuffer(limits()).state_dict()))
    assert 0 == len(buffer)


# ── metrics ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_metrics_by_hand() -> None:
    """A batch of 8 got 5 samples, two of them replayed, 3 and 8 versions old."""
    draws = [draw(), draw(), draw(), draw(origin=Origin.REPLAY, age=3), draw(origin=Origin.REPLAY, age=8)]
    expected = {
        "effective/batch": 5 / 8,
        "buffer/replay_share": 2 / 5,
        "buffer/age_mean": 5.5,
        "buffer/age_max": 8.0,
        "buffer/size": 17.0,
    }
    assert pytest.approx(expected) == draw_metrics(draws, 8, 17)


def test_metrics_of_an_empty_batch_and_of_one_without_replay_are_zeros() -> None:
    for draws in ([], [draw()]):
        metrics = draw_metrics(draws, 8, 0)
        assert len(draws) / 8 == metrics["effective/batch"]
        assert [0.0, 0.0, 0.0] == [metrics[f"buffer/{name}"] for name in ("replay_share", "age_mean", "age_max")]
