"""The pairs section of a recipe, turned into what makes the pairs of a round."""

from collections.abc import Mapping, Sequence

import torch

from vergence.clock import Clock
from vergence.model.policy import Policy
from vergence.model.vision import Tower
from vergence.monitor.dials import Dials
from vergence.pairs.dropout import Good
from vergence.pairs.guards import PairGuards
from vergence.pairs.harvest import harvest
from vergence.pairs.rules import Source, by_margin, candidates_of, is_formed, is_good, verified
from vergence.pairs.threshold import Tau, given, quantile
from vergence.recipe.mpo import MpoStage
from vergence.recipe.pairs import PairsSection
from vergence.reward.form import Form
from vergence.rollout.local import LocalGenerator
from vergence.run.checkpoint import Stateful
from vergence.run.stage_run import StageRun
from vergence.stages.context import Context, Models
from vergence.stages.mpo.blind import Continue, anything, blind_continuations, is_wrong, no_continuations
from vergence.stages.mpo.judging import PairJudge, judge_for
from vergence.stages.mpo.offline import FileRounds
from vergence.stages.mpo.reference import Known, Logprobs, of_nothing, of_sampling
from vergence.stages.mpo.rounds import Rounds, SampledRounds
from vergence.stages.parts import logprobs_of, sampling
from vergence.types import Sampling

FILE_PAIRS = 16_384
"""Pairs that are read of a larger file at least, so that stages of different lengths learn from the same ones."""


def rounds_for(
    section: MpoStage,
    run: StageRun,
    context: Context,
    models: Models,
    policy: Policy,
    tower: Tower,
    dials: Dials,
) -> tuple[Rounds, Mapping[str, Stateful]]:
    """What makes the pairs of a round, and what of it a checkpoint must hold."""
    if section.pairs.file is not None:
        source = context.source(section.pairs.file, "pairs")
        wanted = max(FILE_PAIRS, section.steps_per_round * section.batch_size)
        return FileRounds(run, source, policy, logprobs_at_one(policy, tower, context), wanted), {}
    judge, lasting = judge_for(section.pairs, context, models)
    guards, sources = guards_for(section.pairs, context.form), sources_for(section.pairs)
    tau = threshold_for(section.pairs)
    drawing = sampling(section.sampling)
    rounds = SampledRounds(
        run,
        problems=context.train(run),
        prompts=section.prompts_per_round,
        generator=LocalGenerator(policy, tower),
        sampling=drawing,
        reward=judge.reward,
        candidates=lambda scored: candidates_of(scored, sources, judge.scores),
        complete=continue_for(section.pairs, policy, judge, sampling=drawing, clock=run.clock),
        pairing=lambda candidates, rng: harvest(
            candidates, guards, lambda margins: tau(margins) + dials.settings.margin, rng
        ),
        known=known_for(section, policy.compute_dtype),
        logprobs=logprobs_at_one(policy, tower, context),
    )
    return rounds, lasting


def continue_for(
    section: PairsSection,
    policy: Policy,
    judge: PairJudge,
    *,
    sampling: Sampling,
    clock: Clock,
) -> Continue:
    """What makes the candidates of source dropout."""
    if section.dropout == 0:
        return no_continuations
    return blind_continuations(
        policy,
        sampling=sampling,
        good=good_for(section),
        worse=is_wrong if section.graded else anything,
        count=section.dropout,
        reward=judge.reward,
        margins=judge.margins,
        clock=clock,
    )


def guards_for(section: PairsSection, form: Form) -> PairGuards:
    """What keeps a pair out, the threshold apart."""
    return PairGuards(
        form=form,
        max_length_ratio=section.max_length_ratio,
        format_length_ratio=section.format_length_ratio,
        max_per_prompt=section.max_per_prompt,
    )


def sources_for(section: PairsSection) -> Sequence[Source]:
    """Where candidates come from, continuations apart."""
    named: dict[str, Source] = {
        "rules": verified(format_negatives=section.format_negatives),
        "margin": by_margin(good_for(section)),
    }
    return [source for name, source in named.items() if name in section.sources]


def good_for(section: PairsSection) -> Good:
    """Which responses may be chosen over an equal, or over their own continuation."""
    return is_good if section.graded else is_formed


def threshold_for(section: PairsSection) -> Tau:
    """tau: a number, or a quantile of each round's gaps."""
    match section.margin_unit:
        case "calibrated" | "raw":
            return given(section.min_margin)
        case "quantile":
            return quantile(section.min_margin)


def known_for(section: MpoStage, dtype: torch.dtype) -> Known:
    """Whether what sampling recorded is log pi_0 to rounding of fp32, so that no further pass is needed for it.

    In a shorter number format the decoder and an update's pass differ, and implicit rewards would not begin at 0.
    """
    exact = section.sampling.temperature == 1.0 and dtype == torch.float32
    return of_sampling if exact else of_nothing


def logprobs_at_one(policy: Policy, tower: Tower, context: Context) -> Logprobs:
    """Log-probs of the policy as it is when it is asked, at temperature 1, by the pass that updates make."""
    return lambda members: logprobs_of(
        policy, tower, members, temperature=1.0, microbatch_tokens=context.recipe.compute.microbatch_tokens
    )
