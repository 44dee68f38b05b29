"""MPO's three terms, BCO's shift and the Bradley-Terry loss against numbers worked out by hand."""

import math
from dataclasses import FrozenInstanceError

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vergence.loss.preference import (
    MpoTerms,
    MpoWeights,
    RewardShift,
    bco_loss,
    bradley_terry_loss,
    dpo_loss,
    generation_loss,
    implicit_rewards,
    mpo_loss,
    sequence_sums,
)


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def minus_log_sigmoid(value: float) -> float:
    return math.log(1 + math.exp(-value))


def test_implicit_reward_is_beta_times_the_log_ratio() -> None:
    # 0.1 * (-3 + 5), 0.1 * (-4 + 2)
    assert pytest.approx([0.2, -0.2]) == implicit_rewards(vector(-3, -4), vector(-5, -2), 0.1).tolist()


def test_dpo_by_hand() -> None:
    """log(1 + e^-x) for the gaps 0.5, -2 and 0."""
    losses = dpo_loss(vector(1.0, -1.5, 3.0), vector(0.5, 0.5, 3.0)).tolist()
    assert pytest.approx([0.4740769841801067, 2.1269280110429727, math.log(2)]) == losses


def test_bco_by_hand() -> None:
    """r_c = 1, r_r = -1, delta = 0.5: log(1 + e^-0.5) + log(1 + e^-1.5). The printed sign would give 0.948."""
    assert pytest.approx([0.4740769841801067 + 0.2014132779827524]) == bco_loss(vector(1.0), vector(-1.0), 0.5).tolist()


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3))
def test_bco_sees_only_the_distance_of_each_reward_from_the_shift(
    chosen: float, rejected: float, shift: float, moved: float
) -> None:
    """What tells BCO's sign from the misprinted one: moving both rewards and the shift together changes nothing."""
    here = bco_loss(vector(chosen), vector(rejected), shift).item()
    there = bco_loss(vector(chosen + moved), vector(rejected + moved), shift + moved).item()
    assert pytest.approx(here) == there
    assert pytest.approx(minus_log_sigmoid(chosen - shift) + minus_log_sigmoid(shift - rejected)) == here


def test_bco_pulls_chosen_up_and_pushes_rejected_down() -> None:
    chosen, rejected = vector(0.3).requires_grad_(), vector(0.2).requires_grad_()
    bco_loss(chosen, rejected, 0.1).sum().backward()
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert chosen.grad.item() < 0 < rejected.grad.item()


def test_raising_the_shift_asks_more_of_the_chosen_and_less_of_the_rejected() -> None:
    low, high = bco_loss(vector(9.0), vector(0.0), 0.0).item(), bco_loss(vector(9.0), vector(0.0), 1.0).item()
    assert high < low  # the chosen one is far above either shift, so the rejected one decides


def test_generation_loss_is_the_mean_over_each_answers_own_tokens() -> None:
    """Lengths 3 and 1: means 2 and 4. The mean over all tokens would be 2.5."""
    logprobs = torch.tensor([[-1.0, -2.0, -3.0], [-4.0, -99.0, -99.0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    assert [2.0, 4.0] == generation_loss(logprobs, mask).tolist()


def test_mpo_weighs_the_terms_by_internvls_numbers_unless_told_otherwise() -> None:
    terms = MpoTerms(vector(1.0, 2.0), vector(10.0, 20.0), vector(100.0, 300.0))
    # 0.8 + 2 + 100, 1.6 + 4 + 300
    assert pytest.approx([102.8, 305.6]) == mpo_loss(terms, MpoWeights()).tolist()
    # 3 + 50 + 700, 6 + 100 + 2100
    assert pytest.approx([753.0, 2206.0]) == mpo_loss(terms, MpoWeights(3.0, 5.0, 7.0)).tolist()


BATCHES = ([1.0, 3.0], [4.0, 8.0, 6.0], [-10.0])


def shifts(decay: float) -> list[RewardShift]:
    """The shift after each of the three batches."""
    shift, seen = RewardShift(0.0, 0, decay), []
    for batch in BATCHES:
        shift = shift.updated(torch.tensor(batch))
        seen.append(shift)
    return seen


def test_exponential_shift_over_three_batches() -> None:
    """2; 0.9 * 2 + 0.1 * 6 = 2.4; 0.9 * 2.4 - 0.1 * 10 = 1.16."""
    assert pytest.approx([2.0, 2.4, 1.16]) == [shift.mean for shift in shifts(0.9)]
    assert [2, 5, 6] == [shift.count for shift in shifts(0.9)]


def test_cumulative_shift_is_the_plain_mean_of_everything_so_far() -> None:
    """4 / 2, 22 / 5, 12 / 6."""
    assert pytest.approx([2.0, 4.4, 2.0]) == [shift.mean for shift in shifts(1.0)]
    assert [2, 5, 6] == [shift.count for shift in shifts(1.0)]


@pytest.mark.parametrize("decay", [0.0, 0.9, 1.0])
def test_first_batch_sets_the_shift_whatever_the_decay(decay: float) -> None:
    assert 2.0 == RewardShift(99.0, 0, decay).updated(torch.tensor([1.0, 3.0])).mean


def test_shift_is_replaced_and_never_changed() -> None:
    before = RewardShift(1.0, 4, 0.9)
    after = before.updated(torch.tensor([5.0]))
    assert RewardShift(1.0, 4, 0.9) == before
    assert 0.9 == after.decay
    with pytest.raises(FrozenInstanceError):
        before.mean = 3.0  # type: ignore[misc]


def test_bradley_terry_by_hand() -> None:
    """log(1 + e^-x) for the gaps 1.5 and -0.5."""
    losses = bradley_terry_loss(vector(1.2, 0.0), vector(-0.3, 0.5)).tolist()
    assert pytest.approx([0.2014132779827524, 0.9740769841801067]) == losses


@pytest.mark.parametrize("loss", [dpo_loss, bradley_terry_loss])
def test_a_hopeless_gap_costs_its_size_and_does_not_overflow(loss) -> None:
    assert pytest.approx([2000.0]) == loss(vector(-1000.0), vector(1000.0)).tolist()


def test_sequence_sums_leave_padding_out_even_where_it_is_not_a_number() -> None:
    values = torch.tensor([[-1.0, -2.0, -4.0], [-8.0, math.nan, -math.inf]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    assert [-7.0, -8.0] == sequence_sums(values, mask).tolist()
