"""Schulman's three estimators against numbers worked out by hand, and against the KL of small distributions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vergence.loss.kl import KlEstimator, fixed_weight, grpo_d, k1, k2, k3

PI = [0.5, 0.3, 0.2]
REFERENCE = [0.2, 0.5, 0.3]
EXACT = sum(p * math.log(p / q) for p, q in zip(PI, REFERENCE, strict=True))
REVERSED = sum(q * math.log(q / p) for p, q in zip(PI, REFERENCE, strict=True))


def logs(values: list[float]) -> torch.Tensor:
    return torch.tensor([[math.log(value) for value in values]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("estimator", "likelier", "less_likely"),
    [
        # log pi = -1, log ref = -2; then the other way round
        (k1, 1.0, -1.0),
        (k2, 0.5, 0.5),
        (k3, 0.36787944117144233, 0.7182818284590451),  # e^-1 + 1 - 1 and e - 1 - 1
    ],
)
def test_by_hand(estimator: KlEstimator, likelier: float, less_likely: float) -> None:
    pi = torch.tensor([[-1.0, -2.0]], dtype=torch.float64)
    reference = torch.tensor([[-2.0, -1.0]], dtype=torch.float64)
    assert pytest.approx([likelier, less_likely]) == estimator(pi, reference).flatten().tolist()


@pytest.mark.parametrize("estimator", [k1, k2, k3])
def test_equal_policies_have_none(estimator: KlEstimator) -> None:
    same = torch.tensor([[-0.3, -4.0]])
    assert [0.0, 0.0] == estimator(same, same).flatten().tolist()


@given(st.floats(-20, 0), st.floats(-20, 0))
def test_k3_is_never_negative(pi: float, reference: float) -> None:
    value = k3(torch.tensor([[pi]], dtype=torch.float64), torch.tensor([[reference]], dtype=torch.float64))
    assert value.item() >= 0.0


@pytest.mark.parametrize("estimator", [k1, k3])
def test_expectation_under_pi_is_the_exact_divergence_of_pi_from_the_reference(estimator: KlEstimator) -> None:
    """The distributions are lopsided, so that the divergence the other way round is another number."""
    values = estimator(logs(PI), logs(REFERENCE)).flatten().tolist()
    expectation = sum(p * value for p, value in zip(PI, values, strict=True))
    assert abs(EXACT - REVERSED) > 0.01
    assert pytest.approx(EXACT) == expectation


def test_expected_gradient_of_k2_is_the_gradient_of_the_exact_divergence() -> None:
    """By central differences of sum_a pi_a log(pi_a / ref_a) over softmax logits."""
    start, reference, step = [0.2, -0.5, 0.9], REFERENCE, 1e-5

    def exact(logits: list[float]) -> float:
        total = sum(math.exp(logit) for logit in logits)
        return sum(
            math.exp(logit) / total * (logit - math.log(total) - math.log(q))
            for logit, q in zip(logits, reference, strict=True)
        )

    by_differences = []
    for k in range(3):
        up, down = list(start), list(start)
        up[k] += step
        down[k] -= step
        by_differences.append((exact(up) - exact(down)) / (2 * step))

    logits = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    pi = logits.log_softmax(0)[None]
    expectation = (pi.detach().exp() * k2(pi, logs(reference))).sum()
    (gradient,) = torch.autograd.grad(expectation, logits)
    assert pytest.approx(by_differences, abs=1e-8) == gradient.tolist()


def expected_gradient(estimator: KlEstimator, start: list[float]) -> list[float]:
    """sum_a pi_a * d estimate(a) / d logits: what a term of the loss pulls by, in the mean over samples of pi."""
    logits = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    pi = logits.log_softmax(0)[None]
    (gradient,) = torch.autograd.grad((pi.detach().exp() * estimator(pi, logs(REFERENCE))).sum(), logits)
    found: list[float] = gradient.tolist()
    return found


def test_k1_in_the_loss_pulls_nowhere() -> None:
    """Its gradient is that of log pi, and sum_a pi_a d log pi_a = d sum_a pi_a = d 1 = 0: a recipe refuses it."""
    assert pytest.approx([0.0] * 3, abs=1e-15) == expected_gradient(k1, [0.2, -0.5, 0.9])
    assert max(abs(one) for one in expected_gradient(k2, [0.2, -0.5, 0.9])) > 0.1


def test_k3_in_the_loss_pulls_as_the_divergence_the_other_way_round_does() -> None:
    """d KL[ref || pi] / d logit_a = pi_a - ref_a: zero at the reference, and finite where pi has lost an answer."""
    start = [0.2, -0.5, 0.9]
    total = sum(math.exp(logit) for logit in start)
    expected = [math.exp(logit) / total - q for logit, q in zip(start, REFERENCE, strict=True)]
    assert pytest.approx(expected) == expected_gradient(k3, start)


def test_a_fixed_weight_is_the_same_at_every_step() -> None:
    assert [0.1, 0.1] == [fixed_weight(0.1)(step) for step in (0, 1000)]


def test_grpo_d_by_hand() -> None:
    """Eleven steps, turn 0.4: from the middle 0.07 down to 0.04 at step 4, then up to 0.1 at step 10."""
    weight = grpo_d(0.04, 0.1, steps=11, turn=0.4)
    expected = [0.07, 0.0625, 0.055, 0.0475, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1]
    assert pytest.approx(expected) == [weight(step) for step in range(11)]


@given(steps=st.integers(1, 50), turn=st.floats(0, 1), low=st.floats(0, 1), spread=st.floats(0, 1))
def test_grpo_d_falls_to_its_turn_then_rises_and_stays_within_its_bounds(
    steps: int, turn: float, low: float, spread: float
) -> None:
    high = low + spread
    weight = grpo_d(low, high, steps=steps, turn=turn)
    values = [weight(step) for step in range(steps)]
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in values)
    assert pytest.approx(low + spread / 2) == values[0]
    for step in range(1, steps):
        if step <= turn * (steps - 1):
            assert values[step] <= values[step - 1] + 1e-9
        if step - 1 >= turn * (steps - 1):
            assert values[step] >= values[step - 1] - 1e-9 or step == 1  # turn 0: from the middle to the bottom at once
    if steps > 1 and turn < 1:
        assert pytest.approx(high) == values[-1]
