"""Stage grpo: problems -> rollout -> reward -> advantage -> buffer -> loss -> update -> log/checkpoint (R1V2 Eq. 6-8).

problems   [P]          what the step asks
groups     [P] of [G]   what the policy answers, one copy of each prompt
scored     [P]          + the hybrid reward
judged     [P]          + advantages; groups that cannot be told apart teach nothing
selected   <= P * G     what the selection makes of them: fresh samples, topped up from the buffer
samples    <= 2 P * G   + denominators and off-policy weights; with a KL penalty or an entropy bonus also the fresh
                        completions without advantage
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from vergence.advantage.judging import Judge, advantage_metrics
from vergence.buffer.metrics import selection_metrics
from vergence.buffer.selection import Selection
from vergence.correction import Correction, correction_metrics
from vergence.data.problems import Problems
from vergence.model.meter import Meter
from vergence.monitor.mentions import count_groups, mention_metrics
from vergence.reward.metrics import reward_metrics
from vergence.run.checkpoint import Stateful
from vergence.run.stage_run import StageRun
from vergence.seeds import generator
from vergence.stages.budget import Budget
from vergence.stages.grpo.denominators import Denominators, in_order
from vergence.stages.grpo.logged import generation_metrics, idle_length, mean_metrics, shown_rows
from vergence.stages.grpo.objective import Objective
from vergence.stages.grpo.penalty import Penalty
from vergence.stages.oversight import Oversight
from vergence.stages.work import WorkDone, needed_tokens, peak_memory
from vergence.types import Generator, JudgedGroup, Reward, Sampling
from vergence.update.learner import Learner
from vergence.update.minibatch import Deal, minibatches
from vergence.update.schedule import span_of


@dataclass(frozen=True, slots=True, eq=False)
class GrpoParts:
    """What the loop works with."""

    problems: Problems
    generator: Generator
    reward: Reward
    judge: Judge
    selection: Selection
    correct: Correction
    denominators: Denominators
    whole_batch: Callable[[int], bool]
    """Whether the loss of a step has a term that every fresh completion takes part in, whatever its reward."""
    penalty: Penalty
    objective: Objective
    deal: Deal
    learner: Learner
    oversight: Oversight
    budget: Budget
    meter: Meter
    work_done: WorkDone
    stateful: Mapping[str, Stateful]
    """What a checkpoint must hold."""


def train_grpo(
    parts: GrpoParts,
    run: StageRun,
    *,
    steps: int,
    prompts_per_step: int,
    minibatch_size: int,
    epochs: int,
    sampling: Sampling,
    rollouts_every: int,
) -> None:
    """problems -> rollout -> reward -> advantage -> buffer -> loss -> update -> log/checkpoint, `steps` times.

    Updates walk the batch in minibatches, `epochs` times in orders of their own; a sample's denominators are those of
    the policy that the step began with throughout, so after the first update the ratio is not 1 and the clip has work
    to do. Completions without an advantage are in the batch where `whole_batch` says so.
    """
    batch_size = prompts_per_step * sampling.num_completions
    for step in run.steps(steps, parts.stateful):
        parts.work_done(0)  # what was done between two steps is no part of either
        parts.budget.begin()
        judged = parts.selection.gather(partial(ask, parts, run, prompts_per_step, sampling, step), step)
        scored = [one.scored for one in judged]
        groups = [one.group for one in scored]
        selected = parts.selection.select(judged, batch_size, version=step, rng=generator(run.seed(step, "buffer")))
        with run.clock.phase("old"):
            samples = parts.correct(selected.draws + (selected.zero_advantage if parts.whole_batch(step) else ()))
        with run.clock.phase("reference"):
            samples = parts.penalty.prepare(samples, step)
        with run.clock.phase("monitor"), parts.meter.paused(), parts.budget.paused():
            run.log(parts.oversight.before_updates(step, scored))

        deal = partial(
            minibatches,
            places=selected.places,
            minibatch_size=minibatch_size,
            idle_tokens=idle_length(judged),
            deal=parts.deal,
            rng=generator(run.seed(step, "minibatches")),
        )
        with run.clock.phase("old"):
            first = parts.denominators(deal(samples), epochs)
        samples = in_order(samples, first)
        batches = [*first, *(minibatch for _ in range(epochs - 1) for minibatch in deal(samples))]
        updates = [
            parts.learner.update(
                parts.objective(minibatch),
                span_of(step, steps, update=place, updates=len(batches), spent=parts.budget.share),
            )
            for place, minibatch in enumerate(batches)
        ]
        needed = needed_tokens(groups, samples, epochs=epochs, reference=parts.penalty.weight > 0)
        run.log(parts.work_done(needed) | peak_memory())
        run.log(generation_metrics(groups, run.clock.spent("generate")))
        run.log(reward_metrics(scored) | advantage_metrics(judged) | mention_metrics(count_groups(groups)))
        run.log(selection_metrics(selected, batch_size) | correction_metrics(samples) | mean_metrics(updates))
        run.log(parts.penalty.metrics())
        run.log(parts.budget.spend(groups))
        with run.clock.phase("monitor"), parts.meter.paused(), parts.budget.paused():
            run.log(parts.oversight.after_updates(step, step + 1 if parts.budget.spent else steps))
        run.note_rollouts(shown_rows(judged, selected.draws) if step % rollouts_every == 0 else [])
        if parts.budget.spent or parts.oversight.ended:
            run.stop()


def ask(
    parts: GrpoParts, run: StageRun, prompts: int, sampling: Sampling, version: int, turn: int
) -> list[JudgedGroup]:
    """The `turn`-th batch of prompts, answered and judged."""
    with run.clock.phase("generate"):
        problems = parts.problems.take(turn, prompts)
        groups = parts.generator.generate(problems, sampling, seed=run.seed(turn, "rollout"), version=version)
    with run.clock.phase("reward"):
        return parts.judge(parts.reward(groups))
