"""A recipe's stages as plans: memory by phase, operations and tokens of a step, and how long a step should take."""

from collections.abc import Sequence
from dataclasses import dataclass

from vergence.planning.memory import Formats, Memory, step_memory
from vergence.planning.rates import Rates
from vergence.planning.shape import ModelShape
from vergence.planning.weights import held_weights
from vergence.planning.work import Batch, Lengths, Work, step_work
from vergence.recipe.grpo import GrpoStage
from vergence.recipe.monitor_rules import may_raise_kl
from vergence.recipe.mpo import MpoStage
from vergence.recipe.schema import Recipe
from vergence.recipe.sections import Roles

ROWS_AT_A_TIME = 1024
"""Completions that are sampled at a time (vergence/rollout/local.py)."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """Of a step, by phase."""

    vision: float
    prefill: float
    decode: float
    reference: float
    update: float

    @property
    def total(self) -> float:
        """Of all phases."""
        return self.vision + self.prefill + self.decode + self.reference + self.update


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage that samples and learns."""

    label: str
    steps: int
    batch: Batch
    memory: Memory
    work: Work
    seconds: Seconds
    """Of a step."""


def plan_stages(
    recipe: Recipe, shape: ModelShape, lengths: Lengths, rates: Rates, formats: Formats, *, devices: int
) -> list[StagePlan]:
    """Every grpo and mpo stage of a recipe, in order."""
    plans = []
    for stage in recipe.stage:
        match stage:
            case GrpoStage():
                batch = _batch(
                    stage.prompts_per_step,
                    stage.sampling.num_completions,
                    stage.epochs,
                    stage.kl_weight > 0,
                    stage.train,
                    recipe.compute.gradient_checkpointing,
                )
                steps, reference = stage.steps, stage.kl_weight > 0 or may_raise_kl(stage)
            case MpoStage():
                batch = _batch(
                    stage.prompts_per_round,
                    stage.sampling.num_completions,
                    1,
                    True,
                    stage.train,
                    recipe.compute.gradient_checkpointing,
                )
                steps, reference = stage.rounds, False  # log-probs come with the pairs
            case _:
                continue
        capped = min(lengths.response_tokens, stage.sampling.max_new_tokens)
        own = Lengths(
            text_tokens=lengths.text_tokens,
            pictures=lengths.pictures,
            patches=lengths.patches,
            response_tokens=capped,
        )
        memory = step_memory(
            shape,
            own,
            batch,
            formats,
            held=held_weights(shape, stage.train, recipe.compute.frozen_weights),
            holds_reference=reference,
            microbatch_tokens=recipe.compute.microbatch_tokens,
            feature_bytes=recipe.features.memory_mb * 1e6,
            rows_at_a_time=ROWS_AT_A_TIME,
            devices=devices,
        )
        work = step_work(shape, own, batch)
        seconds = step_seconds(shape, own, batch, work, rates, formats, devices=devices)
        plans.append(StagePlan(stage.label, steps, batch, memory, work, seconds))
    return plans


def step_seconds(
    shape: ModelShape, lengths: Lengths, batch: Batch, work: Work, rates: Rates, formats: Formats, *, devices: int
) -> Seconds:
    """From operations, and for decoding from bytes too: each new token reads the weights and all keys and values once.

    Devices share the work evenly; what they say to each other is not counted.
    """
    speed = rates.operations * rates.efficiency * devices
    rows = batch.prompts * batch.completions
    waves = -(-rows // (ROWS_AT_A_TIME * devices))
    decoder = shape.decoder
    keys = 2 * formats.compute * decoder.layers * decoder.key_width
    held = (lengths.prompt_tokens(shape.tower) / batch.completions + lengths.response_tokens / 2) * rows
    moved = lengths.response_tokens * (waves * devices * formats.compute * shape.total + keys * held)
    by_bytes = moved / (rates.bytes * rates.efficiency * devices)
    return Seconds(
        vision=work.vision / speed,
        prefill=work.prefill / speed,
        decode=max(work.decode / speed, by_bytes),
        reference=work.reference / speed,
        update=work.update / speed,
    )


def _batch(prompts: int, completions: int, epochs: int, reference: bool, roles: Roles, checkpointing: bool) -> Batch:
    return Batch(
        prompts=prompts,
        completions=completions,
        epochs=epochs,
        reference=reference,
        trains_vision=not roles.vision.freeze,
        trains_adapter=not roles.adapter.freeze,
        trains_language=not roles.language.freeze,
        checkpointing=checkpointing,
    )


def fitting(memory: Memory, capacity: float) -> str:
    """Whether it fits, in words; "" where the capacity is not known."""
    if not capacity:
        return ""
    largest = max(memory.generate, memory.update)
    return "fits" if largest <= 0.9 * capacity else "tight" if largest <= capacity else "does not fit"


def largest(plans: Sequence[StagePlan]) -> float:
    """Bytes on a device, at most."""
    return max(max(plan.memory.generate, plan.memory.update) for plan in plans)
