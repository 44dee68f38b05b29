"""GRPO rounds of lane S through the product's own loop, `train_grpo`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from rich.console import Console

from benchmarks.configs import Config, is_dead, reward
from benchmarks.ours_rounds import RoundClock, learner_of, load, recorded
from vergence.advantage.judging import judge
from vergence.advantage.scaling import group_normalised
from vergence.buffer.fresh import PlainGrpo
from vergence.correction import stored_clip
from vergence.data.problems import Problems, read_problems
from vergence.loss.kl import k3
from vergence.loss.policy_gradient import clipped
from vergence.loss.reduce import token_mean
from vergence.model.batch import MICROBATCH_TOKENS
from vergence.model.policy import Policy
from vergence.model.vision import ADAPTER_OUTPUT, CachedTower, LiveTower, Tower
from vergence.rollout.local import LocalGenerator
from vergence.run.progress import Progress, Verbosity
from vergence.run.stage_run import StageRun
from vergence.stages.budget import Budget
from vergence.stages.grpo.denominators import of_sampler
from vergence.stages.grpo.loop import GrpoParts, train_grpo
from vergence.stages.grpo.objective import Objective, surrogate_objective
from vergence.stages.grpo.penalty import KlPenalty, NoPenalty, Penalty
from vergence.stages.oversight import Unwatched
from vergence.stages.work import WorkDone, work_done
from vergence.types import Metrics, Problem, RolloutGroup, Sampling, ScoredGroup
from vergence.update.learner import LossPart
from vergence.update.minibatch import Minibatch, deal_groups

CLIP = 0.2
"""TRL's epsilon, on both sides."""
_NEVER = 10**9


@dataclass(frozen=True, slots=True)
class InOrder:
    """Problems as the file has them, from the beginning again when they run out; the peer does not shuffle either."""

    rows: tuple[Problem, ...]

    def take(self, step: int, count: int) -> list[Problem]:
        """The problems of one step."""
        return [self.rows[(step * count + place) % len(self.rows)] for place in range(count)]


@dataclass(frozen=True, slots=True)
class HashReward:
    """The benchmark's reward, 1.0 throughout in dead groups; it also counts what was generated."""

    dead: float
    clock: RoundClock

    def __call__(self, groups: Sequence[RolloutGroup]) -> list[ScoredGroup]:
        """P groups to P scored groups."""
        return [self._scored(group) for group in groups]

    def _scored(self, group: RolloutGroup) -> ScoredGroup:
        self.clock.split.counts["generated_tokens"] += sum(len(one.token_ids) for one in group.completions)
        still = is_dead(int(group.prompt.problem.id.rsplit("-", 1)[1]), self.dead)
        values = np.array([1.0 if still else reward(one.token_ids.tolist()) for one in group.completions])
        return ScoredGroup(group, {"accuracy": values, "format": values}, {"accuracy": values}, values, values)


def objective_of(policy: Policy, tower: Tower, penalty: Penalty) -> Objective:
    """The product's objective with the benchmark's settings: one for equality, speed and scaling."""
    return surrogate_objective(
        policy,
        tower,
        temperature=1.0,
        surrogate=clipped(CLIP, CLIP),
        reduce=token_mean,
        penalty=penalty,
        microbatch_tokens=MICROBATCH_TOKENS,
        check=lambda members: None,
    )


def run_grpo(config: Config, models: Path, folder: Path, clock: RoundClock, *, dead: float) -> Callable[[int], None]:
    """Load everything; the answer trains for so many rounds. The run directory's files go into `folder`."""
    policy = load(config, models, clock)
    tower = LiveTower(policy)
    penalty, reference, towers = _penalty(config, models, clock, tower)
    policies = [policy, *reference]
    run = StageRun(
        folder, "grpo", seed=0, checkpoint_every=_NEVER, progress=Progress(Console(quiet=True), Verbosity.QUIET)
    )
    run.clock = clock.as_clock
    objective = objective_of(policy, tower, penalty)
    selection = PlainGrpo()
    budget = Budget(tokens=math.inf, cpu_seconds=math.inf)
    learner = learner_of(policy, clock)
    parts = GrpoParts(
        problems=cast(Problems, InOrder(problems_of(config, models))),
        generator=LocalGenerator(policy, tower),
        reward=HashReward(dead, clock),
        judge=lambda scored: judge(scored, group_normalised),
        selection=selection,
        correct=stored_clip(),
        denominators=of_sampler,
        whole_batch=lambda step: config.beta > 0,
        penalty=penalty,
        objective=_recorded(objective, clock),
        deal=deal_groups,
        learner=learner,
        meter=policy.meter,
        work_done=_noted(work_done([one.meter for one in policies], [tower, *towers]), clock),
        oversight=Unwatched(),
        budget=budget,
        stateful={"learner": learner, "selection": selection, "budget": budget},
    )

    def train(rounds: int) -> None:
        clock.split.restart()
        train_grpo(
            parts,
            run,
            steps=rounds,
            prompts_per_step=config.prompts,
            minibatch_size=config.prompts * config.completions,
            epochs=config.mu,
            sampling=Sampling(
                num_completions=config.completions, max_new_tokens=config.completion_tokens, temperature=1.0
            ),
            rollouts_every=_NEVER,
        )

    return train


def problems_of(config: Config, models: Path) -> tuple[Problem, ...]:
    """The configuration's problems, in the order of the file."""
    return tuple(read_problems(models / "data" / config.name / "problems.jsonl", decode=False))


def _penalty(
    config: Config, models: Path, clock: RoundClock, policy_tower: LiveTower
) -> tuple[Penalty, list[Policy], list[Tower]]:
    """The KL term against a second copy of the model, as the stage builds it; none where beta is 0."""
    if config.beta == 0:
        return NoPenalty(), [], []
    reference = load(config, models, clock)
    tower = CachedTower(reference, remembered=ADAPTER_OUTPUT, pictures=policy_tower.pictures)
    penalty = KlPenalty(
        reference,
        tower,
        weight=lambda step: config.beta,
        estimator=k3,
        temperature=1.0,
        microbatch_tokens=MICROBATCH_TOKENS,
    )
    return penalty, [reference], [tower]


def _recorded(objective: Objective, clock: RoundClock) -> Objective:
    """The objective, which leaves losses, trained tokens and steps in the clock's round."""

    def noted(minibatch: Minibatch) -> Sequence[Callable[[], LossPart]]:
        tokens = sum(len(one.old_logprobs) for one in minibatch.samples)
        clock.extra["trained_tokens"] = clock.extra.get("trained_tokens", 0) + tokens
        clock.extra["optimizer_steps"] = clock.extra.get("optimizer_steps", 0) + 1
        return recorded(objective(minibatch), clock)

    return noted


def _noted(done: WorkDone, clock: RoundClock) -> WorkDone:
    """What the product says of its own work becomes part of the round."""

    def noted(needed: int) -> Metrics:
        metrics = done(needed)
        if needed:
            clock.extra |= {name: value for name, value in metrics.items() if name.startswith("work/")}
        return metrics

    return noted
