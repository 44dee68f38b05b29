"""The perception monitor's two figures, by hand."""

import math

import numpy as np
import pytest
import torch

from vergence.monitor.perception import perception_summary, token_divergence
from vergence.monitor.scores import Seen


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


@pytest.mark.parametrize(
    ("seen", "masked", "divergence"),
    [
        (-1.0, -1.0, 0.0),  # the picture says nothing about this token
        (-1.0, -2.0, math.exp(-1)),  # d = -1: e^-1 + 1 - 1
        (-2.0, -1.0, math.e - 2),  # d = 1: e - 1 - 1
        (-0.1, -6.1, 5.00247875217667),  # d = -6: e^-6 + 6 - 1
        (0.0, -11.0, 10.0),  # d = -11 would give 10.00002
        (0.0, -500.0, 10.0),
        (-500.0, 0.0, 10.0),
        (-math.inf, 0.0, 10.0),  # inf - inf would be no number
    ],
)
def test_divergence_of_a_token_by_hand(seen: float, masked: float, divergence: float) -> None:
    assert pytest.approx(divergence) == token_divergence(row(seen), row(masked)).item()


def test_expected_divergence_is_the_exact_one_from_seeing_to_not_seeing() -> None:
    """Over three tokens with probabilities (.6, .3, .1) when seeing and (.2, .5, .3) when not."""
    seen, masked = [0.6, 0.3, 0.1], [0.2, 0.5, 0.3]
    exact = sum(p * math.log(p / q) for p, q in zip(seen, masked, strict=True))
    values = token_divergence(row(*map(math.log, seen)), row(*map(math.log, masked))).flatten().tolist()
    assert pytest.approx(exact) == sum(p * value for p, value in zip(seen, values, strict=True))


def seen(logprobs: list[float], entropy: list[float]) -> Seen:
    return Seen(np.array(logprobs, dtype=np.float32), np.array(entropy, dtype=np.float32))


def test_summary_by_hand() -> None:
    """Three tokens of one completion and one of another, with d = 0, -1, 1 and -6.

    v is 0, 0.368, 0.718 and 5.002; the entropy gaps are 0.5, 0, -0.5 and 2.
    """
    looking = [seen([-1.0, -1.0, -2.0], [1.0, 1.0, 1.0]), seen([-0.1], [0.5])]
    masked = [seen([-1.0, -2.0, -1.0], [1.5, 1.0, 0.5]), seen([-6.1], [2.5])]
    metrics = perception_summary(looking, masked, 0.5)
    assert pytest.approx((math.exp(-1) + math.e - 2 + 5.00247875217667) / 4) == metrics["perception/kl"]
    assert 2 / 4 == metrics["perception/dependent_share"]
    assert pytest.approx(2.0 / 4) == metrics["perception/entropy_gap"]


def test_a_policy_that_says_the_same_either_way_depends_on_nothing() -> None:
    looking = [seen([-1.0, -3.0], [1.0, 2.0])]
    assert {
        "perception/kl": 0.0,
        "perception/dependent_share": 0.0,
        "perception/entropy_gap": 0.0,
    } == perception_summary(looking, looking, 0.1)
