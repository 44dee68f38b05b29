"""The buffer section of a recipe, turned into what fills batches and what corrects replayed samples."""

from collections.abc import Sequence

from vergence.buffer.selection import Selection
from vergence.buffer.selective import BufferLimits, SampleBuffer
from vergence.correction import Correction, decoupled, stored_clip
from vergence.model.policy import Policy
from vergence.model.vision import Tower
from vergence.recipe.grpo import GrpoStage
from vergence.stages.parts import (
    logprobs_of,
)
from vergence.types import Draw, Floats


def selection_for(section: GrpoStage) -> Selection:
    """What fills the batches of the stage."""
    buffer = section.buffer
    return SampleBuffer(
        BufferLimits(
            capacity=buffer.capacity, exponent=buffer.exponent, max_age=buffer.max_age, max_uses=buffer.max_uses
        )
    )


def correction_for(section: GrpoStage, policy: Policy, tower: Tower, microbatch_tokens: int) -> Correction:
    """What replayed samples are divided by and weighted with."""
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
