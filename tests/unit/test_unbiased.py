"""What each correction does to the gradient, on policies so small that every answer can be enumerated.

The behaviour policy mu drew the answers, the policy is pi. For each answer y the real correction and the real loss are
computed, and their gradients are added up with the exact probabilities mu(y). What should come out is the gradient of
the expected reward under pi, which is computed without any of our functions.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vergence.correction import Correction, Level, decoupled, per_sequence, per_token, stored_clip
from vergence.loss.policy_gradient import SurrogateFunction, SurrogateInput, clipped, shaped
from vergence.loss.reduce import token_mean
from vergence.types import Draw, Origin

from .builders import draw, sample

NO_LIMIT = 1e9
CLIP = clipped(0.2, 0.2)


@dataclass(frozen=True)
class Problem:
    """Answers of `length` tokens out of three; logits [1 + 3, 3]: of the first token, and of the second after each."""

    logits: Tensor
    behaviour: Tensor
    reward: Callable[[Sequence[int]], float]
    length: int

    def answers(self) -> list[tuple[int, ...]]:
        return list(product(range(3), repeat=self.length))

    def logprobs(self, logits: Tensor, answer: Sequence[int]) -> Tensor:
        """[T] log-probs of the answer's tokens."""
        rows = [0, *(1 + token for token in answer[:-1])]
        return torch.stack([logits[row].log_softmax(0)[token] for row, token in zip(rows, answer, strict=True)])

    def probability(self, answer: Sequence[int]) -> float:
        """mu(answer)."""
        return float(self.logprobs(self.behaviour, answer).sum().exp())


def doubles(*rows: Sequence[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


ONE_TOKEN = Problem(doubles([0.4, -0.3, 0.1]), doubles([-0.9, 0.6, -1.4]), lambda y: [1.0, -0.5, 2.0][y[0]], 1)
TWO_TOKENS = Problem(
    doubles([0.4, -0.3, 0.1], [0.2, -0.4, 0.9], [-0.7, 0.3, 0.0], [0.5, 0.1, -0.6]),
    doubles([-0.9, 0.6, -1.4], [0.9, -0.2, 0.1], [0.1, 0.2, -0.5], [-0.3, 0.7, 0.2]),
    lambda y: float(y in ((0, 2), (2, 0), (2, 1))),
    2,
)


def exact_gradient(problem: Problem) -> Tensor:
    """d/d logits of sum_y pi(y) r(y), by differentiating the sum itself."""
    logits = problem.logits.clone().requires_grad_(True)
    expected = sum(problem.logprobs(logits, y).sum().exp() * problem.reward(y) for y in problem.answers())
    (gradient,) = torch.autograd.grad(expected, logits)
    return gradient


def expected_gradient(
    problem: Problem, correction: Callable[[Callable], Correction], surrogate: SurrogateFunction = CLIP
) -> Tensor:
    """sum_y mu(y) * what the loss of the replayed answer y pushes the logits by."""
    logits = problem.logits.clone().requires_grad_(True)
    total = torch.zeros_like(logits)
    for answer in problem.answers():
        logprobs = problem.logprobs(logits, answer)
        stored = problem.logprobs(problem.behaviour, answer).tolist()
        one = draw(sample(problem.reward(answer), logprobs=stored), Origin.REPLAY, age=1)

        def proximal(draws: Sequence[Draw], row: Tensor = logprobs) -> list[np.ndarray]:
            return [row.detach().numpy().astype(np.float32) for _ in draws]

        (corrected,) = correction(proximal)([one])
        given = SurrogateInput(
            logprobs[None],
            torch.from_numpy(corrected.old_logprobs)[None],
            torch.tensor([one.sample.advantage], dtype=torch.float64),
            torch.from_numpy(corrected.weights)[None],
            torch.ones(1, problem.length, dtype=torch.bool),
            torch.ones(1, dtype=torch.bool),
        )
        loss = token_mean(surrogate(given).loss, given.mask, 1, 1)
        (gradient,) = torch.autograd.grad(loss, logits)
        total -= problem.probability(answer) * gradient
    return total


def with_weights(limit: float, level: Level = per_token) -> Callable[[Callable], Correction]:
    return lambda proximal: decoupled(proximal, limit, level)


def plain(proximal: Callable) -> Correction:
    return stored_clip()


def bias(problem: Problem, found: Tensor) -> float:
    """Distance from the exact gradient, relative to its length."""
    exact = exact_gradient(problem)
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize("problem", [ONE_TOKEN, TWO_TOKENS])
def test_the_policies_are_far_apart(problem: Problem) -> None:
    """Otherwise nothing would be shown: whole answers become more than three times likelier, or less than half."""
    ratios = [
        float((problem.logprobs(problem.logits, y).sum() - problem.logprobs(problem.behaviour, y).sum()).exp())
        for y in problem.answers()
    ]
    assert max(ratios) > 3
    assert min(ratios) < 0.5
    assert pytest.approx(1.0) == sum(problem.probability(y) for y in problem.answers())


# ── without truncation ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("level", [per_token, per_sequence])
def test_the_corrected_gradient_of_one_token_answers_is_exact(level: Level) -> None:
    difference = expected_gradient(ONE_TOKEN, with_weights(NO_LIMIT, level)) - exact_gradient(ONE_TOKEN)
    assert float(difference.abs().max()) < 1e-6


def test_the_exact_gradient_by_hand() -> None:
    """d/d logit_k of sum_a pi_a r_a = pi_k (r_k - sum_a pi_a r_a)."""
    powers = [math.exp(logit) for logit in (0.4, -0.3, 0.1)]
    pi = [power / sum(powers) for power in powers]
    mean = sum(p * r for p, r in zip(pi, (1.0, -0.5, 2.0), strict=True))
    expected = [p * (r - mean) for p, r in zip(pi, (1.0, -0.5, 2.0), strict=True)]
    assert pytest.approx(expected) == exact_gradient(ONE_TOKEN)[0].tolist()


def test_sequence_weights_are_exact_for_answers_of_two_tokens() -> None:
    difference = expected_gradient(TWO_TOKENS, with_weights(NO_LIMIT, per_sequence)) - exact_gradient(TWO_TOKENS)
    assert float(difference.abs().max()) < 1e-6


def test_token_weights_are_not_and_this_is_what_they_give_instead() -> None:
    """Of each token they correct the token alone: what stands before and behind it still comes from mu."""
    problem, logits = TWO_TOKENS, TWO_TOKENS.logits.clone().requires_grad_(True)
    expected = torch.zeros(())
    for first, second in problem.answers():
        reward = problem.reward((first, second))
        one, two = problem.logprobs(logits, (first, second))
        mu_one, mu_two = problem.logprobs(problem.behaviour, (first, second)).exp()
        expected = expected + reward * (one.exp() * mu_two + mu_one * two.exp())
    (gradient,) = torch.autograd.grad(expected, logits)
    found = expected_gradient(problem, with_weights(NO_LIMIT))
    assert float((found - gradient).abs().max()) < 1e-6
    assert bias(problem, found) > 0.1


# ── truncation, and the other corrections ────────────────────────────────────────────────────────────────────────


def test_truncation_is_a_bias_that_shrinks_as_the_limit_rises() -> None:
    limits = [1.0, 1.5, 2.0, 3.0, 4.0]
    found = [bias(ONE_TOKEN, expected_gradient(ONE_TOKEN, with_weights(limit))) for limit in limits]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.3
    assert found[-1] < 1e-6, "4 is above the largest ratio"


def test_what_truncation_takes_away_by_hand() -> None:
    """min(w, 2) in place of w: the gradient of sum_a mu_a min(w_a, 2) r_a log pi_a."""
    logits = ONE_TOKEN.logits.clone().requires_grad_(True)
    pi, mu = logits[0].log_softmax(0), ONE_TOKEN.behaviour[0].softmax(0)
    weights = (pi.detach().exp() / mu).clamp(max=2.0)
    (expected,) = torch.autograd.grad((mu * weights * torch.tensor([1.0, -0.5, 2.0]) * pi).sum(), logits)
    found = expected_gradient(ONE_TOKEN, with_weights(2.0))
    assert float((found - expected).abs().max()) < 1e-6


def test_the_plain_clip_is_exact_only_as_far_as_it_does_not_clip() -> None:
    """pi / mu times the gradient of log pi is what importance sampling asks for. The clip then silences it."""
    free = expected_gradient(ONE_TOKEN, plain, clipped(0.999, 1e6))
    assert float((free - exact_gradient(ONE_TOKEN)).abs().max()) < 1e-6
    assert bias(ONE_TOKEN, expected_gradient(ONE_TOKEN, plain)) > 0.5


def test_no_correction_at_all_is_biased() -> None:
    """Weight 1 around the recomputed policy: the sample counts as if pi had drawn it."""
    found = expected_gradient(ONE_TOKEN, lambda proximal: decoupled(proximal, NO_LIMIT, np.zeros_like))
    assert float(found.abs().max()) < 1e-6, "a weight of 0 gives no gradient, so weights are what is used"
    ignored = expected_gradient(ONE_TOKEN, lambda proximal: decoupled(proximal, NO_LIMIT, np.ones_like))
    assert bias(ONE_TOKEN, ignored) > 0.3


def test_shaping_flattens_what_has_become_likely() -> None:
    """d/d log pi of rho / (rho + b) is b rho / (rho + b)^2 where importance sampling asks for rho."""
    logits = ONE_TOKEN.logits.clone().requires_grad_(True)
    pi, mu = logits[0].log_softmax(0), ONE_TOKEN.behaviour[0].softmax(0)
    rho = pi.detach().exp() / mu
    slope = 0.1 * rho / (rho + 0.1) ** 2
    (expected,) = torch.autograd.grad((mu * slope * torch.tensor([1.0, -0.5, 2.0]) * pi).sum(), logits)
    found = expected_gradient(ONE_TOKEN, plain, shaped(0.1))
    assert float((found - expected).abs().max()) < 1e-6


# ── the table of docs/buffer.md ──────────────────────────────────────────────────────────────────────────────────


def near(problem: Problem) -> Problem:
    """The same with a fifth of the way from mu to pi left to go."""
    return replace(problem, behaviour=problem.logits + 0.2 * (problem.behaviour - problem.logits))


ROWS: dict[str, tuple[Callable[[Callable], Correction], SurrogateFunction]] = {
    "decoupled, sequence, no limit": (with_weights(NO_LIMIT, per_sequence), CLIP),
    "decoupled, sequence, limit 2": (with_weights(2.0, per_sequence), CLIP),
    "decoupled, token, no limit": (with_weights(NO_LIMIT), CLIP),
    "decoupled, token, limit 2": (with_weights(2.0), CLIP),
    "clip": (plain, CLIP),
    "shaped, b = 0.1": (plain, shaped(0.1)),
    "none, recomputed log-probs": (lambda proximal: decoupled(proximal, NO_LIMIT, np.ones_like), CLIP),
}


def test_the_table_in_the_documents_is_what_comes_out_here() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "buffer.md").read_text()
    stated = {
        cells[0]: cells[1:]
        for line in text.splitlines()
        if line.startswith("| ") and (cells := [cell.strip() for cell in line.strip("|").split("|")])[0] in ROWS
    }
    problems = [near(ONE_TOKEN), near(TWO_TOKENS), ONE_TOKEN, TWO_TOKENS]
    found = {
        name: [f"{100 * bias(problem, expected_gradient(problem, *how)):.0f} %" for problem in problems]
        for name, how in ROWS.items()
    }
    assert found == stated
