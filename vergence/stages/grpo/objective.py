"""The objective of a GRPO update: a surrogate over one minibatch, a KL penalty and an entropy bonus per token."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch

from vergence.loss.policy_gradient import Surrogate, SurrogateFunction, SurrogateInput
from vergence.loss.reduce import Reduction
from vergence.model.batch import Batch, collate, microbatches, pad
from vergence.model.forward import token_scores
from vergence.model.policy import Policy
from vergence.model.vision import Tower
from vergence.monitor.critical import Places, no_places
from vergence.stages.grpo.entropy import NO_BONUS, EntropyWeight
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
    surrogate: SurrogateFunction,
    reduce: Reduction,
    penalty: Penalty,
    microbatch_tokens: int,
    check: Check,
    entropy_weight: EntropyWeight = NO_BONUS,
    places: Places = no_places,
) -> Objective:
    """Over one minibatch, in micro-batches of about equal size (R1V2 Eq. 8 and what its variants add):

        loss = reduce(surrogate + penalty - entropy weight * entropy)

    `places` names the critical tokens of a completion, whose mean entropy is logged.
    """

    def part_of(
        minibatch: Minibatch, samples: Sequence[TrainingSample], weight: float, critical: Mapping[int, list[int]]
    ) -> LossPart:
        members = [_member(one) for one in samples]
        check(members)
        batch = collate(members, policy.device)
        scores = token_scores(policy, batch, temperature=temperature, tower=tower, entropy_gradient=weight > 0)
        result = surrogate(surrogate_input(samples, scores.logprobs, batch.mask))
        penalties = penalty(samples, scores.logprobs)
        terms = result.loss + penalties - weight * scores.entropy
        loss = reduce(terms, batch.mask, minibatch.num_tokens, minibatch.num_sequences)
        entropy = scores.entropy.detach()
        entropy_weight.note(entropy[batch.mask])
        shares = surrogate_shares(minibatch.samples, samples, result, entropy, batch)
        shares["loss/penalty"] = penalties.detach().expand_as(entropy)[batch.mask].mean() * _share(minibatch, batch)
        shares |= critical_shares(samples, entropy, critical)
        peaks = {
            "loss/ratio_max": result.ratio[batch.mask].max(),
            "loss/entropy_weight": torch.tensor(weight),
            "loss/kl_weight": torch.tensor(penalty.weight),
        }
        return LossPart(loss, shares, peaks)

    def objective(minibatch: Minibatch) -> Sequence[Callable[[], LossPart]]:
        samples = minibatch.samples
        units = [(one.draw.sample.prompt, len(one.old_logprobs)) for one in samples]
        weight = entropy_weight.begin()
        critical = fresh_places(samples, places)
        return [
            partial(part_of, minibatch, [samples[index] for index in indices], weight, critical)
            for indices in microbatches(units, microbatch_tokens)
        ]

    return objective


def surrogate_input(samples: Sequence[TrainingSample], logprobs: torch.Tensor, mask: torch.Tensor) -> SurrogateInput:
    """What the surrogate reads of these samples, on the device of their log-probs [B, T]."""
    device = logprobs.device
    return SurrogateInput(
        logprobs=logprobs,
        old_logprobs=pad([one.old_logprobs for one in samples]).to(device),
        advantages=torch.tensor([one.draw.sample.advantage for one in samples], device=device),
        weights=pad([one.weights for one in samples]).to(device),
        mask=mask,
        replayed=torch.tensor([one.draw.origin is Origin.REPLAY for one in samples], device=device),
    )


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
    ratio = surrogate.ratio[mask]
    return {
        "loss/entropy": entropy[mask].mean() * share,
        "loss/clip_fraction": surrogate.clipped[mask].float().mean() * share,
        "loss/clip_fraction_low": surrogate.clipped_low[mask].float().mean() * share,
        "loss/clip_fraction_high": surrogate.clipped_high[mask].float().mean() * share,
        "loss/clip_fraction_dual": surrogate.clipped_dual[mask].float().mean() * share,
        "loss/ratio_mean": ratio.mean() * share,
        "loss/ratio_deviation": (ratio - 1).abs().mean() * share,
        # without any replayed sample the ratio counts as 1
        "loss/ratio_mean_replay": surrogate.ratio[old].mean() * old_share
        if bool(old.any())
        else (share if replayed_tokens == 0 else torch.zeros(())),
    }


def fresh_places(samples: Sequence[TrainingSample], places: Places) -> dict[int, list[int]]:
    """Completion of a fresh sample, by identity, to the places of its critical tokens; a replayed one is not the
    policy's own reasoning any more."""
    fresh = [one.draw.sample.completion for one in samples if one.draw.origin is Origin.FRESH]
    return {id(completion): places(completion) for completion in fresh}


def critical_shares(
    samples: Sequence[TrainingSample], entropy: torch.Tensor, critical: Mapping[int, list[int]]
) -> dict[str, torch.Tensor]:
    """What these samples add to the mean entropy at all critical tokens of the minibatch; nothing without any."""
    count = sum(len(found) for found in critical.values())
    if count == 0:
        return {}
    sums = [entropy[row, critical.get(id(one.draw.sample.completion), [])].sum() for row, one in enumerate(samples)]
    return {"loss/critical_entropy": torch.stack(sums).sum() / count}


def _share(minibatch: Minibatch, batch: Batch) -> float:
    """Share of the minibatch's tokens that are in this batch."""
    return sum(batch.lengths) / sum(len(one.old_logprobs) for one in minibatch.samples)


def _member(one: TrainingSample) -> tuple[Prompt, Completion]:
    return one.draw.sample.prompt, one.draw.sample.completion
