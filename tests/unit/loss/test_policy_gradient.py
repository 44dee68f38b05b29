"""Surrogates per token against numbers worked out by hand, and by the formula taken apart."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vergence.loss.policy_gradient import Surrogate, SurrogateFunction, by_origin, cispo, clipped, shaped

from ..builders import surrogate_input

OLD = -1.5
"""log pi_old of a single token."""


def one_token(
    surrogate: SurrogateFunction, ratio: float, advantage: float, *, weight: float = 1.0
) -> tuple[Surrogate, float]:
    """The surrogate of a single token with that ratio, and its derivative by the token's log-prob."""
    old = torch.tensor([[OLD]], dtype=torch.float64)
    new = (old + math.log(ratio)).requires_grad_()
    weights = torch.tensor([[weight]], dtype=torch.float64)
    result = surrogate(surrogate_input(new, old, torch.tensor([advantage], dtype=torch.float64), weights))
    (gradient,) = torch.autograd.grad(result.loss.sum(), new)
    return result, gradient.item()


def flags(result: Surrogate) -> tuple[bool, bool, bool]:
    """Low, high, dual."""
    return bool(result.clipped_low), bool(result.clipped_high), bool(result.clipped_dual)


# Unclipped: loss = -rho A, and d loss / d log pi = -rho A. Clipped: loss = -bound A, gradient 0.
HAND = [
    #  rho,    A,   loss, gradient, held
    (1.0, 2.0, -2.0, -2.0, False),
    (1.1, 2.0, -2.2, -2.2, False),
    (0.9, 2.0, -1.8, -1.8, False),
    (1.5, 2.0, -2.4, 0.0, True),  # good and already likelier: 1.2 * 2
    (0.5, 2.0, -1.0, -1.0, False),  # good and less likely: min(1.0, 1.6), never clipped
    (1.0, -2.0, 2.0, 2.0, False),
    (1.1, -2.0, 2.2, 2.2, False),
    (0.5, -2.0, 1.6, 0.0, True),  # bad and already less likely: 0.8 * 2
    (1.5, -2.0, 3.0, 3.0, False),  # bad and likelier: min(-3.0, -2.4), never clipped
    (1.5, 0.0, 0.0, 0.0, False),
]


@pytest.mark.parametrize(("ratio", "advantage", "loss", "gradient", "held"), HAND)
def test_loss_gradient_and_clip_flag_by_hand(
    ratio: float, advantage: float, loss: float, gradient: float, held: bool
) -> None:
    result, slope = one_token(clipped(0.2, 0.2), ratio, advantage)
    assert pytest.approx(loss) == result.loss.item()
    assert pytest.approx(gradient) == slope
    assert held == result.clipped.item()
    assert pytest.approx(ratio) == result.ratio.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "low", "high", "loss", "held"),
    [
        (1.25, 1.0, 0.2, 0.28, -1.25, False),  # between the two upper bounds
        (1.25, 1.0, 0.28, 0.2, -1.2, True),
        (0.75, -1.0, 0.28, 0.2, 0.75, False),  # between the two lower bounds
        (0.75, -1.0, 0.2, 0.28, 0.8, True),
    ],
)
def test_each_side_of_the_clip_has_its_own_bound(
    ratio: float, advantage: float, low: float, high: float, loss: float, held: bool
) -> None:
    result, slope = one_token(clipped(low, high), ratio, advantage)
    assert pytest.approx(loss) == result.loss.item()
    assert held == result.clipped.item()
    assert (0.0 if held else pytest.approx(loss)) == slope


@pytest.mark.parametrize(("ratio", "advantage", "loss", "gradient", "held"), HAND)
def test_weight_scales_loss_and_gradient_and_leaves_clip_and_ratio_alone(
    ratio: float, advantage: float, loss: float, gradient: float, held: bool
) -> None:
    result, slope = one_token(clipped(0.2, 0.2), ratio, advantage, weight=0.25)
    assert pytest.approx(loss / 4) == result.loss.item()
    assert pytest.approx(gradient / 4) == slope
    assert held == result.clipped.item()
    assert pytest.approx(ratio) == result.ratio.item()


@given(
    ratio=st.floats(0.05, 5.0),
    advantage=st.floats(-5.0, 5.0),
    weight=st.floats(0.0, 3.0),
    low=st.floats(0.05, 0.9),
    high=st.floats(0.05, 2.0),
)
def test_agrees_with_the_formula_taken_apart_by_the_sign_of_the_advantage(
    ratio: float, advantage: float, weight: float, low: float, high: float
) -> None:
    """For A > 0 only the upper bound can bind, for A < 0 only the lower one."""
    inside = min(ratio, 1 + high) if advantage > 0 else max(ratio, 1 - low)
    result, _ = one_token(clipped(low, high), ratio, advantage, weight=weight)
    assert pytest.approx(-weight * advantage * inside, abs=1e-12) == result.loss.item()


def test_every_sequence_has_its_own_advantage_and_every_token_its_own_weight() -> None:
    old = torch.zeros(2, 2)
    new = torch.tensor([[1.1, 0.9], [1.5, 0.5]]).log()
    weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    result = clipped(0.2, 0.2)(surrogate_input(new, old, torch.tensor([1.0, -2.0]), weights))
    # 1 * 1.1 * 1, 2 * 0.9 * 1; then -2 with ratio 1.5 (free) and 0.5 (held at 0.8), weights 3 and 4
    assert pytest.approx([-1.1, -1.8, 9.0, 6.4]) == result.loss.flatten().tolist()
    assert [[False, False], [False, True]] == result.clipped.tolist()


@pytest.mark.parametrize("surrogate", [clipped(0.2, 0.2), clipped(0.2, 0.2, 3.0), cispo(0.2, 0.2)])
def test_at_ratio_one_the_gradient_is_the_plain_policy_gradient(surrogate: SurrogateFunction) -> None:
    """With softmax logits, d(-A log pi(a)) / d logit_k = -A (1[k = a] - pi_k)."""
    scores, action, advantage = [0.3, -0.7, 1.1], 2, 1.7
    total = sum(math.exp(score) for score in scores)
    probabilities = [math.exp(score) / total for score in scores]
    by_hand = [-advantage * ((k == action) - probabilities[k]) for k in range(3)]

    logits = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
    logprob = logits.log_softmax(0)[action].view(1, 1)
    given = surrogate_input(logprob, logprob.detach(), torch.tensor([advantage], dtype=torch.float64))
    (gradient,) = torch.autograd.grad(surrogate(given).loss.sum(), logits)
    assert pytest.approx(by_hand) == gradient.tolist()


def test_ratio_and_clip_flag_carry_no_gradient() -> None:
    for surrogate in (clipped(0.2, 0.2), clipped(0.2, 0.2, 3.0), cispo(0.2, 0.2), shaped(0.1)):
        new = torch.tensor([[0.1]], requires_grad=True)
        result = surrogate(surrogate_input(new, torch.zeros(1, 1), torch.ones(1)))
        assert result.loss.requires_grad
        assert not result.ratio.requires_grad
        assert not result.clipped.requires_grad


# Clip-higher and the side that binds


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.5, 1.0, (False, True, False)),
        (0.5, 1.0, (False, False, False)),
        (0.5, -1.0, (True, False, False)),
        (1.5, -1.0, (False, False, False)),
        (1.0, 0.0, (False, False, False)),
    ],
)
def test_the_side_that_binds_is_told(ratio: float, advantage: float, expected: tuple[bool, bool, bool]) -> None:
    result, _ = one_token(clipped(0.2, 0.2), ratio, advantage)
    assert expected == flags(result)
    assert any(expected) == result.clipped.item()


# Dual clip: for A < 0 the objective is max(min-term, c * A)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient", "expected"),
    [
        (5.0, -2.0, 6.0, 0.0, (False, False, True)),  # objective max(-10, 3 * -2)
        (2.0, -2.0, 4.0, 4.0, (False, False, False)),  # max(-4, -6)
        (0.5, -2.0, 1.6, 0.0, (True, False, False)),  # max(-1.6, -6): the lower bound still binds
        (5.0, 2.0, -2.4, 0.0, (False, True, False)),  # A > 0: the dual clip has no say
        (5.0, 0.0, 0.0, 0.0, (False, False, False)),
    ],
)
def test_dual_clip_by_hand(
    ratio: float, advantage: float, loss: float, gradient: float, expected: tuple[bool, bool, bool]
) -> None:
    result, slope = one_token(clipped(0.2, 0.2, 3.0), ratio, advantage)
    assert pytest.approx(loss) == result.loss.item()
    assert pytest.approx(gradient) == slope
    assert expected == flags(result)
    weighted, weighted_slope = one_token(clipped(0.2, 0.2, 3.0), ratio, advantage, weight=0.5)
    assert pytest.approx((loss / 2, gradient / 2)) == (weighted.loss.item(), weighted_slope)


@given(ratio=st.floats(0.01, 50.0), advantage=st.floats(-5.0, 5.0), dual=st.floats(1.5, 10.0))
def test_dual_clip_bounds_the_cost_of_a_bad_token_and_nothing_else(ratio: float, advantage: float, dual: float) -> None:
    plain, plain_slope = one_token(clipped(0.2, 0.2), ratio, advantage)
    held, slope = one_token(clipped(0.2, 0.2, dual), ratio, advantage)
    bound = dual * -advantage if advantage < 0 else math.inf
    assert pytest.approx(min(plain.loss.item(), bound)) == held.loss.item()
    assert (0.0 if held.clipped_dual.item() else plain_slope) == slope


# CISPO: loss = -sg(clip(rho)) * A * log pi


@pytest.mark.parametrize(
    ("ratio", "advantage", "held", "expected"),
    [
        (1.0, 2.0, 1.0, (False, False, False)),
        (9.0, 2.0, 5.0, (False, True, False)),  # held, whatever the sign of A
        (9.0, -2.0, 5.0, (False, True, False)),
        (0.1, 2.0, 0.1, (False, False, False)),  # low = 1: no lower bound
    ],
)
def test_cispo_by_hand(ratio: float, advantage: float, held: float, expected: tuple[bool, bool, bool]) -> None:
    result, slope = one_token(cispo(1.0, 4.0), ratio, advantage, weight=0.5)
    assert pytest.approx(-0.5 * held * advantage * (OLD + math.log(ratio))) == result.loss.item()
    assert pytest.approx(-0.5 * held * advantage) == slope
    assert expected == flags(result)
    assert pytest.approx(ratio) == result.ratio.item()


def test_cispo_has_a_lower_bound_where_one_is_asked_for() -> None:
    result, slope = one_token(cispo(0.2, 4.0), 0.5, 1.0)
    assert pytest.approx(-0.8) == slope
    assert (True, False, False) == flags(result)


@given(ratio=st.floats(0.01, 50.0), advantage=st.sampled_from([-1.5, -0.1, 0.1, 2.0]))
def test_no_token_of_cispo_loses_its_gradient(ratio: float, advantage: float) -> None:
    _, slope = one_token(cispo(0.2, 0.2), ratio, advantage)
    assert 0.8 * abs(advantage) - 1e-9 <= abs(slope) <= 1.2 * abs(advantage) + 1e-9


# ExGRPO's shaping of replayed tokens


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 1.0, -1 / 1.1, -0.1 / 1.1**2),
        (0.1, 2.0, -1.0, -0.5),  # 0.1 / 0.2 = 1/2; the slope b rho / (rho + b)^2 is largest here: 1/4
        (10.0, -1.0, 10 / 10.1, 0.1 * 10 / 10.1**2),
    ],
)
def test_shaped_by_hand(ratio: float, advantage: float, loss: float, gradient: float) -> None:
    result, slope = one_token(shaped(0.1), ratio, advantage)
    assert pytest.approx(loss) == result.loss.item()
    assert pytest.approx(gradient) == slope
    assert pytest.approx(ratio) == result.ratio.item()
    assert not result.clipped.item()


def test_shaped_survives_ratios_that_overflow() -> None:
    new = torch.tensor([[-1.0]], requires_grad=True)
    result = shaped(0.1)(surrogate_input(new, torch.tensor([[-200.0]]), torch.ones(1)))
    (gradient,) = torch.autograd.grad(result.loss.sum(), new)
    assert pytest.approx(-1.0) == result.loss.item()
    assert 0.0 == gradient.item()


# Rows of two origins


def test_rows_go_by_their_origin() -> None:
    new = torch.tensor([[0.5, -2.0], [0.5, -2.0]], requires_grad=True)
    given_rows = surrogate_input(new, torch.zeros(2, 2), torch.tensor([1.0, 1.0]), replayed=torch.tensor([False, True]))
    both = by_origin(clipped(0.2, 0.2), shaped(0.1))(given_rows)
    ours, theirs = clipped(0.2, 0.2)(given_rows), shaped(0.1)(given_rows)
    assert torch.equal(torch.stack([ours.loss[0], theirs.loss[1]]), both.loss)
    assert [[False, False], [False, False]] == both.clipped_low.tolist()
    assert [[True, False], [False, False]] == both.clipped_high.tolist()
    (gradient,) = torch.autograd.grad(both.loss.sum(), new)
    # clipped: 0 at the bound, -rho where free; shaped: -b rho / (rho + b)^2
    slopes = [[0.0, -math.exp(-2.0)], [-0.1 * math.exp(x) / (math.exp(x) + 0.1) ** 2 for x in (0.5, -2.0)]]
    assert [pytest.approx(row) for row in slopes] == gradient.tolist()
