"""Stage grpo: problems -> rollout -> reward -> advantage -> buffer -> loss -> update -> log/checkpoint (R1V2 Eq. 6-8).

problems   [P]          what the step asks
groups     [P] of [G]   what the policy answers, one copy of each prompt
scored     [P]          + the hybrid reward
judged     [P]          + advantages; groups that rules cannot tell apart teach nothing
draws      <= P * G     fresh effective samples, topped up from the buffer
samples    <= P * G     + denominators and off-policy weights
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vergence.advantage import (
    TOLERANCE,
    Advantage,
    advantage_metrics,
    effective_samples,
    group_centred,
    group_normalised,
    judge,
)
from vergence.buffer import BufferLimits, SampleBuffer, draw_metrics
from vergence.correction import Correction, correction_metrics, decoupled, stored_clip
from vergence.data.problems import Problems
from vergence.loss.kl import KlEstimator, k1, k2, k3
from vergence.loss.reduce import sequence_mean, token_mean
from vergence.model.checkpointing import checkpoint_layers
from vergence.model.meter import Meter
from vergence.model.parameters import trainable_groups
from vergence.model.policy import Policy, load_policy
from vergence.model.reward_head import load_reward_model
from vergence.model.vision import ADAPTER_OUTPUT, CachedTower, LiveTower, Tower
from vergence.monitor.mentions import count_groups, mention_metrics
from vergence.recipe.grpo import GrpoStage
from vergence.reward.hybrid import (
    Bound,
    Gate,
    HybridReward,
    RewardWeights,
    RuleReward,
    clip_bound,
    correct_gate,
    formed_gate,
    no_bound,
    no_gate,
    reward_metrics,
    sigmoid_bound,
)
from vergence.rollout.local import LocalGenerator
from vergence.run.directory import Outcome
from vergence.run.rollout_rows import judged_rows, replay_rows
from vergence.run.stage_run import StageRun
from vergence.seeds import generator
from vergence.stages.context import Context, Models
from vergence.stages.grpo_objective import KlPenalty, NoPenalty, Objective, Penalty, surrogate_objective
from vergence.stages.parts import (
    Gauge,
    Watch,
    check_for,
    feature_limits,
    gauge,
    generation_metrics,
    logprobs_of,
    sampling,
    schedule,
    tower_for,
    training,
    watch,
)
from vergence.stages.saving import save_stage_policy, tuning_row
from vergence.stages.table import show_roles
from vergence.stages.work import Passes, WorkDone, needed_tokens, peak_memory, work_done
from vergence.types import Draw, Floats, Generator, JudgedGroup, Metrics, Origin, Reward, Sampling
from vergence.update.learner import Learner
from vergence.update.minibatch import Deal, deal_groups, deal_samples, minibatches


@dataclass(frozen=True, slots=True, eq=False)
class GrpoParts:
    """What the loop works with."""

    problems: Problems
    generator: Generator
    reward: Reward
    advantage: Advantage
    buffer: SampleBuffer
    correct: Correction
    penalty: Penalty
    objective: Objective
    deal: Deal
    learner: Learner
    meter: Meter
    work_done: WorkDone
    gauge: Gauge
    watch: Watch


def train_grpo(
    parts: GrpoParts,
    run: StageRun,
    *,
    steps: int,
    prompts_per_step: int,
    minibatch_size: int,
    passes: Passes,
    sampling: Sampling,
    rollouts_every: int,
) -> None:
    """data -> rollout -> reward -> advantage -> buffer -> loss -> update -> log/checkpoint."""
    batch_size = prompts_per_step * sampling.num_completions
    for step in run.steps(steps, {"learner": parts.learner, "buffer": parts.buffer}):
        parts.work_done(0)  # what was done between two steps is no part of either
        problems = parts.problems.take(step, prompts_per_step)
        begun = time.perf_counter()
        with run.clock.phase("generate"):
            groups = parts.generator.generate(problems, sampling, seed=run.seed(step, "rollout"), version=step)
        generated = time.perf_counter()
        with run.clock.phase("reward"):
            scored = parts.reward(groups)
        judged = [judge(group, parts.advantage) for group in scored]
        draws = parts.buffer.top_up(
            effective_samples(judged), batch_size, version=step, rng=generator(run.seed(step, "buffer"))
        )
        with run.clock.phase("old"):
            samples = parts.correct(draws)
        with run.clock.phase("reference"):
            parts.penalty.prepare(samples)
        with run.clock.phase("monitor"), parts.meter.paused():
            run.log(parts.watch(step, groups))

        rng = generator(run.seed(step, "minibatches"))
        updates = [
            parts.learner.update(parts.objective(minibatch))
            for _ in range(passes.epochs)
            for minibatch in minibatches(
                samples,
                batch_size=batch_size,
                minibatch_size=minibatch_size,
                idle_tokens=idle_length(judged),
                deal=parts.deal,
                rng=rng,
            )
        ]
        run.log(parts.work_done(needed_tokens(groups, samples, passes)) | peak_memory())
        run.log(generation_metrics(groups, generated - begun) | reward_metrics(scored) | advantage_metrics(judged))
        run.log(mention_metrics(count_groups(groups)) | draw_metrics(draws, batch_size, len(parts.buffer)))
        run.log(correction_metrics(samples) | mean_metrics(updates))
        with run.clock.phase("monitor"), parts.meter.paused():
            run.log(parts.gauge(step, steps))
        run.note_rollouts(shown_rows(judged, draws) if step % rollouts_every == 0 else [])


def idle_length(judged: Sequence[JudgedGroup]) -> float:
    """Mean number of tokens of the completions that teach nothing; 0 where all do."""
    lengths = [
        len(completion.token_ids)
        for group in judged
        for completion, advantage in zip(group.scored.group.completions, group.advantages, strict=True)
        if abs(advantage) <= TOLERANCE
    ]
    return float(np.mean(lengths)) if lengths else 0.0


def mean_metrics(updates: Sequence[Metrics]) -> Metrics:
    """Means over the updates of a step; `updates` counts them. A step without any effective sample has none."""
    if not updates:
        return {"updates": 0.0}
    return {name: float(np.mean([one[name] for one in updates])) for name in updates[0]} | {
        "updates": float(len(updates))
    }


def shown_rows(judged: Sequence[JudgedGroup], draws: Sequence[Draw]) -> list[dict[str, Any]]:
    """Two effective groups, one that taught nothing, and two samples out of the buffer, where there are such."""
    effective = [group for group in judged if group.effective][:2]
    dead = [group for group in judged if not group.effective][:1]
    replayed = [draw for draw in draws if draw.origin is Origin.REPLAY][:2]
    return judged_rows(effective + dead) + replay_rows(replayed)


def run_grpo(section: GrpoStage, run: StageRun, context: Context, models: Models) -> Outcome:
    """Build the parts, run the loop, save the policy."""
    policy = load_policy(models["policy"], context.device)
    tower = tower_for(policy, section.train, context)
    show_roles(policy, training(section.train), section.label, context)
    if context.recipe.compute.gradient_checkpointing:
        checkpoint_layers(policy)
    batch_size = section.prompts_per_step * section.sampling.num_completions
    updates = section.steps * section.epochs * batch_size // section.minibatch_size
    microbatch_tokens = context.recipe.compute.microbatch_tokens
    penalty, references = _penalty(section, context, models, tower)
    parts = GrpoParts(
        problems=context.train(run),
        generator=LocalGenerator(policy, tower),
        reward=_reward(section, context, models),
        advantage=group_normalised if section.advantage == "normalised" else group_centred,
        buffer=SampleBuffer(
            BufferLimits(
                capacity=section.buffer.capacity,
                exponent=section.buffer.exponent,
                max_age=section.buffer.max_age,
                max_uses=section.buffer.max_uses,
            )
        ),
        correct=_correction(section, policy, tower, microbatch_tokens),
        penalty=penalty,
        objective=surrogate_objective(
            policy,
            tower,
            temperature=section.sampling.temperature,
            clip_low=section.clip_low,
            clip_high=section.clip_high,
            reduce=token_mean if section.reduction == "token_mean" else sequence_mean,
            penalty=penalty,
            microbatch_tokens=microbatch_tokens,
            check=check_for(context, policy, tower, section.sampling.temperature),
        ),
        deal=deal_groups if section.deal == "groups" else deal_samples,
        learner=Learner(
            trainable_groups(policy, training(section.train)),
            betas=section.optimizer.betas,
            clip_norm=section.optimizer.clip_norm,
            schedule=schedule(section.optimizer, updates),
            clock=run.clock,
        ),
        meter=policy.meter,
        work_done=work_done(
            [policy.meter, *(reference.meter for reference, _ in references)], [tower, *(one for _, one in references)]
        ),
        gauge=gauge(policy, tower, context, section.evaluation, section.sampling.max_new_tokens, run),
        watch=watch(policy, tower, section.monitor, section.sampling.temperature, run),
    )
    train_grpo(
        parts,
        run,
        steps=section.steps,
        prompts_per_step=section.prompts_per_step,
        minibatch_size=section.minibatch_size,
        passes=Passes(section.epochs, bool(references), section.buffer.correction == "decoupled"),
        sampling=sampling(section.sampling),
        rollouts_every=section.rollouts_every,
    )
    entry = save_stage_policy(policy, section.label, context)
    return Outcome({"policy": entry}, tuning_row(run, context), {"updates": parts.learner.updates})


def _reward(section: GrpoStage, context: Context, models: Models) -> Reward:
    reward = section.reward
    bounds: dict[str, Bound] = {"sigmoid": sigmoid_bound, "clip": clip_bound, "none": no_bound}
    gates: dict[str, Gate] = {"correct": correct_gate, "formed": formed_gate, "none": no_gate}
    weights = RewardWeights(accuracy=reward.accuracy, format=reward.format, preference=reward.preference)
    if not reward.uses_preference:
        return RuleReward(weights)
    scorer = load_reward_model(
        models["reward_model"],
        context.device,
        limits=feature_limits(context),
        microbatch_tokens=context.recipe.compute.microbatch_tokens,
    )
    if reward.scores == "raw":
        scorer = scorer.uncalibrated()
    return HybridReward(weights, scorer, bounds[reward.bound], gates[reward.gate])


def _correction(section: GrpoStage, policy: Policy, tower: Tower, microbatch_tokens: int) -> Correction:
    match section.buffer.correction:
        case "clip":
            return stored_clip()
        case "decoupled":

            def proximal(draws: Sequence[Draw]) -> list[Floats]:
                members = [(draw.sample.prompt, draw.sample.completion) for draw in draws]
                return logprobs_of(
                    policy,
                    tower,
                    members,
                    temperature=section.sampling.temperature,
                    microbatch_tokens=microbatch_tokens,
                )

            return decoupled(proximal, section.buffer.correction_limit)


def _penalty(
    section: GrpoStage, context: Context, models: Models, policy_tower: CachedTower | LiveTower
) -> tuple[Penalty, list[tuple[Policy, Tower]]]:
    """The penalty, and the model it computes with, if any."""
    if section.kl_weight == 0:
        return NoPenalty(), []
    reference = load_policy(models["policy"], context.device)
    tower = CachedTower(
        reference,
        remembered=ADAPTER_OUTPUT,
        limits=feature_limits(context),
        pictures=policy_tower.pictures,  # both read the same pixels
    )
    estimators: dict[str, KlEstimator] = {"k1": k1, "k2": k2, "k3": k3}
    penalty = KlPenalty(
        reference,
        tower,
        weight=section.kl_weight,
        estimator=estimators[section.kl_estimator],
        temperature=section.sampling.temperature,
        microbatch_tokens=context.recipe.compute.microbatch_tokens,
    )
    return penalty, [(reference, tower)]
