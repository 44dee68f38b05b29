"""The objective of a GRPO update: the clipped surrogate over one minibatch, with an optional KL penalty per token."""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from vergence.loss.policy_gradient import Surrogate, clipped_surrogate
from vergence.loss.reduce import Reduction
from vergence.model.batch import Batch, collate, microbatches, pad
from vergence.model.forward import token_scores
from vergence.model.policy import Policy
from vergence.model.vision import Tower
from vergence.stages.grpo.penalty import Penalty
from vergence.stages.parts import Check
from vergence.types import Completion, Origin, Prompt, TrainingSample
from vergence.update.learner import LossPart
from vergence.update.minibatch import Minibatch

Objective = Callable[[Minibatch], Sequence[Callable[[], LossPart]]]
"""A minibatch to the parts of its loss, each computed when the learner asks for it."""


def surrogate_objective(
    policy: Policy,
    tower: Tower,
    *,
    temperature: float,
    clip_low: float,
    clip_high: float,
    reduce: Reduction,
    penalty: Penalty,
    microbatch_tokens: int,
    check: Check,
) -> Objective:
    """R1V2 Eq. 8 plus a penalty per token, over one minibatch, in micro-batches of about equal size."""

    def part_of(minibatch: Minibatch, samples: Sequence[TrainingSample]) -> LossPart:
        members = [_member(one) for one in samples]
        check(members)
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
        terms = surrogate.loss + penalty(samples, scores.logprobs)
        loss = reduce(terms, batch.mask, minibatch.num_tokens, minibatch.num_sequences)
        shares = surrogate_shares(minibatch.samples, samples, surrogate, scores.entropy, batch)
        return LossPart(loss, shares, {"loss/ratio_max": surrogate.ratio[batch.mask].max()})

    def objective(minibatch: Minibatch) -> Sequence[Callable[[], LossPart]]:
        samples = minibatch.samples
        units = [(one.draw.sample.prompt, len(one.old_logprobs)) for one in samples]
        return [
            partial(part_of, minibatch, [samples[index] for index in indices])
            for indices in microbatches(units, microbatch_tokens)
        ]

    return objective


def surrogate_shares(
    every: Sequence[TrainingSample],
    samples: Sequence[TrainingSample],
    surrogate: Surrogate,
    entropy: torch.Tensor,
    batch: Batch,
) -> dict[str, torch.Tensor]:
    """What these samples add to the means over the tokens of `every` sample; the ratio of replayed ones apart."""
    mask = batch.mask
    tokens = sum(len(one.old_logprobs) for one in every)
    replayed_tokens = sum(len(one.old_logprobs) for one in every if one.draw.origin is Origin.REPLAY)
    replayed = torch.tensor([one.draw.origin is Origin.REPLAY for one in samples], device=mask.device)
    old = mask & replayed[:, None]
    share = mask.sum() / tokens
    old_share = old.sum() / max(1, replayed_tokens)
    return {
        "loss/entropy": entropy[mask].mean() * share,
        "loss/clip_fraction": surrogate.clipped[mask].float().mean() * share,
        "loss/ratio_mean": surrogate.ratio[mask].mean() * share,
        # without any replayed sample the ratio counts as 1
        "loss/ratio_mean_replay": surrogate.ratio[old].mean() * old_share
        if bool(old.any())
        else (share if replayed_tokens == 0 else torch.zeros(())),
    }


def _member(one: TrainingSample) -> tuple[Prompt, Completion]:
    return one.draw.sample.prompt, one.draw.sample.completion
