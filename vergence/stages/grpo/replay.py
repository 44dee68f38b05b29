"""The buffer section of a recipe, turned into what fills batches and what corrects replayed samples."""

from collections.abc import Sequence

from vergence.advantage.judging import Effectiveness
from vergence.advantage.scaling import Advantage
from vergence.buffer.dynamic import DynamicSampling
from vergence.buffer.entries import single_samples, whole_groups
from vergence.buffer.episode import EpisodeBuffer
from vergence.buffer.fresh import DropDead, PlainGrpo
from vergence.buffer.mixed import KeptAdvantages, MixedAdvantages, StaleAdvantages
from vergence.buffer.selection import Selection
from vergence.buffer.selective import BufferLimits, SampleBuffer, lowest_first, oldest_first
from vergence.correction import (
    Correction,
    Level,
    Proximal,
    decoupled,
    per_sequence,
    per_token,
    recomputed,
    stored_clip,
)
from vergence.model.policy import Policy
from vergence.model.vision import Tower
from vergence.recipe.buffer import BufferSection
from vergence.recipe.grpo import GrpoStage
from vergence.stages.grpo.denominators import Denominators, of_learner, of_sampler
from vergence.stages.parts import logprobs_of
from vergence.types import Draw, Floats


def selection_for(section: GrpoStage, advantage: Advantage) -> Selection:
    """What fills the batches of the stage."""
    buffer = section.buffer
    match buffer.strategy:
        case "ssb":
            return sample_buffer(buffer, advantage)
        case "ssr":
            return EpisodeBuffer(exponent=buffer.exponent, episode=buffer.episode)
        case "dynamic":
            return DynamicSampling(groups=section.prompts_per_step, max_batches=buffer.max_batches)
        case "drop":
            return DropDead()
        case "none":
            return PlainGrpo()


def sample_buffer(buffer: BufferSection, advantage: Advantage) -> SampleBuffer:
    """The Selective Sample Buffer of a recipe."""
    kept: KeptAdvantages = StaleAdvantages()
    if buffer.advantage == "recomputed":
        kept = MixedAdvantages(advantage, buffer.max_age)
    limits = BufferLimits(
        capacity=buffer.capacity,
        exponent=buffer.exponent,
        max_age=buffer.max_age,
        max_uses=buffer.max_uses,
        target=buffer.target,
    )
    return SampleBuffer(
        limits,
        single_samples if buffer.unit == "sample" else whole_groups,
        oldest_first if buffer.evict == "oldest" else lowest_first,
        kept,
    )


def effectiveness_for(section: GrpoStage) -> Effectiveness:
    """When the completions of a group count as told apart."""
    return Effectiveness(section.buffer.effective_on, section.buffer.effective_tolerance)


def correction_for(section: GrpoStage, proximal: Proximal) -> Correction:
    """What replayed samples are divided by and weighted with, before minibatches are dealt."""
    if section.own_denominators or section.buffer.correction != "decoupled":
        return stored_clip()  # replaced by `denominators_for`; `clip` and `shaped` differ in the surrogate
    return decoupled(proximal, section.buffer.correction_limit, _level(section.buffer))


def denominators_for(section: GrpoStage, proximal: Proximal) -> Denominators:
    """Where the denominators come from when minibatches have been dealt."""
    if not section.own_denominators:
        return of_sampler
    return of_learner(recomputed(proximal, section.buffer.correction_limit, _level(section.buffer)))


def proximal_for(section: GrpoStage, policy: Policy, tower: Tower, microbatch_tokens: int) -> Proximal:
    """Log-probs under the policy as it is when asked, by the learner's pass."""

    def proximal(draws: Sequence[Draw]) -> list[Floats]:
        members = [(draw.sample.prompt, draw.sample.completion) for draw in draws]
        return logprobs_of(
            policy, tower, members, temperature=section.sampling.temperature, microbatch_tokens=microbatch_tokens
        )

    return proximal


def _level(buffer: BufferSection) -> Level:
    return per_token if buffer.correction_level == "token" else per_sequence
