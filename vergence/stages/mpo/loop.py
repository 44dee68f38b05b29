"""Stage mpo: rounds of problems -> rollout -> reward -> pairs -> loss -> update -> log/checkpoint (R1V2 Eq. 2-5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vergence.errors import RunError
from vergence.model.meter import Meter
from vergence.monitor.mentions import count_groups, mention_metrics
from vergence.pairs.harvest import REFUSALS, harvest_metrics
from vergence.pairs.pool import PairPool
from vergence.pairs.statistics import PairStatistics
from vergence.reward.metrics import reward_metrics
from vergence.run.checkpoint import Stateful
from vergence.run.rollout_rows import rollout_rows
from vergence.run.stage_run import StageRun
from vergence.stages.budget import Budget
from vergence.stages.mpo.best import Ending
from vergence.stages.mpo.counter import RoundCounter
from vergence.stages.mpo.objective import PairObjective, Quality
from vergence.stages.mpo.rounds import Round, Rounds, by_prompt
from vergence.stages.oversight import Oversight
from vergence.stages.work import WorkDone, needed_by_pairs, peak_memory
from vergence.types import Metrics, RolloutGroup
from vergence.update.learner import Learner
from vergence.update.schedule import span_of


@dataclass(frozen=True, slots=True, eq=False)
class MpoParts:
    """What the loop works with."""

    rounds: Rounds
    counter: RoundCounter
    pool: PairPool
    statistics: PairStatistics
    quality: Quality
    objective: PairObjective
    learner: Learner
    oversight: Oversight
    ending: Ending
    budget: Budget
    meter: Meter
    """The policy's."""
    work_done: WorkDone
    stateful: Mapping[str, Stateful]
    """What a checkpoint must hold."""


def train_mpo(parts: MpoParts, run: StageRun, *, rounds: int, steps_per_round: int, batch_size: int) -> None:
    """The policy that samples a round's pairs is that round's reference, so its own log-probs serve as log pi_0.

    A step is an update. A round has `steps_per_round` of them, or as many as the pool gives batches for. A round in
    which no pair passes the guards is the last one; the first may not be such a round.
    """
    total, counter = rounds * steps_per_round, parts.counter
    for step in run.steps(total, parts.stateful):
        round_ = counter.round
        parts.work_done(0)  # what was done between two steps is no part of either
        parts.budget.begin()
        generated: Sequence[RolloutGroup] = ()
        run_once: Sequence[RolloutGroup] = ()
        if counter.updates == 0:
            begun = parts.rounds.begin(round_, step)
            check_first(begun, round_)
            generated, run_once = begun.generated, [*begun.generated, *by_prompt(begun.rescored)]
            parts.statistics.add(begun.harvest.fates)
            # before the monitors: a roll-back returns to this round's pairs, and to the shift that belongs to them
            parts.pool.refill(begun.pairs)
            parts.quality.new_reference()
            counter.begin(min(steps_per_round, parts.pool.batches(batch_size)))
            run.log(use_of_pairs(parts.pool, run, counter, steps_per_round, batch_size))
            with run.clock.phase("monitor"), parts.meter.paused(), parts.budget.paused():
                run.log(round_metrics(begun) | watched(parts, begun, round_))
            run.note_rollouts(rollout_rows(begun.scored[:8]))
        if len(parts.pool):
            pairs = parts.pool.take(batch_size, seed=run.seed(round_, "order"))
            planned = max(1, counter.planned)
            span = span_of(round_, rounds, update=counter.updates, updates=planned, spent=parts.budget.share)
            run.log(parts.learner.update(parts.objective(pairs), span))
            run.log({"mpo/shift": parts.quality.shift.mean} | peak_memory())
            run.log(parts.work_done(needed_by_pairs(run_once, [one.pair for one in pairs])))
        run.log(parts.budget.spend(generated))
        # a roll-back may have brought back another round's pairs, which give fewer batches than were planned
        ends_round = counter.updates + 1 >= counter.planned or not parts.pool.batches(batch_size)
        over = parts.budget.spent or not len(parts.pool) or (ends_round and round_ + 1 == rounds)
        with run.clock.phase("monitor"), parts.meter.paused(), parts.budget.paused():
            measured = parts.oversight.after_updates(step, step + 1 if over else total)
            run.log(measured | parts.ending.look(step, measured, parts.learner))
        counter.count(ends_round=ends_round)
        if over or parts.oversight.ended or parts.ending.ended:
            run.stop()


def use_of_pairs(pool: PairPool, run: StageRun, counter: RoundCounter, steps: int, batch_size: int) -> Metrics:
    """How many updates a round will have and how often they use each of its pairs; told where they are fewer than
    `steps`, because a pool that is walked again and again teaches its few pairs by heart.
    """
    updates = {"pairs/updates": float(counter.planned)}
    if not counter.planned:
        return updates
    if counter.planned < steps:
        run.say(
            f"round {counter.round + 1}: {len(pool)} pairs, each used at most {pool.max_passes} times (max_passes), "
            f"are enough for {counter.planned} of {steps} updates of {batch_size}"
        )
    uses = min(counter.planned * batch_size, pool.max_passes * len(pool))
    return updates | {"pairs/passes": uses / len(pool)}


def watched(parts: MpoParts, begun: Round, round_: int) -> Metrics:
    """What the monitors say of a round's responses; nothing where the pairs came from a file."""
    return parts.oversight.before_updates(round_, begun.scored) if begun.scored else {}


def check_first(begun: Round, round_: int) -> None:
    """Raises RunError if the first round has nothing to learn from: then the settings do not fit the model."""
    if round_ == 0 and not begun.harvest.pairs:
        refused = [f"{reason} {begun.harvest.refused(reason)}" for reason in REFUSALS if begun.harvest.refused(reason)]
        raise RunError(
            f"mpo: no preference pair passed the guards (refused: {', '.join(refused) or 'no candidates'}); lower "
            "pairs.min_margin, sample more completions, or align the model further"
        )


def round_metrics(begun: Round) -> Metrics:
    """What a round began with."""
    mentions = mention_metrics(count_groups([group.group for group in begun.scored]))
    rewards = reward_metrics(begun.scored) if begun.scored else {}
    return rewards | harvest_metrics(begun.harvest) | mentions
