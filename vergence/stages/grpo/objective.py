"""The objective of a GRPO update: a surrogate over one minibatch, a KL penalty and an entropy bonus per token."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vergence.integrity.gap import check_mean_gap, gap_of
from vergence.loss.policy_gradient import Surrogate, SurrogateFunction, SurrogateInput
from vergence.loss.reduce import Reduction
from vergence.model.batch import collate, microbatches, pad, unpad
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
    own_denominators: bool = False,
    red_line: float = math.inf,
) -> Objective:
    """Over one minibatch, in micro-batches of about equal size (R1V2 Eq. 8 and what its variants add):

        loss = reduce over all samples of surrogate  +  reduce over the fresh ones of penalty - entropy weight * entropy

    Divergence and entropy are those of the policy's own completions, whatever their rewards, so both terms are means
    over the fresh completions of the minibatch, as in TRL; a replayed sample has no part in them (docs/equations.md,
    entry 34). Without either term only samples with an advantage are in the minibatch.

    With `own_denominators` the fresh samples of an unmoved minibatch are divided by their own log-probs, without
    gradient: the ratio is exactly 1. There the gap to the sampler's log-probs is logged too, and IntegrityError raised
    where the mean of a part is above `red_line` (nats a token). `places` names the critical tokens of a completion,
    whose mean entropy is logged.
    """

    def part_of(
        minibatch: Minibatch, samples: Sequence[TrainingSample], weight: float, critical: Mapping[int, list[int]]
    ) -> LossPart:
        members = [_member(one) for one in samples]
        check(members)
        batch = collate(members, policy.device)
        scores = token_scores(policy, batch, temperature=temperature, tower=tower, entropy_gradient=weight > 0)
        fresh = torch.tensor([one.draw.origin is Origin.FRESH for one in samples], device=policy.device)
        given = surrogate_input(samples, scores.logprobs, batch.mask)
        if own_denominators and minibatch.unmoved:
            given = replace(
                given, old_logprobs=torch.where(fresh[:, None], given.logprobs.detach(), given.old_logprobs)
            )
        result = surrogate(given)
        loss = reduce(result.loss, batch.mask, minibatch.num_tokens, minibatch.num_sequences)

        drawn, mask, entropy = minibatch.fresh, batch.mask[fresh], scores.entropy.detach()
        penalties = penalty([one for one in samples if one.draw.origin is Origin.FRESH], scores.logprobs[fresh])
        terms = penalties - weight * scores.entropy[fresh]
        loss = loss + reduce(terms, mask, _tokens(drawn), len(drawn))
        entropy_weight.note(entropy[fresh][mask])
        shares = surrogate_shares(minibatch.effective, samples, result, entropy, batch.mask)
        shares["loss/penalty"] = penalties.detach().expand_as(mask)[mask].sum() / max(1, _tokens(drawn))
        shares |= critical_shares(samples, entropy, critical)
        peaks = {
            "loss/entropy_weight": torch.tensor(weight),
            "loss/kl_weight": torch.tensor(penalty.weight),
        }
        taught = batch.mask & _effective(samples, batch.mask.device)
        if bool(taught.any()):
            peaks["loss/ratio_max"] = result.ratio[taught].max()
        gaps = sampler_gaps(samples, scores.logprobs, batch.mask) if minibatch.unmoved else []
        if gaps:
            check_mean_gap([_member(one) for one in samples if one.draw.origin is Origin.FRESH], gaps, red_line)
            shares["integrity/sampler_gap"] = torch.tensor(sum(gaps) / len(drawn))
            peaks["integrity/sampler_gap_max"] = torch.tensor(max(gaps))
        return LossPart(loss, shares, peaks)

    def objective(minibatch: Minibatch) -> Sequence[Callable[[], LossPart]]:
        samples = minibatch.samples
        units = [(one.draw.sample.prompt, len(one.old_logprobs)) for one in samples]
        weight = entropy_weight.begin()
        critical = fresh_places(minibatch.effective, places)
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
    entropy: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
) -> dict[str, torch.Tensor]:
    """What the effective ones of these samples add to the means over the tokens of `every` effective sample; the ratio
    of replayed ones apart. Nothing where there is none."""
    tokens = _tokens(every)
    if tokens == 0:
        return {}
    taught = mask & _effective(samples, mask.device)
    replayed_tokens = _tokens([one for one in every if one.draw.origin is Origin.REPLAY])
    replayed = torch.tensor([one.draw.origin is Origin.REPLAY for one in samples], device=mask.device)
    ratio = surrogate.ratio[taught]
    share = taught.sum() / tokens
    return {
        "loss/entropy": entropy[taught].sum() / tokens,
        "loss/clip_fraction": surrogate.clipped[taught].sum() / tokens,
        "loss/clip_fraction_low": surrogate.clipped_low[taught].sum() / tokens,
        "loss/clip_fraction_high": surrogate.clipped_high[taught].sum() / tokens,
        "loss/clip_fraction_dual": surrogate.clipped_dual[taught].sum() / tokens,
        "loss/ratio_mean": ratio.sum() / tokens,
        "loss/ratio_deviation": (ratio - 1).abs().sum() / tokens,
        # without any replayed sample the ratio counts as 1
        "loss/ratio_mean_replay": surrogate.ratio[mask & replayed[:, None]].sum() / replayed_tokens
        if replayed_tokens
        else share,
    }


def sampler_gaps(samples: Sequence[TrainingSample], logprobs: torch.Tensor, mask: torch.Tensor) -> list[float]:
    """The gap of each fresh one of these samples, whose log-probs now are `logprobs` [B, T]."""
    rows = unpad(logprobs.detach(), mask)
    return [
        gap_of(one.draw.sample.completion, row)
        for one, row in zip(samples, rows, strict=True)
        if one.draw.origin is Origin.FRESH
    ]


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


def _tokens(samples: Sequence[TrainingSample]) -> int:
    return sum(len(one.old_logprobs) for one in samples)


def _effective(samples: Sequence[TrainingSample], device: torch.device) -> Bool[Tensor, "B 1"]:
    return torch.tensor([one.draw.effective for one in samples], device=device)[:, None]


def _member(one: TrainingSample) -> tuple[Prompt, Completion]:
    return one.draw.sample.prompt, one.draw.sample.completion
