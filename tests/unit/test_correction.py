"""Denominators and weights of replayed samples, by hand. What they do to gradients: tests/unit/test_unbiased.py."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from vergence.correction import (
    Proximal,
    correction_metrics,
    decoupled,
    per_sequence,
    per_token,
    recomputed,
    stored_clip,
)
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


@pytest.mark.parametrize("level", [per_token, per_sequence])
def test_an_unchanged_policy_gives_weights_of_exactly_one(level) -> None:
    logprobs = [-0.1, -2.7182817, -11.3]
    (one,) = decoupled(now(logprobs), 2.0, level)([replay(*logprobs)])
    assert [1.0, 1.0, 1.0] == one.weights.tolist()
    assert 0 == one.truncated


def test_decoupled_weights_by_hand() -> None:
    """pi / mu: e^(-0.5 + 1) = e^0.5, e^(-3 + 2) = e^-1, e^(-1 + 4) = e^3, held at 2."""
    (one,) = decoupled(now([-0.5, -3.0, -1.0]), 2.0)([replay(-1.0, -2.0, -4.0)])
    assert pytest.approx([1.6487212707, 0.3678794412, 2.0]) == one.weights.tolist()
    assert [-0.5, -3.0, -1.0] == one.old_logprobs.tolist()
    assert 1 == one.truncated


def test_a_sequences_weight_is_the_product_of_its_tokens_ratios() -> None:
    """e^0.5 * e^-1 * e^0.75 = e^0.25 for each token; e^3 is held at 2 for each."""
    below, above = decoupled(now([-0.5, -3.0, -1.0], [-1.0, -1.0]), 2.0, per_sequence)(
        [replay(-1.0, -2.0, -1.75), replay(-2.0, -3.0)]
    )
    assert pytest.approx([math.exp(0.25)] * 3) == below.weights.tolist()
    assert [2.0, 2.0] == above.weights.tolist()
    assert (0, 2) == (below.truncated, above.truncated)
    assert np.float32 == below.weights.dtype


def test_a_sequence_that_has_become_likelier_beyond_all_bounds_gets_the_limit() -> None:
    """A hundred tokens, each e^2 times likelier: e^200 is more than a float32 holds."""
    (one,) = decoupled(now([-1.0] * 100), 3.0, per_sequence)([replay(*[-3.0] * 100)])
    assert {3.0} == set(one.weights.tolist())


def test_recomputed_logprobs_go_to_the_replayed_samples_in_order() -> None:
    draws = [fresh(-1.0), replay(-2.0), fresh(-3.0), replay(-4.0, -4.0)]
    result = decoupled(now([-2.5], [-4.5, -3.5]), 9.0)(draws)
    assert draws == [one.draw for one in result]
    assert [[-1.0], [-2.5], [-3.0], [-4.5, -3.5]] == [one.old_logprobs.tolist() for one in result]
    half, more = math.exp(-0.5), math.exp(0.5)
    assert [pytest.approx([1.0]), pytest.approx([half]), pytest.approx([1.0]), pytest.approx([half, more])] == [
        one.weights.tolist() for one in result
    ]


def test_recomputed_denominators_are_those_of_now_for_fresh_samples_too() -> None:
    """Fresh: weight 1 whatever sampling said. Replayed: e^(-2.5 + 2), and e^(-1 + 4) held at 2."""

    def proximal(draws: Sequence[Draw]) -> list[np.ndarray]:
        assert [Origin.FRESH, Origin.REPLAY] == [one.origin for one in draws]
        return [np.array([-0.5, -1.5], np.float32), np.array([-2.5, -1.0], np.float32)]

    ours, theirs = recomputed(proximal, 2.0)([fresh(-0.25, -1.0), replay(-2.0, -4.0)])
    assert ([-0.5, -1.5], [1.0, 1.0]) == (ours.old_logprobs.tolist(), ours.weights.tolist())
    assert [-2.5, -1.0] == theirs.old_logprobs.tolist()
    assert pytest.approx([math.exp(-0.5), 2.0]) == theirs.weights.tolist()
    assert (0, 1) == (ours.truncated, theirs.truncated)
    assert ours.recomputed
    assert theirs.recomputed
    assert not stored_clip()([fresh(-0.25)])[0].recomputed


def test_stored_clip_centres_on_the_sampler_and_weighs_nothing() -> None:
    result = stored_clip()([fresh(-0.5), replay(-7.0, -0.25)])
    assert [[-0.5], [-7.0, -0.25]] == [one.old_logprobs.tolist() for one in result]
    assert [[1.0], [1.0, 1.0]] == [one.weights.tolist() for one in result]


def test_metrics_by_hand() -> None:
    """Ratios 1, 2, 6 over two replayed samples, the last held at 3: weights 1, 2, 3 with mean 2, variance 2/3 and
    (1 + 2 + 3)^2 / (3 * 14) = 36/42; one token of three is truncated. Fresh ones stay out."""
    logs = [0.0, math.log(2), math.log(6)]
    correct = decoupled(now(logs[:2], logs[2:]), 3.0)
    metrics = correction_metrics(correct([fresh(-5.0), replay(0.0, 0.0), replay(0.0)]))
    expected = {
        "buffer/weight_mean": 2.0,
        "buffer/weight_std": math.sqrt(2 / 3),
        "buffer/weight_max": 3.0,
        "buffer/weight_truncated": 1 / 3,
        "buffer/effective_sample_size": 36 / 42,
    }
    assert pytest.approx(expected) == metrics


@pytest.mark.parametrize("draws", [[], [fresh(-1.0)]])
def test_metrics_without_replay_say_that_nothing_was_corrected(draws: list[Draw]) -> None:
    metrics = correction_metrics(decoupled(unreachable, 2.0)(draws))
    assert metrics == {
        "buffer/weight_mean": 1.0,
        "buffer/weight_std": 0.0,
        "buffer/weight_max": 1.0,
        "buffer/weight_truncated": 0.0,
        "buffer/effective_sample_size": 1.0,
    }
