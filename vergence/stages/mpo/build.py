"""Stage mpo: its section of the recipe, turned into the parts of the loop."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from vergence.loss.preference import (
    MpoWeights,
)
from vergence.model.checkpointing import checkpoint_layers
from vergence.model.parameters import trainable_groups
from vergence.model.policy import Policy, load_policy
from vergence.model.reward_head import load_reward_model
from vergence.model.vision import Tower
from vergence.pairs.pool import PairPool
from vergence.pairs.rules import (
    PairGuards,
    harvest,
    preference_component,
    rules_only,
)
from vergence.recipe.mpo import MpoStage
from vergence.reward.hybrid import HybridReward, RewardWeights, RuleReward, no_bound, no_gate
from vergence.rollout.local import LocalGenerator
from vergence.run.directory import Outcome
from vergence.run.stage_run import StageRun
from vergence.stages.context import Context, Models
from vergence.stages.mpo.loop import AtUnitTemperature, MpoParts, Quality, train_mpo
from vergence.stages.parts import (
    check_for,
    feature_limits,
    gauge,
    logprobs_of,
    sampling,
    schedule,
    tower_for,
    training,
    watch,
)
from vergence.stages.saving import save_stage_policy, tuning_row
from vergence.stages.table import show_roles
from vergence.stages.work import work_done
from vergence.types import Reward, RolloutGroup, ScoredGroup
from vergence.update.learner import Learner


def run_mpo(section: MpoStage, run: StageRun, context: Context, models: Models) -> Outcome:
    """Build the parts, run the loop, save the policy."""
    policy = load_policy(models["policy"], context.device)
    tower = tower_for(policy, section.train, context)
    show_roles(policy, training(section.train), section.label, context)
    if context.recipe.compute.gradient_checkpointing:
        checkpoint_layers(policy)
    reward, scores = _judge(section, context, models)
    guards = PairGuards(
        min_margin=section.pairs.min_margin,
        max_length_ratio=section.pairs.max_length_ratio,
        max_per_prompt=section.pairs.max_per_prompt,
        format_negatives=section.pairs.format_negatives,
    )
    parts = MpoParts(
        policy=policy,
        tower=tower,
        problems=context.train(run),
        generator=LocalGenerator(policy, tower),
        at_unit_temperature=_as_sampled if section.sampling.temperature == 1.0 else _rescored(policy, tower, context),
        reward=reward,
        pairing=lambda scored, rng: harvest(scored, guards, scores, rng),
        pool=PairPool(),
        quality=Quality(0.9 if section.shift == "ema" else 1.0),
        check=check_for(context, policy, tower, 1.0),
        work_done=work_done([policy.meter], [tower]),
        microbatch_tokens=context.recipe.compute.microbatch_tokens,
        learner=Learner(
            trainable_groups(policy, training(section.train)),
            betas=section.optimizer.betas,
            clip_norm=section.optimizer.clip_norm,
            schedule=schedule(section.optimizer, section.rounds * section.steps_per_round),
            clock=run.clock,
        ),
        gauge=gauge(policy, tower, context, section.evaluation, section.sampling.max_new_tokens, run),
        watch=watch(policy, tower, section.monitor, section.sampling.temperature, run),
    )
    train_mpo(
        parts,
        run,
        rounds=section.rounds,
        prompts_per_round=section.prompts_per_round,
        steps_per_round=section.steps_per_round,
        batch_size=section.batch_size,
        sampling=sampling(section.sampling),
        beta=section.beta,
        weights=MpoWeights(section.preference_weight, section.quality_weight, section.generation_weight),
    )
    entry = save_stage_policy(policy, section.label, context)
    return Outcome({"policy": entry}, tuning_row(run, context), {"updates": parts.learner.updates})


def _judge(section: MpoStage, context: Context, models: Models) -> tuple[Reward, Callable[[ScoredGroup], np.ndarray]]:
    """The reward that scores a round's groups, and where a pair's margin is read from."""
    match section.pairs.judge:
        case "rules":
            return RuleReward(RewardWeights(accuracy=1.0, format=0.5, preference=0.0)), rules_only
        case "reward_model":
            scorer = load_reward_model(
                models["reward_model"],
                context.device,
                limits=feature_limits(context),
                microbatch_tokens=context.recipe.compute.microbatch_tokens,
            )
            weights = RewardWeights(accuracy=1.0, format=0.5, preference=1.0)
            return HybridReward(weights, scorer, no_bound, no_gate), preference_component


def _as_sampled(groups: Sequence[RolloutGroup]) -> Sequence[RolloutGroup]:
    return groups


def _rescored(policy: Policy, tower: Tower, context: Context) -> AtUnitTemperature:
    """Log-probs at temperature 1 in place of those of a tempered sampler: preference losses compare plain policies."""

    def rescore(groups: Sequence[RolloutGroup]) -> Sequence[RolloutGroup]:
        return [
            replace(
                group,
                completions=tuple(
                    replace(completion, sampler_logprobs=logprobs)
                    for completion, logprobs in zip(
                        group.completions,
                        logprobs_of(
                            policy,
                            tower,
                            [(group.prompt, one) for one in group.completions],
                            temperature=1.0,
                            microbatch_tokens=context.recipe.compute.microbatch_tokens,
                        ),
                        strict=True,
                    )
                ),
            )
            for group in groups
        ]

    return rescore
