"""Denominators and weights of replayed samples: by hand, and by enumerating a tiny policy."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from vergence.correction import Proximal, correction_metrics, decoupled, stored_clip
from vergence.loss.policy_gradient import clipped_surrogate
from vergence.types import Draw, Origin

from .builders import draw, sample


def fresh(*logprobs: float) -> Draw:
    return draw(sample(logprobs=logprobs))


def replay(*logprobs: float, advantage: float = 1.0) -> Draw:
    return draw(sample(advantage, logprobs=logprobs), Origin.REPLAY, age=3)


def now(*rows: Sequence[float]) -> Proximal:
    """A policy under which the replayed completions have these log-probs, in order."""

    def proximal(draws: Sequence[Draw]) -> list[np.ndarray]:
        assert all(one.origin is Origin.REPLAY for one in draws)
        assert len(rows) == len(draws)
        return [np.array(row, dtype=np.float32) for row in rows]

    return proximal


def unreachable(draws: Sequence[Draw]) -> list[np.ndarray]:
    raise AssertionError("a batch without replay needs no recomputation")


def test_fresh_samples_keep_the_samplers_logprobs_and_weight_one() -> None:
    (one,) = decoupled(unreachable, 2.0)([fresh(-0.5, -1.25)])
    assert [-0.5, -1.25] == one.old_logprobs.tolist()
    assert [1.0, 1.0] == one.weights.tolist()


def test_an_unchanged_policy_gives_weights_of_exactly_one() -> None:
    logprobs = [-0.1, -2.7182817, -11.3]
    (one,) = decoupled(now(logprobs), 2.0)([replay(*logprobs)])
    assert [1.0, 1.0, 1.0] == one.weights.tolist()


def test_decoupled_weights_by_hand() -> None:
    """pi / mu: e^(-0.5 + 1) = e^0.5, e^(-3 + 2) = e^-1, e^(-1 + 4) = e^3, held at 2."""
    (one,) = decoupled(now([-0.5, -3.0, -1.0]), 2.0)([replay(-1.0, -2.0, -4.0)])
    assert pytest.approx([1.6487212707, 0.3678794412, 2.0]) == one.weights.tolist()
    assert [-0.5, -3.0, -1.0] == one.old_logprobs.tolist()


def test_recomputed_logprobs_go_to_the_replayed_samples_in_order() -> None:
    draws = [fresh(-1.0), replay(-2.0), fresh(-3.0), replay(-4.0, -4.0)]
    result = decoupled(now([-2.5], [-4.5, -3.5]), 9.0)(draws)
    assert draws == [one.draw for one in result]
    assert [[-1.0], [-2.5], [-3.0], [-4.5, -3.5]] == [one.old_logprobs.tolist() for one in result]
    half, more = math.exp(-0.5), math.exp(0.5)
    assert [pytest.approx([1.0]), pytest.approx([half]), pytest.approx([1.0]), pytest.approx([half, more])] == [
        one.weights.tolist() for one in result
    ]


def test_stored_clip_centres_on_the_sampler_and_weighs_nothing() -> None:
    result = stored_clip()([fresh(-0.5), replay(-7.0, -0.25)])
    assert [[-0.5], [-7.0, -0.25]] == [one.old_logprobs.tolist() for one in result]
    assert [[1.0], [1.0, 1.0]] == [one.weights.tolist() for one in result]


def test_metrics_by_hand() -> None:
    """Weights 1, 2, 3 over two replayed samples: mean 2, (1 + 2 + 3)^2 / (3 * 14) = 36/42. Fresh ones stay out."""
    logs = [0.0, math.log(2), math.log(3)]
    correct = decoupled(now(logs[:2], logs[2:]), 10.0)
    metrics = correction_metrics(correct([fresh(-5.0), replay(0.0, 0.0), replay(0.0)]))
    assert pytest.approx({"buffer/weight_mean": 2.0, "buffer/effective_sample_size": 36 / 42}) == metrics


@pytest.mark.parametrize("draws", [[], [fresh(-1.0)]])
def test_metrics_without_replay_say_that_nothing_was_corrected(draws: list[Draw]) -> None:
    metrics = correction_metrics(decoupled(unreachable, 2.0)(draws))
    assert {"buffer/weight_mean": 1.0, "buffer/effective_sample_size": 1.0} == metrics


# ── a policy of one step and three actions, small enough to enumerate ────────────────────────────────────────────

LOGITS = [0.4, -0.3, 0.1]
BEHAVIOUR = [0.2, 0.7, 0.1]
ADVANTAGES = [1.0, -0.5, 2.0]


def exact_gradient() -> list[float]:
    """d/d logit_k of sum_a pi_a A_a = pi_k (A_k - sum_a pi_a A_a)."""
    total = sum(math.exp(logit) for logit in LOGITS)
    pi = [math.exp(logit) / total for logit in LOGITS]
    mean = sum(p * a for p, a in zip(pi, ADVANTAGES, strict=True))
    return [p * (a - mean) for p, a in zip(pi, ADVANTAGES, strict=True)]


def expected_gradient(limit: float) -> list[float]:
    """Under the behaviour policy, the expectation of what the loss of a replayed action pushes the logits by."""
    logits = torch.tensor(LOGITS, requires_grad=True)
    expectation = [0.0, 0.0, 0.0]
    for action in range(3):
        logprob = logits.log_softmax(0)[action].view(1, 1)
        one = replay(math.log(BEHAVIOUR[action]), advantage=ADVANTAGES[action])
        (corrected,) = decoupled(now([logprob.item()]), limit)([one])
        loss = clipped_surrogate(
            logprob,
            torch.from_numpy(corrected.old_logprobs)[None],
            torch.tensor([one.sample.advantage]),
            torch.from_numpy(corrected.weights)[None],
            clip_low=0.2,
            clip_high=0.2,
        ).loss
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        for k, value in enumerate(gradient.tolist()):
            expectation[k] -= BEHAVIOUR[action] * value
    return expectation


def test_without_truncation_the_replayed_gradient_is_unbiased() -> None:
    assert pytest.approx(exact_gradient(), abs=1e-6) == expected_gradient(limit=1e9)


def test_truncation_is_what_makes_it_biased() -> None:
    """The third action's weight is about 3.3, so a limit of 1 must show."""
    error = max(abs(a - b) for a, b in zip(exact_gradient(), expected_gradient(limit=1.0), strict=True))
    assert error > 0.05
