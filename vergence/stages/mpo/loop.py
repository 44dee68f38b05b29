"""Stage mpo: rounds of problems -> rollout -> reward -> pairs -> loss -> update -> log/checkpoint (R1V2 Eq. 2-5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from vergence.data.problems import Problems
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
from vergence.monitor.mentions import count_groups, mention_metrics
from vergence.pairs.pool import PairPool
from vergence.pairs.rules import (
    PairHarvest,
    harvest_metrics,
)
from vergence.reward.hybrid import reward_metrics
from vergence.run.rollout_rows import rollout_rows
from vergence.run.stage_run import StageRun
from vergence.seeds import generator
from vergence.stages.parts import (
    Check,
    Gauge,
    Watch,
)
from vergence.stages.work import WorkDone, needed_by_pairs, peak_memory
from vergence.types import Generator, Metrics, PreferencePair, Reward, RolloutGroup, Sampling, ScoredGroup
from vergence.update.learner import Learner, LossPart

Pairing = Callable[[Sequence[ScoredGroup], np.random.Generator], PairHarvest]
AtUnitTemperature = Callable[[Sequence[RolloutGroup]], Sequence[RolloutGroup]]


@final
class Quality:
    """BCO's running shift delta: the one state of the loss; it is held by checkpoints."""

    def __init__(self, decay: float) -> None:
        self.shift = RewardShift(0.0, 0, decay)

    def state_dict(self) -> dict[str, Any]:
        """The shift."""
        return {"mean": self.shift.mean, "count": self.shift.count, "decay": self.shift.decay}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The exact inverse of `state_dict`."""
        self.shift = RewardShift(**state)


@dataclass(frozen=True, slots=True, eq=False)
class MpoParts:
    """What the loop works with."""

    policy: Policy
    tower: Tower
    problems: Problems
    generator: Generator
    at_unit_temperature: AtUnitTemperature
    reward: Reward
    pairing: Pairing
    pool: PairPool
    quality: Quality
    check: Check
    work_done: WorkDone
    microbatch_tokens: int
    learner: Learner
    gauge: Gauge
    watch: Watch


def train_mpo(
    parts: MpoParts,
    run: StageRun,
    *,
    rounds: int,
    prompts_per_round: int,
    steps_per_round: int,
    batch_size: int,
    sampling: Sampling,
    beta: float,
    weights: MpoWeights,
) -> None:
    """The policy that samples a round's pairs is that round's reference, so its own log-probs serve as log pi_0."""
    total = rounds * steps_per_round
    for step in run.steps(total, {"learner": parts.learner, "pool": parts.pool, "quality": parts.quality}):
        round_, step_of_round = divmod(step, steps_per_round)
        parts.work_done(0)  # what was done between two steps is no part of either
        groups: Sequence[RolloutGroup] = ()
        if step_of_round == 0:
            problems = parts.problems.take(round_, prompts_per_round)
            with run.clock.phase("generate"):
                groups = parts.generator.generate(problems, sampling, seed=run.seed(round_, "rollout"), version=step)
            with run.clock.phase("reward"):
                scored = parts.reward(parts.at_unit_temperature(groups))
            harvested = parts.pairing(scored, generator(run.seed(round_, "pairs")))
            parts.pool.refill(harvested.pairs)
            with run.clock.phase("monitor"), parts.policy.meter.paused():
                run.log(round_metrics(scored, harvested) | parts.watch(round_, groups))
            run.note_rollouts(rollout_rows(scored[:8]))

        pairs = parts.pool.take(step_of_round, batch_size, seed=run.seed(round_, "order"))
        run.log(parts.learner.update(preference_parts(parts, pairs, beta, weights)))
        run.log({"mpo/shift": parts.quality.shift.mean} | peak_memory())
        run.log(parts.work_done(needed_by_pairs(groups, pairs)))
        with run.clock.phase("monitor"), parts.policy.meter.paused():
            run.log(parts.gauge(step, total))


def preference_parts(
    parts: MpoParts, pairs: Sequence[PreferencePair], beta: float, weights: MpoWeights
) -> list[Callable[[], LossPart]]:
    """R1V2 Eq. 2 over a batch of pairs, in micro-batches of about equal size; a pair is never split."""
    units = [(pair.prompt, len(pair.chosen.token_ids) + len(pair.rejected.token_ids)) for pair in pairs]
    return [
        preference_part(parts, [pairs[index] for index in indices], beta, weights, len(pairs))
        for indices in microbatches(units, parts.microbatch_tokens)
    ]


def preference_part(
    parts: MpoParts, pairs: Sequence[PreferencePair], beta: float, weights: MpoWeights, num_pairs: int
) -> Callable[[], LossPart]:
    """The share of these pairs in an update over `num_pairs`.

    The shift is updated before it is used, as InternVL does, with the rewards of these pairs: in an update of several
    micro-batches it moves with each of them.
    """

    def part() -> LossPart:
        count = len(pairs)
        members = [(pair.prompt, pair.chosen) for pair in pairs] + [(pair.prompt, pair.rejected) for pair in pairs]
        parts.check(members)
        batch = collate(members, parts.policy.device)
        logprobs = token_scores(parts.policy, batch, temperature=1.0, tower=parts.tower).logprobs
        reference = torch.tensor(
            [float(completion.sampler_logprobs.sum()) for _, completion in members], device=logprobs.device
        )
        rewards = implicit_rewards(sequence_sums(logprobs, batch.mask), reference, beta)
        parts.quality.shift = parts.quality.shift.updated(rewards)
        chosen, rejected = rewards[:count], rewards[count:]
        terms = MpoTerms(
            preference=dpo_loss(chosen, rejected),
            quality=bco_loss(chosen, rejected, parts.quality.shift.mean),
            generation=generation_loss(logprobs[:count], batch.mask[:count]),
        )
        share = count / num_pairs
        metrics = {name: value * share for name, value in mpo_metrics(terms, chosen, rejected).items()}
        return LossPart(mpo_loss(terms, weights).mean() * share, metrics)

    return part


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


def round_metrics(scored: Sequence[ScoredGroup], harvested: PairHarvest) -> Metrics:
    """What a round began with."""
    mentions = mention_metrics(count_groups([group.group for group in scored]))
    return reward_metrics(scored) | harvest_metrics(harvested) | mentions
