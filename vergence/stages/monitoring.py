"""The monitor section of a recipe, turned into what a stage is watched by."""

import re
from collections.abc import Mapping, Sequence

from vergence.data.problems import read_problems
from vergence.errors import DataError
from vergence.evaluation.measure import answer_all
from vergence.integrity.guard import Guard
from vergence.model.policy import Policy
from vergence.model.vision import AblatedTower, CachedTower, LiveTower, Tower, grey_view, masked_view
from vergence.model.weights_copy import WeightsCopy
from vergence.monitor.alarms import Alarms
from vergence.monitor.bands import Band, Rule, Side
from vergence.monitor.blindness import blindness_metrics
from vergence.monitor.consistency import Consistency
from vergence.monitor.dials import Action, Dials
from vergence.monitor.divergence import Divergence
from vergence.monitor.gain import Gain
from vergence.monitor.perception import Perception
from vergence.monitor.probe import asked, claimed, object_questions, probe_summary
from vergence.monitor.repetition import repetition_metrics
from vergence.monitor.scores import Reader
from vergence.monitor.slow import SlowCopy
from vergence.monitor.swap import Swap
from vergence.recipe.data import FileData
from vergence.recipe.grpo import GrpoStage
from vergence.recipe.monitor import MonitorSection, RuleSection
from vergence.recipe.monitor_rules import rules_of
from vergence.recipe.mpo import MpoStage
from vergence.rollout.local import LocalGenerator
from vergence.run.checkpoint import Stateful
from vergence.run.stage_run import StageRun
from vergence.stages.context import Context
from vergence.stages.controlling import Answer, Controller, ControlLimits, NoAnswer
from vergence.stages.last_good import LastGood
from vergence.stages.measuring import PROBE, Monitor, Probe, Scheduled, gauge
from vergence.stages.oversight import Guarded, Measuring, Oversight
from vergence.stages.parts import training
from vergence.types import Generator, Metrics, RolloutGroup, ScoredGroup

FREE = frozenset({"blindness", "divergence", "repetition"})
"""Monitors that cost no pass of the model, and are asked in every step."""


def oversight_for(
    section: GrpoStage | MpoStage,
    run: StageRun,
    context: Context,
    policy: Policy,
    tower: CachedTower | LiveTower,
    dials: Dials,
    *,
    kept: Mapping[str, Stateful],
) -> Oversight:
    """Measurements, alarms and controller of a stage; `kept` is what a roll-back restores, the learner first of all."""
    monitor = section.monitor
    watching = monitor.mode != "off"
    judge, slow = slow_reader(section, context, policy, tower)
    rules = rules_of(section) if watching else ()
    good = LastGood({**kept, **{f"slow_{place}": copy for place, copy in enumerate(slow)}})
    length = section.sampling.max_new_tokens
    probes = probes_for(monitor, context, section.evaluation.problems, length, run) if watching else ()
    measuring = Measuring(
        run,
        monitors=monitors_for(section, run, context, policy, tower, judge) if watching else (),
        gauge=gauge(policy, tower, context, section.evaluation, length, run, probes),
        alarms=Alarms([rule_of(rule, monitor) for rule in rules]),
        answer=answer_for(monitor, rules, dials, good),
        slow=slow,
    )
    integrity = context.recipe.integrity
    if integrity.every == 0:
        return measuring
    guard = Guard(
        policy,
        tower,
        every=integrity.every if isinstance(section, GrpoStage) else 1,  # rounds of pairs are few
        prompts=integrity.prompts,
        temperature=section.sampling.temperature,
        red_line=integrity.red_line,
    )
    return Guarded(guard, measuring)


def monitors_for(
    section: GrpoStage | MpoStage,
    run: StageRun,
    context: Context,
    policy: Policy,
    tower: CachedTower | LiveTower,
    judge: Reader,
) -> list[Scheduled]:
    """The monitors that the recipe names, in its order."""
    monitor, size = section.monitor, context.recipe.compute.microbatch_tokens
    temperature, length = section.sampling.temperature, section.sampling.max_new_tokens

    def build(name: str) -> Monitor:
        match name:
            case "perception":
                masked = AblatedTower(policy, masked_view(monitor.mask_patch, monitor.mask_share, run.seed("mask")))
                return Perception(
                    Reader(policy, tower, temperature, size),
                    Reader(policy, masked, temperature, size),
                    completions=monitor.completions,
                    tau=None if monitor.dependence == "learnt" else monitor.dependence,
                )
            case "gain":
                grey = Reader(policy, AblatedTower(policy, grey_view), 1.0, size)
                return Gain(Reader(policy, tower, 1.0, size), grey, problems=monitor.problems, form=context.form)
            case "swap":
                return Swap(
                    lambda: LocalGenerator(policy, tower),
                    problems=monitor.problems,
                    max_new_tokens=length,
                    seed=run.seed("swap"),
                    form=context.form,
                )
            case "consistency":
                return Consistency(judge, completions=monitor.completions, form=context.form)
            case "divergence":
                return Divergence(monitor.window)
            case "blindness":
                patterns = [re.compile(pattern) for pattern in monitor.blindness]
                return lambda step, scored: blindness_metrics(_groups(scored), patterns)
            case "repetition":
                return lambda step, scored: repetition_metrics(_groups(scored), monitor.ngram)
        raise AssertionError(f"no code for monitor {name}")

    names = [name for name in monitor.monitors if name != PROBE]  # which comes with the tuning split
    return [Scheduled(name, 1 if name in FREE else monitor.every, build(name)) for name in names]


def slow_reader(
    section: GrpoStage | MpoStage, context: Context, policy: Policy, tower: Tower
) -> tuple[Reader, list[SlowCopy]]:
    """Who judges answers by their thoughts, and what must follow the policy for it, if anything must."""
    monitor, size = section.monitor, context.recipe.compute.microbatch_tokens
    temperature = section.sampling.temperature
    if monitor.mode == "off" or "consistency" not in monitor.monitors or monitor.slow == "current":
        return Reader(policy, tower, temperature, size), []
    weights = WeightsCopy.of_trained(policy, training(section.train))
    reader = Reader(policy, tower, temperature, size, weights.in_place)
    follows = monitor.slow == "ema"
    return reader, [SlowCopy(weights, decay=monitor.slow_decay, every=monitor.slow_every)] if follows else []


def probes_for(
    monitor: MonitorSection, context: Context, problems: int, max_new_tokens: int, run: StageRun
) -> Sequence[Probe]:
    """The yes/no probe, from a file of its own, or else from what the tuning problems say is visible."""
    if PROBE not in monitor.monitors:
        return ()
    data = context.recipe.data
    if isinstance(data, FileData) and data.probe is not None:
        questions = read_problems(context.source(data.probe, "probe"), decode=False)

        def ask(generator: Generator, greedy: Sequence[RolloutGroup]) -> Metrics:
            groups = answer_all(generator, questions, samples=0, max_new_tokens=max_new_tokens, seed=run.seed("probe"))
            return probe_summary(asked(groups, context.form))

        return (ask,)
    tuning = context.tuning()[:problems]
    drawn = object_questions(
        tuning,
        split=monitor.probe_split,
        each=monitor.probe_objects,
        seed=run.seed("probe"),
    )
    if not drawn:
        raise DataError(
            f'{context.data.tuning}: monitor "probe" needs problems with objects and mentions, or a file of yes/no '
            "problems in data.probe; add one of them, or take the monitor out"
        )
    return (lambda generator, greedy: probe_summary(claimed(drawn, greedy)),)


def rule_of(rule: RuleSection, monitor: MonitorSection) -> Rule:
    """A rule of the recipe as the monitor room wants it."""
    sides = {"low": {Side.LOW}, "high": {Side.HIGH}, "both": {Side.LOW, Side.HIGH}}[rule.side]
    return Rule(
        signal=rule.signal,
        sides=frozenset(sides),
        learn=monitor.learn if rule.learn is None else rule.learn,
        spread=monitor.spread,
        absolute=rule.absolute,
        relative=rule.relative,
        limits=Band(rule.low, rule.high),
        patience=rule.patience or monitor.patience,
    )


def answer_for(monitor: MonitorSection, rules: Sequence[RuleSection], dials: Dials, good: LastGood) -> Answer:
    """Off and observe answer nothing; act has a controller."""
    if monitor.mode != "act":
        return NoAnswer()
    control = monitor.control
    return Controller(
        {rule.signal: tuple(tuple(Action(name) for name in step) for step in rule.actions) for rule in rules},
        dials,
        good,
        ControlLimits(
            kl=control.raise_kl_by,
            margin=control.raise_margin_by,
            cap_quantile=control.cap_quantile,
            learn=monitor.learn,
            max_roll_backs=control.max_roll_backs,
            every=monitor.every,
        ),
    )


def _groups(scored: Sequence[ScoredGroup]) -> list[RolloutGroup]:
    return [one.group for one in scored]
