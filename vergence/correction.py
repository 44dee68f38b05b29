"""Denominators of the ratio, and weights for samples that an older policy drew (R1V2 gives neither).

Fresh samples need no work as a rule: the policy that drew them is the one the clip is centred on, and the log-probs
that came with them are its own, but for the rounding of decoding against training. Where bounds are so near to 1 that
this rounding lies outside, denominators are recomputed by the pass that gives the numerators.

    decoupled    old = pi_prox (recomputed now),  w = min(pi_prox / mu, limit)     mu: the policy that sampled
    stored       old = mu (stored),               w = 1                            for clip, and for w / (w + b)
    recomputed   as decoupled; fresh samples too: old = pi_prox, w = 1             for bounds near 1 (GSPO)

Sources: decoupled PPO, AReaL and verl.

The ratio pi_prox / mu is that of a token, or the product over all tokens of the completion. Only the latter makes the
mean over mu equal the gradient under pi_prox for completions of several tokens: the ratio of a token alone leaves out
that the tokens before it, and the advantage that follows, came from mu.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from vergence.types import Draw, Floats, Metrics, Origin, TrainingSample

Proximal = Callable[[Sequence[Draw]], list[Floats]]
"""Recomputes the log-probs of completions under the current policy: draws -> one array [T] each."""
Correction = Callable[[Sequence[Draw]], list[TrainingSample]]
Level = Callable[[Floats], Floats]
"""log pi_prox - log mu [T] -> weights [T], before the limit."""

_LARGEST_EXPONENT = 80.0
"""exp of more is beyond what a float32 holds; every limit is far below."""


def per_token(log_ratios: Floats) -> Floats:
    """pi_prox / mu of each token."""
    weights: Floats = np.exp(log_ratios)
    return weights


def per_sequence(log_ratios: Floats) -> Floats:
    """pi_prox / mu of the whole completion, the same for each of its tokens."""
    total = float(log_ratios.sum(dtype=np.float64))
    return np.full_like(log_ratios, math.exp(min(total, _LARGEST_EXPONENT)))


def decoupled(proximal: Proximal, limit: float, level: Level = per_token) -> Correction:
    """Truncated importance weight from behaviour to proximal policy; the clip is centred on the latter."""

    def correct(draws: Sequence[Draw]) -> list[TrainingSample]:
        replayed = [draw for draw in draws if draw.origin is Origin.REPLAY]
        rows = iter(proximal(replayed) if replayed else [])
        return [
            _as_sampled(draw) if draw.origin is Origin.FRESH else _weighted(draw, next(rows), limit, level)
            for draw in draws
        ]

    return correct


def recomputed(proximal: Proximal, limit: float, level: Level = per_token) -> Correction:
    """`decoupled`, with the denominators of fresh samples recomputed too; their weight is 1."""

    def correct(draws: Sequence[Draw]) -> list[TrainingSample]:
        return [
            TrainingSample(draw, now, np.ones_like(now))
            if draw.origin is Origin.FRESH
            else _weighted(draw, now, limit, level)
            for draw, now in zip(draws, proximal(draws), strict=True)
        ]

    return correct


def stored_clip() -> Correction:
    """The stored log-probs of the policy that sampled, for fresh and replayed samples alike, and no weight.

    With the clipped surrogate that is the plainest reading of the paper; the surrogate w / (w + b) needs no more.
    """

    return lambda draws: [_as_sampled(draw) for draw in draws]


def _as_sampled(draw: Draw) -> TrainingSample:
    behaviour = draw.sample.completion.sampler_logprobs
    return TrainingSample(draw, behaviour, np.ones_like(behaviour))


def _weighted(draw: Draw, now: Floats, limit: float, level: Level) -> TrainingSample:
    weights = level(now - draw.sample.completion.sampler_logprobs)
    return TrainingSample(draw, now, np.minimum(weights, limit), int((weights > limit).sum()))


def correction_metrics(samples: Sequence[TrainingSample]) -> Metrics:
    """How far replayed samples are from the policy: their weights, and effective sample size (sum w)^2 / (n sum w^2).

    Everything is over the tokens of replayed samples; without any, as if every weight were 1.
    """
    replayed = [sample for sample in samples if sample.draw.origin is Origin.REPLAY]
    weights = np.concatenate([sample.weights for sample in replayed] or [np.ones(1, np.float32)]).astype(np.float64)
    return {
        "buffer/weight_mean": float(weights.mean()),
        "buffer/weight_std": float(weights.std()),
        "buffer/weight_max": float(weights.max()),
        "buffer/weight_truncated": sum(sample.truncated for sample in replayed) / len(weights),
        "buffer/effective_sample_size": float(weights.sum() ** 2 / (len(weights) * np.square(weights).sum())),
    }
