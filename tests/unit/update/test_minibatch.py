"""Dealing a step's samples out; and that samples which teach nothing need not be computed."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vergence.loss.policy_gradient import clipped
from vergence.loss.reduce import Reduction, sequence_mean, token_mean
from vergence.types import Origin, TrainingSample
from vergence.update.minibatch import Deal, Minibatch, deal_groups, deal_samples, minibatches

from ..builders import prompt, surrogate_input, training_sample


def of_lengths(*lengths: int) -> list[TrainingSample]:
    return [training_sample(1.0, [-1.0] * length) for length in lengths]


def deal(
    samples: Sequence[TrainingSample], *, batch_size: int, minibatch_size: int, idle_tokens: float = 0.0, seed: int = 0
) -> list[Minibatch]:
    return minibatches(
        samples,
        places=batch_size,
        minibatch_size=minibatch_size,
        idle_tokens=idle_tokens,
        deal=deal_samples,
        rng=np.random.default_rng(seed),
    )


@given(st.integers(1, 16), st.sampled_from([1, 2, 4, 8, 16]))
def test_every_sample_is_dealt_once_and_hands_differ_by_one_at_most(count: int, minibatch_size: int) -> None:
    samples = of_lengths(*[2] * count)
    dealt = deal(samples, batch_size=16, minibatch_size=minibatch_size)
    assert sorted(map(id, samples)) == sorted(id(one) for hand in dealt for one in hand.samples)
    sizes = [len(hand.samples) for hand in dealt]
    assert min(16 // minibatch_size, count) == len(sizes)
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= minibatch_size


def test_a_full_batch_is_divided_by_its_own_tokens() -> None:
    (hand,) = deal(of_lengths(3, 5, 2, 4), batch_size=4, minibatch_size=4, idle_tokens=99.0)
    assert (14, 4) == (hand.num_tokens, hand.num_sequences)


def test_idle_places_count_with_the_mean_length_of_what_they_stand_for() -> None:
    """Two samples of 3 and 5 tokens; the two that teach nothing have 4 and 6: 8 + 2 * 5 = 18 tokens, 4 sequences."""
    (hand,) = deal(of_lengths(3, 5), batch_size=4, minibatch_size=4, idle_tokens=5.0)
    assert (18, 4) == (hand.num_tokens, hand.num_sequences)


def test_idle_tokens_are_shared_out_over_the_minibatches() -> None:
    """Four samples of 3 tokens, four idle places of 5, two minibatches: 6 + 10 tokens and 4 sequences in each."""
    dealt = deal(of_lengths(3, 3, 3, 3), batch_size=8, minibatch_size=4, idle_tokens=5.0)
    assert [(16, 4), (16, 4)] == [(hand.num_tokens, hand.num_sequences) for hand in dealt]


@pytest.mark.parametrize(("count", "tokens"), [(5, [40, 40]), (1, [40]), (7, [40, 40])])
def test_where_samples_cannot_be_dealt_evenly_the_idle_places_make_up_for_it(count: int, tokens: list[int]) -> None:
    """Everything is 10 tokens long, so every minibatch of 4 places has 40, whoever sits in them."""
    dealt = deal(of_lengths(*[10] * count), batch_size=8, minibatch_size=4, idle_tokens=10.0)
    assert tokens == [hand.num_tokens for hand in dealt]


def test_a_minibatch_without_samples_is_left_out() -> None:
    assert 1 == len(deal(of_lengths(3), batch_size=8, minibatch_size=2))
    assert [] == deal([], batch_size=8, minibatch_size=2)


def test_the_same_rng_deals_the_same() -> None:
    samples = of_lengths(*range(1, 13))
    one, same, other = (
        [[len(s.old_logprobs) for s in hand.samples] for hand in deal(samples, batch_size=12, minibatch_size=4, seed=k)]
        for k in (1, 1, 2)
    )
    assert one == same
    assert one != other


# Four answers: log-probs of their tokens when sampled, log-probs now, and the advantage. The last two teach nothing.
THEN = [[-0.5, -1.0, -2.0], [-0.3, -0.7, -0.2, -1.5, -0.9], [-1.0] * 4, [-0.6] * 6]
NOW = [[-0.4, -1.3, -1.9], [-0.4, -0.5, -0.3, -1.2, -1.0], [-0.8] * 4, [-0.9] * 6]
ADVANTAGES = [1.3, -0.7, 0.0, 0.0]


def loss_and_gradient(
    places: Sequence[int], reduce: Reduction, num_tokens: int, num_sequences: int
) -> tuple[float, list[list[float]]]:
    """The loss over these answers, and its derivative by the log-probs of each."""
    width = max(len(THEN[place]) for place in places)

    def padded(rows: Sequence[Sequence[float]]) -> torch.Tensor:
        return torch.tensor([[*rows[place], *[0.0] * (width - len(rows[place]))] for place in places])

    logprobs = padded(NOW).requires_grad_()
    mask = torch.tensor([[column < len(THEN[place]) for column in range(width)] for place in places])
    given = surrogate_input(logprobs, padded(THEN), torch.tensor([ADVANTAGES[place] for place in places]))
    terms = clipped(0.2, 0.2)(given).loss
    loss = reduce(terms, mask, num_tokens, num_sequences)
    (gradient,) = torch.autograd.grad(loss, logprobs)
    return loss.item(), [row[: len(THEN[place])] for row, place in zip(gradient.tolist(), places, strict=True)]


@pytest.mark.parametrize("reduce", [token_mean, sequence_mean])
def test_leaving_out_what_teaches_nothing_changes_neither_loss_nor_gradient(reduce: Reduction) -> None:
    """All four computed, divided by 3 + 5 + 4 + 6 tokens and 4 sequences; or two computed, and two idle places."""
    whole_loss, whole_gradient = loss_and_gradient([0, 1, 2, 3], reduce, 18, 4)
    kept = [training_sample(ADVANTAGES[place], THEN[place]) for place in (0, 1)]
    (hand,) = deal(kept, batch_size=4, minibatch_size=4, idle_tokens=(4 + 6) / 2)
    loss, gradient = loss_and_gradient([0, 1], reduce, hand.num_tokens, hand.num_sequences)
    assert whole_loss != 0.0
    assert pytest.approx(whole_loss) == loss
    assert [pytest.approx(row) for row in whole_gradient[:2]] == gradient
    assert [[0.0] * 4, [0.0] * 6] == whole_gradient[2:]


@pytest.mark.parametrize("dealing", [deal_samples, deal_groups])
def test_completions_without_advantage_beside_the_others_change_no_divisor_of_the_surrogate(dealing: Deal) -> None:
    """Four effective samples of 3 tokens and four others of 5, in two minibatches: 6 + 10 tokens and 4 sequences in
    each, as if the others were not computed; and each minibatch has two of either."""
    others = [training_sample(0.0, [-1.0] * 5, effective=False) for _ in range(4)]
    samples = [
        replace(one, draw=replace(one.draw, sample=replace(one.draw.sample, prompt=prompt(f"p{index}"))))
        for index, one in enumerate([*others, *of_lengths(3, 3, 3, 3)])
    ]
    for seed in range(5):
        dealt = minibatches(
            samples,
            places=8,
            minibatch_size=4,
            idle_tokens=5.0,
            deal=dealing,
            rng=np.random.default_rng(seed),
        )
        assert [(16, 4), (16, 4)] == [(one.num_tokens, one.num_sequences) for one in dealt]
        assert [2, 2] == [len(one.effective) for one in dealt]
        assert [4, 4] == [len(one.fresh) for one in dealt]


def test_a_minibatch_of_completions_without_advantage_alone_is_none_that_is_left_out() -> None:
    others = [training_sample(0.0, [-1.0] * 5, effective=False) for _ in range(4)]
    (one,) = deal(others, batch_size=4, minibatch_size=4, idle_tokens=5.0)
    assert (20, 4, 0, 4) == (one.num_tokens, one.num_sequences, len(one.effective), len(one.fresh))


@pytest.mark.parametrize("dealing", [deal_samples, deal_groups])
def test_replayed_samples_fill_places_while_others_stand_beside_them(dealing: Deal) -> None:
    """A batch of 4 places: one fresh effective sample, three replayed ones, and three fresh ones without advantage."""
    fresh, *past = of_lengths(3, 3, 3, 3)
    past = [replace(one, draw=replace(one.draw, origin=Origin.REPLAY)) for one in past]
    others = [training_sample(0.0, [-1.0] * 7, effective=False) for _ in range(3)]
    (one,) = minibatches(
        [fresh, *past, *others],
        places=4,
        minibatch_size=4,
        idle_tokens=7.0,
        deal=dealing,
        rng=np.random.default_rng(0),
    )
    assert (12, 4, 7) == (one.num_tokens, one.num_sequences, len(one.samples))
    assert [3, 7, 7, 7] == sorted(len(sample.old_logprobs) for sample in one.fresh)


@given(st.lists(st.integers(0, 5), max_size=24), st.sampled_from([1, 2, 3, 4]), st.integers(0, 3))
def test_groups_stay_together_and_minibatches_differ_by_one_group_at_most(
    owners: list[int], count: int, seed: int
) -> None:
    """However many completions a prompt has left, and whether its prompt is one object or was restored."""
    prompts = [prompt(f"p{index}") for index in range(6)]
    samples = [training_sample(1.0, [-1.0]) for _ in owners]
    samples = [
        replace(one, draw=replace(one.draw, sample=replace(one.draw.sample, prompt=replace(prompts[owner]))))
        for one, owner in zip(samples, owners, strict=True)
    ]
    dealt = deal_groups(samples, count, np.random.default_rng(seed))
    assert len(dealt) == count
    assert sorted(map(id, samples)) == sorted(id(one) for part in dealt for one in part)
    for name in {one.draw.sample.prompt.problem.id for one in samples}:
        assert sum(any(one.draw.sample.prompt.problem.id == name for one in part) for part in dealt) == 1
    largest = max((owners.count(owner) for owner in owners), default=0)
    sizes = [len(part) for part in dealt]
    assert max(sizes) - min(sizes) <= largest


def test_groups_are_dealt_in_random_order() -> None:
    samples = [
        replace(one, draw=replace(one.draw, sample=replace(one.draw.sample, prompt=prompt(f"p{index}"))))
        for index, one in enumerate(of_lengths(*[1] * 12))
    ]
    first, same, other = (
        [[one.draw.sample.prompt.problem.id for one in part] for part in deal_groups(samples, 3, rng)]
        for rng in map(np.random.default_rng, (1, 1, 2))
    )
    assert first == same
    assert first != other
