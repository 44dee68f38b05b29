"""Denominators and weights for samples that an older policy drew (R1V2 gives none; decoupled PPO, AReaL and verl).

Fresh samples need no work: the policy that drew them is the one the clip is centred on.

    decoupled   old = pi_prox (recomputed now),  w = min(pi_prox / mu, limit)      mu: the policy that sampled
    clip        old = mu (stored),               w = 1                             the plainest reading of the paper
"""

from collections.abc import Callable, Sequence

import numpy as np

from vergence.types import Draw, Floats, Metrics, Origin, TrainingSample

Proximal = Callable[[Sequence[Draw]], list[Floats]]
"""Recomputes the log-probs of completions under the current policy: draws -> one array [T] each."""
Correction = Callable[[Sequence[Draw]], list[TrainingSample]]


def decoupled(proximal: Proximal, limit: float) -> Correction:
    """Truncated importance weight from behaviour to proximal policy, per token; the clip is centred on the latter."""

    def correct(draws: Sequence[Draw]) -> list[TrainingSample]:
        replayed = [draw for draw in draws if draw.origin is Origin.REPLAY]
        recomputed = iter(proximal(replayed) if replayed else [])
        samples = []
        for draw in draws:
            behaviour = draw.sample.completion.sampler_logprobs
            if draw.origin is Origin.FRESH:
                samples.append(TrainingSample(draw, behaviour, np.ones_like(behaviour)))
            else:
                now = next(recomputed)
                samples.append(TrainingSample(draw, now, np.minimum(np.exp(now - behaviour), limit)))
        return samples

    return correct


def stored_clip() -> Correction:
    """Replayed samples are clipped against the policy that drew them, and nothing else."""

    def correct(draws: Sequence[Draw]) -> list[TrainingSample]:
        return [
            TrainingSample(
                draw,
                draw.sample.completion.sampler_logprobs,
                np.ones_like(draw.sample.completion.sampler_logprobs),
            )
            for draw in draws
        ]

    return correct


def correction_metrics(samples: Sequence[TrainingSample]) -> Metrics:
    """How far replayed samples are from the policy: mean weight, and effective sample size (sum w)^2 / (n sum w^2)."""
    replayed = [sample for sample in samples if sample.draw.origin is Origin.REPLAY]
    if not replayed:
        return {"buffer/weight_mean": 1.0, "buffer/effective_sample_size": 1.0}
    weights = np.concatenate([sample.weights for sample in replayed]).astype(np.float64)
    return {
        "buffer/weight_mean": float(weights.mean()),
        "buffer/effective_sample_size": float(weights.sum() ** 2 / (len(weights) * np.square(weights).sum())),
    }
