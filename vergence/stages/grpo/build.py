"""Stage grpo: its section of the recipe, turned into the parts of the loop."""

import math

from vergence.model.parameters import trainable_groups
from vergence.model.policy import Policy
from vergence.model.vision import CachedTower, LiveTower
from vergence.monitor.dials import Dials
from vergence.recipe.grpo import GrpoStage
from vergence.rollout.local import LocalGenerator
from vergence.run.checkpoint import Stateful
from vergence.run.directory import Outcome
from vergence.run.stage_run import StageRun
from vergence.stages.budget import Budget
from vergence.stages.context import Context, Models
from vergence.stages.grpo.entropy import entropy_for
from vergence.stages.grpo.loop import GrpoParts, train_grpo
from vergence.stages.grpo.objective import surrogate_objective
from vergence.stages.grpo.penalty import Penalty, penalty_for
from vergence.stages.grpo.replay import (
    correction_for,
    denominators_for,
    effectiveness_for,
    proximal_for,
    selection_for,
)
from vergence.stages.grpo.reward import reward_for
from vergence.stages.grpo.variants import advantage_for, judge_for, places_for, reduction_for, surrogate_for
from vergence.stages.grpo.warming import warm_up
from vergence.stages.monitoring import oversight_for
from vergence.stages.parts import check_for, policy_to_train, sampling, schedule, tower_for, training
from vergence.stages.saving import save_trained_policy, tuning_row
from vergence.stages.table import show_roles
from vergence.stages.work import work_done
from vergence.update.learner import Learner
from vergence.update.minibatch import deal_groups, deal_samples


def run_grpo(section: GrpoStage, run: StageRun, context: Context, models: Models) -> Outcome:
    """Build the parts, run the loop, save the policy."""
    policy = policy_to_train(section.train, run, context, models["policy"])
    tower = tower_for(policy, section.train, context)
    show_roles(policy, training(section.train), section.label, context)
    dials = Dials()
    penalty = penalty_for(section, context, policy, tower, dials)
    parts = grpo_parts(section, run, context, models, policy, tower, penalty, dials)
    warm_up(section, parts, policy)
    train_grpo(
        parts,
        run,
        steps=section.steps,
        prompts_per_step=section.prompts_per_step,
        minibatch_size=section.minibatch_size,
        epochs=section.epochs,
        sampling=sampling(section.sampling),
        rollouts_every=section.rollouts_every,
    )
    entry = save_trained_policy(policy, section.train, section.label, context, models["policy"])
    return Outcome({"policy": entry}, tuning_row(run, context), {"updates": parts.learner.updates})


def grpo_parts(
    section: GrpoStage,
    run: StageRun,
    context: Context,
    models: Models,
    policy: Policy,
    tower: CachedTower | LiveTower,
    penalty: Penalty,
    dials: Dials,
) -> GrpoParts:
    """Every choice between variants is made here and in the files beside this one."""
    microbatch_tokens = context.recipe.compute.microbatch_tokens
    proximal = proximal_for(section, policy, tower, microbatch_tokens)
    integrity = context.recipe.integrity
    advantage = advantage_for(section, dials)
    entropy_weight = entropy_for(section.entropy)
    selection = selection_for(section, advantage)
    effectiveness = effectiveness_for(section)
    reward, reward_state = reward_for(section, context, models, dials)
    budget = Budget(tokens=section.budget.tokens, cpu_seconds=section.budget.cpu_seconds)
    learner = Learner(
        trainable_groups(policy, training(section.train)),
        betas=section.optimizer.betas,
        clip_norm=section.optimizer.clip_norm,
        schedule=schedule(section.optimizer),
        clock=run.clock,
    )
    kept: dict[str, Stateful] = {
        "learner": learner,
        "selection": selection,
        "entropy": entropy_weight,
        **reward_state,
    }
    oversight = oversight_for(section, run, context, policy, tower, dials, kept=kept)
    return GrpoParts(
        problems=context.train(run),
        generator=LocalGenerator(policy, tower),
        reward=reward,
        judge=judge_for(section, advantage, effectiveness),
        selection=selection,
        correct=correction_for(section, proximal),
        denominators=denominators_for(section, proximal),
        whole_batch=lambda step: section.entropy.bonus != "none" or penalty.weight_at(step) > 0,
        penalty=penalty,
        objective=surrogate_objective(
            policy,
            tower,
            temperature=section.sampling.temperature,
            surrogate=surrogate_for(section),
            reduce=reduction_for(section),
            penalty=penalty,
            entropy_weight=entropy_weight,
            places=places_for(section, policy),
            microbatch_tokens=microbatch_tokens,
            check=check_for(context, policy, tower, section.sampling.temperature),
            own_denominators=section.own_denominators,
            red_line=integrity.red_line if integrity.every else math.inf,
        ),
        deal=deal_groups if section.deal == "groups" else deal_samples,
        learner=learner,
        oversight=oversight,
        budget=budget,
        meter=policy.meter,
        work_done=work_done([policy.meter], [tower]),
        stateful={
            "learner": learner,
            "selection": selection,
            "entropy": entropy_weight,
            "dials": dials,
            "oversight": oversight,
            "budget": budget,
            **reward_state,
        },
    )
