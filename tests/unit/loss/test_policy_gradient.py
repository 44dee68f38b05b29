"""The clipped surrogate against numbers worked out by hand: loss = -w * min(rho * A, clip(rho) * A)."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vergence.loss.policy_gradient import Surrogate, clipped_surrogate


def one_token(
    ratio: float, advantage: float, *, weight: float = 1.0, low: float = 0.2, high: float = 0.2
) -> tuple[Surrogate, float]:
    """The surrogate of a single token with that ratio, and its derivative by the token's log-prob."""
    old = torch.tensor([[-1.5]], dtype=torch.float64)
    new = (old + math.log(ratio)).requires_grad_()
    result = clipped_surrogate(
        new,
        old,
        torch.tensor([advantage], dtype=torch.float64),
        torch.tensor([[weight]], dtype=torch.float64),
        clip_low=low,
        clip_high=high,
    )
    (gradient,) = torch.autograd.grad(result.loss.sum(), new)
    return result, gradient.item()


# Unclipped: loss = -rho A, and d loss / d log pi = -rho A. Clipped: loss = -bound A, gradient 0.
HAND = [
    #  rho,    A,   loss, gradient, clipped
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


@pytest.mark.parametrize(("ratio", "advantage", "loss", "gradient", "clipped"), HAND)
def test_loss_gradient_and_clip_flag_by_hand(
    ratio: float, advantage: float, loss: float, gradient: float, clipped: bool
) -> None:
    result, slope = one_token(ratio, advantage)
    assert pytest.approx(loss) == result.loss.item()
    assert pytest.approx(gradient) == slope
    assert clipped == result.clipped.item()
    assert pytest.approx(ratio) == result.ratio.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "low", "high", "loss", "clipped"),
    [
        (1.25, 1.0, 0.2, 0.28, -1.25, False),  # between the two upper bounds
        (1.25, 1.0, 0.28, 0.2, -1.2, True),
        (0.75, -1.0, 0.28, 0.2, 0.75, False),  # between the two lower bounds
        (0.75, -1.0, 0.2, 0.28, 0.8, True),
    ],
)
def test_each_side_of_the_clip_has_its_own_bound(
    ratio: float, advantage: float, low: float, high: float, loss: float, clipped: bool
) -> None:
    result, slope = one_token(ratio, advantage, low=low, high=high)
    assert pytest.approx(loss) == result.loss.item()
    assert clipped == result.clipped.item()
    assert (0.0 if clipped else pytest.approx(loss)) == slope


@pytest.mark.parametrize(("ratio", "advantage", "loss", "gradient", "clipped"), HAND)
def test_weight_scales_loss_and_gradient_and_leaves_clip_and_ratio_alone(
    ratio: float, advantage: float, loss: float, gradient: float, clipped: bool
) -> None:
    result, slope = one_token(ratio, advantage, weight=0.25)
    assert pytest.approx(loss / 4) == result.loss.item()
    assert pytest.approx(gradient / 4) == slope
    assert clipped == result.clipped.item()
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
    held = min(ratio, 1 + high) if advantage > 0 else max(ratio, 1 - low)
    result, _ = one_token(ratio, advantage, weight=weight, low=low, high=high)
    assert pytest.approx(-weight * advantage * held, abs=1e-12) == result.loss.item()


def test_every_sequence_has_its_own_advantage_and_every_token_its_own_weight() -> None:
    old = torch.zeros(2, 2)
    new = torch.tensor([[1.1, 0.9], [1.5, 0.5]]).log()
    result = clipped_surrogate(
        new, old, torch.tensor([1.0, -2.0]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]), clip_low=0.2, clip_high=0.2
    )
    # 1 * 1.1 * 1, 2 * 0.9 * 1; then -2 with ratio 1.5 (free) and 0.5 (held at 0.8), weights 3 and 4
    assert pytest.approx([-1.1, -1.8, 9.0, 6.4]) == result.loss.flatten().tolist()
    assert [[False, False], [False, True]] == result.clipped.tolist()


def test_at_ratio_one_the_gradient_is_the_plain_policy_gradient() -> None:
    """With softmax logits, d(-A log pi(a)) / d logit_k = -A (1[k = a] - pi_k)."""
    scores, action, advantage = [0.3, -0.7, 1.1], 2, 1.7
    total = sum(math.exp(score) for score in scores)
    probabilities = [math.exp(score) / total for score in scores]
    by_hand = [-advantage * ((k == action) - probabilities[k]) for k in range(3)]

    logits = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
    logprob = logits.log_softmax(0)[action].view(1, 1)
    loss = clipped_surrogate(
        logprob,
        logprob.detach(),
        torch.tensor([advantage], dtype=torch.float64),
        torch.ones(1, 1, dtype=torch.float64),
        clip_low=0.2,
        clip_high=0.2,
    ).loss
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert pytest.approx(by_hand) == gradient.tolist()


def test_ratio_and_clip_flag_carry_no_gradient() -> None:
    new = torch.tensor([[0.1]], requires_grad=True)
    result = clipped_surrogate(new, torch.zeros(1, 1), torch.ones(1), torch.ones(1, 1), clip_low=0.2, clip_high=0.2)
    assert not result.ratio.requires_grad
    assert not result.clipped.requires_grad
