"""GSPO against numbers worked out by hand, and against its formula written with numbers instead of tensors."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vergence.loss.reduce import sequence_mean
from vergence.loss.sequence_ratio import gspo

from ..builders import surrogate_input


def test_by_hand() -> None:
    """Ratios of tokens e^0.3 and e^-0.1: s = e^0.1, which is 1.105; of the other sequence e^-0.4, with padding."""
    new = torch.tensor([[0.3, -0.1], [-0.4, 7.0]], dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True], [True, False]])
    advantages = torch.tensor([2.0, 1.0], dtype=torch.float64)
    result = gspo(0.2, 0.2)(surrogate_input(new, torch.zeros(2, 2, dtype=torch.float64), advantages, mask=mask))
    assert pytest.approx(-2 * math.exp(0.1)) == result.loss[0, 0].item() == result.loss[0, 1].item()
    assert pytest.approx(-math.exp(-0.4)) == result.loss[1, 0].item()
    assert pytest.approx([math.exp(0.1)] * 2) == result.ratio[0].tolist()
    assert not result.clipped.any()
    (gradient,) = torch.autograd.grad(sequence_mean(result.loss, mask, 3, 2), new)
    # 1/2 over sequences; s * A / T of each token's log-prob
    expected = [[-2 * math.exp(0.1) / 4] * 2, [-math.exp(-0.4) / 2, 0.0]]
    assert [pytest.approx(row) for row in expected] == gradient.tolist()


@pytest.mark.parametrize(
    ("shift", "advantage", "loss", "low", "high"),
    [
        (0.5, 1.0, -1.2, False, True),
        (0.5, -1.0, math.exp(0.5), False, False),
        (-0.5, -1.0, 0.8, True, False),
        (-0.5, 1.0, -math.exp(-0.5), False, False),
    ],
)
def test_the_clip_takes_the_whole_sequence(shift: float, advantage: float, loss: float, low: bool, high: bool) -> None:
    """Tokens at +-1 about the shift: each alone would be far outside the bounds."""
    new = (torch.tensor([[1.0, -1.0]], dtype=torch.float64) + shift).requires_grad_()
    result = gspo(0.2, 0.2)(surrogate_input(new, torch.zeros(1, 2, dtype=torch.float64), torch.tensor([advantage])))
    assert pytest.approx([loss, loss]) == result.loss[0].tolist()
    assert [low, low] == result.clipped_low[0].tolist()
    assert [high, high] == result.clipped_high[0].tolist()
    (gradient,) = torch.autograd.grad(result.loss.sum(), new)
    assert (low or high) == (not gradient.any())


def test_the_off_policy_weight_of_a_sequence_is_the_geometric_mean() -> None:
    """sqrt(0.5 * 2) = 1, and 0.25 of a single token."""
    weights = torch.tensor([[0.5, 2.0], [0.25, 0.0]])
    mask = torch.tensor([[True, True], [True, False]])
    zeros = torch.zeros(2, 2)
    result = gspo(0.2, 0.2)(surrogate_input(zeros, zeros, torch.tensor([1.0, -1.0]), weights, mask=mask))
    assert pytest.approx([-1.0, 0.25]) == result.loss[:, 0].tolist()


@given(
    rows=st.lists(st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=5), min_size=1, max_size=4),
    advantages=st.lists(st.floats(-3.0, 3.0), min_size=4, max_size=4),
)
def test_agrees_with_the_formula_sequence_by_sequence(rows: list[list[float]], advantages: list[float]) -> None:
    width = max(len(row) for row in rows)
    new = torch.tensor([[*row, *[9.0] * (width - len(row))] for row in rows], dtype=torch.float64)
    mask = torch.tensor([[place < len(row) for place in range(width)] for row in rows])
    chosen = torch.tensor(advantages[: len(rows)], dtype=torch.float64)
    result = gspo(0.1, 0.3)(surrogate_input(new, torch.zeros_like(new), chosen, mask=mask))
    total = 0.0
    for row, advantage in zip(rows, advantages, strict=False):
        s = math.prod(math.exp(value) for value in row) ** (1 / len(row))
        total -= min(s * advantage, min(max(s, 0.9), 1.3) * advantage)
    reduced = sequence_mean(result.loss, mask, int(mask.sum()), len(rows))
    assert pytest.approx(total / len(rows)) == reduced.item()
