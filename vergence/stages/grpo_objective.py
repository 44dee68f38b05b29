"""The objective of a GRPO update: the clipped surrogate over one minibatch, with an optional KL penalty per token."""

from collections.abc import Callable, Sequence

import torch

from vergence.loss.kl import KlEstimator
from vergence.loss.policy_gradient import clipped_surrogate
from vergence.loss.reduce import Reduction
from vergence.model.batch import Batch, collate, pad
from vergence.model.forward import token_scores
from vergence.model.policy import Policy
from vergence.model.vision import Tower
from vergence.types import Origin, TrainingSample
from vergence.update.learner import LossPart
from vergence.update.minibatch import Minibatch

Objective = Callable[[Minibatch], Callable[[], LossPart]]
"""A minibatch to its loss, computed when the learner asks for it."""


def surrogate_objective(
    policy: Policy,
    tower: Tower,
    *,
    temperature: float,
    clip_low: float,
    clip_high: float,
    reduce: Reduction,
    penalty: Callable[[Batch, torch.Tensor], torch.Tensor],
) -> Objective:
    """R1V2 Eq. 8 plus a penalty per token, over one minibatch."""

    def objective(minibatch: Minibatch) -> Callable[[], LossPart]:
        def part() -> LossPart:
            samples = minibatch.samples
            members = [(one.draw.sample.prompt, one.draw.sample.completion) for one in samples]
            batch = collate(members, policy.device)
            scores = token_scores(policy, batch, temperature=temperature, tower=tower)
            surrogate = clipped_surrogate(
                scores.logprobs,
                pad([one.old_logprobs for one in samples]).to(policy.device),
                torch.tensor([one.draw.sample.advantage for one in samples], device=policy.device),
                pad([one.weights for one in samples]).to(policy.device),
                clip_low=clip_low,
                clip_high=clip_high,
            )
            terms = surrogate.loss + penalty(batch, scores.logprobs)
            loss = reduce(terms, batch.mask, minibatch.num_tokens, minibatch.num_sequences)
            return LossPart(loss, surrogate_metrics(samples, surrogate.ratio, surrogate.clipped, scores.entropy, batch))

        return part

    return objective


def surrogate_metrics(
    samples: Sequence[TrainingSample],
    ratio: torch.Tensor,
    clipped: torch.Tensor,
    entropy: torch.Tensor,
    batch: Batch,
) -> dict[str, torch.Tensor]:
    """Means over the minibatch's tokens; the ratio of replayed samples apart."""
    replayed = torch.tensor([one.draw.origin is Origin.REPLAY for one in samples], device=ratio.device)
    old = batch.mask & replayed[:, None]
    return {
        "loss/entropy": entropy[batch.mask].mean(),
        "loss/clip_fraction": clipped[batch.mask].float().mean(),
        "loss/ratio_mean": ratio[batch.mask].mean(),
        "loss/ratio_max": ratio[batch.mask].max(),
        "loss/ratio_mean_replay": ratio[old].mean() if bool(old.any()) else torch.ones(()),
    }


def no_penalty(batch: Batch, logprobs: torch.Tensor) -> torch.Tensor:
    """The default: no KL term, hence no reference model (R1V2 Eq. 8 as printed)."""
    return torch.zeros((), device=logprobs.device)


def kl_penalty(
    reference: Policy, tower: Tower, *, weight: float, estimator: KlEstimator, temperature: float
) -> Callable[[Batch, torch.Tensor], torch.Tensor]:
    """weight * KL estimate per token against a frozen reference (R1V2's text; Eq. 8 does not print it)."""

    def penalty(batch: Batch, logprobs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            fixed = token_scores(reference, batch, temperature=temperature, tower=tower).logprobs
        return weight * estimator(logprobs, fixed)

    return penalty
