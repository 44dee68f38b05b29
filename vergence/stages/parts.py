"""The parts that several stages build in the same way: towers, schedules, samplings, checks."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from vergence.model.batch import collate, mapped, unpad
from vergence.model.bfloat16 import hold_in_bfloat16
from vergence.model.checkpointing import checkpoint_layers
from vergence.model.families.family import Role
from vergence.model.forward import token_scores
from vergence.model.lora import LowRank, attach, products_of
from vergence.model.parameters import Training, trained_parameters
from vergence.model.plain import compare_with_plain
from vergence.model.policy import Policy, load_policy
from vergence.model.quantized import quantize
from vergence.model.vision import ADAPTER_OUTPUT, TOWER_OUTPUT, CachedTower, FeatureLimits, LiveTower, Tower
from vergence.recipe.sections import Optimizer, Roles, SamplingSection, Trained
from vergence.run.stage_run import StageRun
from vergence.stages.context import Context
from vergence.types import Completion, Floats, Prompt, Sampling
from vergence.update.schedule import Schedule, constant, cosine


def tower_for(policy: Policy, roles: Roles, context: Context) -> CachedTower | LiveTower:
    """What is frozen is computed once a picture: nothing, the tower, or tower and adapter."""
    limits = feature_limits(context)
    if not roles.vision.freeze:
        return LiveTower(policy, limits=limits)
    remembered = ADAPTER_OUTPUT if roles.adapter.freeze else TOWER_OUTPUT
    return CachedTower(policy, remembered=remembered, limits=limits)


def feature_limits(context: Context) -> FeatureLimits:
    """The recipe's bounds of what towers remember, in bytes."""
    section = context.recipe.features
    return FeatureLimits(section.memory_mb * 10**6, section.disk, section.disk_mb * 10**6)


def training(roles: Roles) -> dict[Role, Training]:
    """Role settings as the model room wants them."""
    sections: dict[Role, Trained] = {"vision": roles.vision, "adapter": roles.adapter, "language": roles.language}
    return {
        role: Training(section.freeze, section.learning_rate, section.weight_decay)
        for role, section in sections.items()
    }


def low_rank(roles: Roles) -> dict[Role, LowRank]:
    """The roles that are trained by low-rank updates."""
    sections: dict[Role, Trained] = {"vision": roles.vision, "adapter": roles.adapter, "language": roles.language}
    return {
        role: LowRank(rank=one.lora.rank, alpha=one.lora.alpha, dora=one.lora.dora, targets=one.lora.targets)
        for role, one in sections.items()
        if one.lora is not None
    }


def policy_to_train(roles: Roles, run: StageRun, context: Context, directory: Path) -> Policy:
    """A checkpoint, ready for what a stage trains: low-rank updates, frozen weights as asked, checkpointed layers."""
    if context.recipe.compute.frozen_weights == "bfloat16":
        return checkpointed(_with_frozen_weights_in_bfloat16(roles, run, context, directory), context)
    policy = context.policy(directory)
    wanted = low_rank(roles)
    if context.recipe.compute.frozen_weights == "4bit":
        still: list[Role] = [role for role, one in training(roles).items() if one.freeze or role in wanted]
        quantize(policy, [name for role in still for name in products_of(policy, role)])
    if wanted:
        attach(policy, wanted, seed=run.seed("lora"))
    return checkpointed(policy, context)


def checkpointed(policy: Policy, context: Context) -> Policy:
    """A policy that is about to be trained, with checkpointed layers where the recipe asks for them.

    Whatever stage trains one passes here, last of all: a change of the modules' mode would undo it.
    """
    if context.recipe.compute.gradient_checkpointing:
        checkpoint_layers(policy)
    return policy


def _with_frozen_weights_in_bfloat16(roles: Roles, run: StageRun, context: Context, directory: Path) -> Policy:
    # made smaller in the host's memory, so that the device never holds all of it in float32
    policy = load_policy(directory, torch.device("cpu"), "bfloat16")
    if wanted := low_rank(roles):
        attach(policy, wanted, seed=run.seed("lora"))
    trained = trained_parameters(policy, training(roles))
    hold_in_bfloat16(policy, [name for found in trained.values() for name in found])
    policy.model.to(context.device)
    return policy


def schedule(section: Optimizer) -> Schedule:
    """The learning-rate schedule of a stage."""
    match section.schedule:
        case "constant":
            return constant()
        case "cosine":
            return cosine(warmup=section.warmup, floor=section.floor)


def sampling(section: SamplingSection) -> Sampling:
    """How completions are drawn."""
    return Sampling(
        num_completions=section.num_completions,
        max_new_tokens=section.max_new_tokens,
        temperature=section.temperature,
        top_k=section.top_k,
        top_p=section.top_p,
        repetition_penalty=section.repetition_penalty,
    )


@torch.no_grad()
def logprobs_of(
    policy: Policy,
    tower: Tower,
    members: Sequence[tuple[Prompt, Completion]],
    *,
    temperature: float,
    microbatch_tokens: int,
) -> list[Floats]:
    """Log-probs of completions under the policy as it is now, one array [T] each."""

    def compute(part: Sequence[tuple[Prompt, Completion]]) -> list[Floats]:
        batch = collate(part, policy.device)
        return unpad(token_scores(policy, batch, temperature=temperature, tower=tower).logprobs, batch.mask)

    return mapped(members, microbatch_tokens, compute)


Check = Callable[[Sequence[tuple[Prompt, Completion]]], None]
"""Looks at the completions of an update before it is computed; raises if it would be computed wrongly."""


def check_for(context: Context, policy: Policy, tower: Tower, temperature: float) -> Check:
    """The comparison with the plain path where the recipe asks for it, else nothing."""
    if not context.recipe.compute.self_check:
        return lambda members: None
    return lambda members: compare_with_plain(policy, tower, members, temperature=temperature)
