"""Stage mpo: its section of the recipe, turned into the parts of the loop."""

import math
from typing import Any

from vergence.loss.preference import MpoWeights
from vergence.model.parameters import trainable_groups
from vergence.model.policy import Policy
from vergence.model.vision import CachedTower, LiveTower
from vergence.monitor.dials import Dials
from vergence.pairs.pool import PairPool
from vergence.pairs.statistics import PairStatistics, fate_table
from vergence.recipe.mpo import EarlyStoppingSection, MpoStage
from vergence.run.checkpoint import Stateful
from vergence.run.directory import Outcome
from vergence.run.stage_run import StageRun
from vergence.stages.budget import Budget
from vergence.stages.context import Context, Models
from vergence.stages.monitoring import oversight_for
from vergence.stages.mpo.best import BestPolicy, Ending, LastPolicy
from vergence.stages.mpo.counter import RoundCounter
from vergence.stages.mpo.loop import MpoParts, train_mpo
from vergence.stages.mpo.objective import Quality, preference_objective
from vergence.stages.mpo.pairing import rounds_for
from vergence.stages.parts import check_for, policy_to_train, schedule, tower_for, training
from vergence.stages.saving import save_trained_policy, tuning_row
from vergence.stages.table import show_roles
from vergence.stages.work import work_done
from vergence.update.learner import Learner


def run_mpo(section: MpoStage, run: StageRun, context: Context, models: Models) -> Outcome:
    """Build the parts, run the loop, save the last policy or the best one."""
    policy = policy_to_train(section.train, run, context, models["policy"])
    tower = tower_for(policy, section.train, context)
    show_roles(policy, training(section.train), section.label, context)
    parts = mpo_parts(section, run, context, models, policy, tower)
    train_mpo(
        parts,
        run,
        rounds=section.rounds,
        steps_per_round=section.steps_per_round,
        batch_size=section.batch_size,
    )
    best = parts.ending.settle(parts.learner)
    entry = save_trained_policy(policy, section.train, section.label, context, models["policy"])
    details: dict[str, Any] = {"updates": parts.learner.updates, "pairs": fate_table(parts.statistics.fates)}
    if math.isfinite(best):
        details["best_step"] = int(best)
    return Outcome({"policy": entry}, tuning_row(run, context, upto=best), details)


def mpo_parts(
    section: MpoStage,
    run: StageRun,
    context: Context,
    models: Models,
    policy: Policy,
    tower: CachedTower | LiveTower,
) -> MpoParts:
    """Every choice between variants is made here and in the files beside this one."""
    dials = Dials()
    counter, pool, statistics = RoundCounter(), PairPool(section.max_passes), PairStatistics()
    quality = Quality(0.9 if section.shift == "ema" else 1.0, per_reference=section.shift_scope == "reference")
    learner = Learner(
        trainable_groups(policy, training(section.train)),
        betas=section.optimizer.betas,
        clip_norm=section.optimizer.clip_norm,
        schedule=schedule(section.optimizer),
        clock=run.clock,
    )
    ending = ending_for(section.early_stopping)
    kept: dict[str, Stateful] = {"learner": learner, "pool": pool, "quality": quality}
    oversight = oversight_for(section, run, context, policy, tower, dials, kept=kept)
    budget = Budget(tokens=section.budget.tokens, cpu_seconds=section.budget.cpu_seconds)
    rounds, lasting = rounds_for(section, run, context, models, policy, tower, dials)
    return MpoParts(
        rounds=rounds,
        counter=counter,
        pool=pool,
        statistics=statistics,
        quality=quality,
        objective=preference_objective(
            policy,
            tower,
            quality=quality,
            beta=section.beta,
            weights=MpoWeights(section.preference_weight, section.quality_weight, section.generation_weight),
            microbatch_tokens=context.recipe.compute.microbatch_tokens,
            check=check_for(context, policy, tower, 1.0),
        ),
        learner=learner,
        oversight=oversight,
        ending=ending,
        budget=budget,
        meter=policy.meter,
        work_done=work_done([policy.meter], [tower]),
        stateful={
            "learner": learner,
            "counter": counter,
            "pool": pool,
            "quality": quality,
            "statistics": statistics,
            "ending": ending,
            "dials": dials,
            "oversight": oversight,
            "budget": budget,
            **lasting,
        },
    )


def ending_for(section: EarlyStoppingSection) -> Ending:
    """The last policy, or the best measured one."""
    if section.patience == 0:
        return LastPolicy()
    smallest = section.metric == "tuning/hallucination_rate"
    return BestPolicy(section.metric, smallest=smallest, patience=section.patience)
