"""The objective of an MPO update: the three terms over a batch of pairs, and BCO's running shift."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, final

import torch

from vergence.loss.preference import (
    MpoTerms,
    MpoWeights,
    RewardShift,
    bco_loss,
    dpo_loss,
    generation_loss,
    implicit_rewards,
    mpo_loss,
    sequence_sums,
)
from vergence.model.batch import collate, microbatches
from vergence.model.forward import token_scores
from vergence.model.policy import Policy
from vergence.model.vision import Tower
from vergence.stages.parts import Check
from vergence.types import TrainingPair
from vergence.update.learner import LossPart

PairObjective = Callable[[Sequence[TrainingPair]], Sequence[Callable[[], LossPart]]]
"""A batch of pairs to the parts of its loss, each computed when the learner asks for it."""


@final
class Quality:
    """BCO's running shift delta: the one state of the loss; it is held by checkpoints."""

    def __init__(self, decay: float, *, per_reference: bool = True) -> None:
        """`per_reference`: delta averages the implicit rewards of one reference; else of all that the stage had."""
        self._per_reference = per_reference
        self.shift = RewardShift(0.0, 0, decay)

    def new_reference(self) -> None:
        """The policy is the reference now, so that every implicit reward is 0 again, and with them their average."""
        if self._per_reference:
            self.shift = RewardShift(0.0, 0, self.shift.decay)

    def state_dict(self) -> dict[str, Any]:
        """The shift."""
        return {"mean": self.shift.mean, "count": self.shift.count, "decay": self.shift.decay}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self.shift = RewardShift(**state)


def preference_objective(
    policy: Policy,
    tower: Tower,
    *,
    quality: Quality,
    beta: float,
    weights: MpoWeights,
    microbatch_tokens: int,
    check: Check,
) -> PairObjective:
    """R1V2 Eq. 2 over a batch of pairs, in micro-batches of about equal size; a pair is never split.

    The shift is updated before it is used, as InternVL does, with the rewards of a micro-batch's pairs: in an update of
    several micro-batches it moves with each of them.
    """

    def part_of(batched: Sequence[TrainingPair], num_pairs: int) -> LossPart:
        count, pairs = len(batched), [one.pair for one in batched]
        members = [(pair.prompt, pair.chosen) for pair in pairs] + [(pair.prompt, pair.rejected) for pair in pairs]
        check(members)
        batch = collate(members, policy.device)
        logprobs = token_scores(policy, batch, temperature=1.0, tower=tower).logprobs
        rows = [one.chosen_reference for one in batched] + [one.rejected_reference for one in batched]
        reference = torch.tensor([float(row.sum()) for row in rows], device=logprobs.device)
        rewards = implicit_rewards(sequence_sums(logprobs, batch.mask), reference, beta)
        quality.shift = quality.shift.updated(rewards)
        chosen, rejected = rewards[:count], rewards[count:]
        terms = MpoTerms(
            preference=dpo_loss(chosen, rejected),
            quality=bco_loss(chosen, rejected, quality.shift.mean),
            generation=generation_loss(logprobs[:count], batch.mask[:count]),
        )
        share = count / num_pairs
        metrics = {name: value * share for name, value in mpo_metrics(terms, chosen, rejected).items()}
        return LossPart(mpo_loss(terms, weights).mean() * share, metrics)

    def objective(batch: Sequence[TrainingPair]) -> Sequence[Callable[[], LossPart]]:
        pairs = [one.pair for one in batch]
        units = [(pair.prompt, len(pair.chosen.token_ids) + len(pair.rejected.token_ids)) for pair in pairs]
        return [
            partial(part_of, [batch[index] for index in indices], len(batch))
            for indices in microbatches(units, microbatch_tokens)
        ]

    return objective


def mpo_metrics(terms: MpoTerms, chosen: torch.Tensor, rejected: torch.Tensor) -> dict[str, torch.Tensor]:
    """Means of the three terms and of the implicit rewards."""
    values = {
        "mpo/preference_loss": terms.preference,
        "mpo/quality_loss": terms.quality,
        "mpo/generation_loss": terms.generation,
        "mpo/chosen_reward": chosen,
        "mpo/rejected_reward": rejected,
        "mpo/pair_accuracy": (chosen > rejected).float(),
    }
    return {name: value.detach().mean() for name, value in values.items()}
