"""What a GRPO update minimises: advantage, surrogate, mean over tokens, KL penalty, entropy bonus."""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from vergence.recipe.sections import Section, Share, StageSection, Weight

Marker = Annotated[str, Field(min_length=1)]


class EntropySection(Section):
    """The entropy bonus: a term -weight * H of each token."""

    bonus: Literal["none", "fixed", "adaptive"] = "none"
    """adaptive: a weight that rises while the entropy is below a target, and counts only then (Skywork-OR1)."""
    weight: Weight = 0.0
    """Of the fixed bonus."""
    target: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.2
    """Nats per token, for adaptive."""
    step: Annotated[float, Field(gt=0)] = 1e-4
    """By how much the adaptive weight rises or falls with each update."""
    largest: Annotated[float, Field(gt=0)] = 0.005
    """Largest adaptive weight."""

    @model_validator(mode="after")
    def _weight_belongs_to_fixed(self) -> "EntropySection":
        if self.bonus == "fixed" and self.weight == 0:
            raise ValueError('bonus = "fixed" with weight = 0 is no bonus; give it a weight, or use bonus = "none"')
        if self.bonus != "fixed" and self.weight > 0:
            raise ValueError(
                f'weight = {self.weight} counts only with bonus = "fixed", found bonus = "{self.bonus}"; '
                'remove the weight, or use bonus = "fixed"'
            )
        if self.step > self.largest:
            raise ValueError(f"step = {self.step} is above largest = {self.largest}; use a smaller step")
        return self


class ObjectiveKeys(StageSection):
    """The keys of stage `grpo` that say what an update minimises (docs/recipes.md has a table of them)."""

    advantage: Literal["normalised", "centred", "batch", "decoupled"] = "normalised"
    """Rewards minus the group's mean, divided by: the group's std; nothing (Dr. GRPO); the batch's std (Lite-PPO). Or
    each component normalised by itself before they are weighted and summed (GDPO)."""
    surrogate: Literal["clipped", "cispo", "gspo"] = "clipped"
    """clipped: PPO's, per token; cispo: the clip holds weights and takes no gradient away; gspo: per sequence."""
    clip_low: Annotated[float, Field(gt=0, le=1)] = 0.2
    """The ratio may fall to 1 - clip_low; 1 is no lower bound."""
    clip_high: Annotated[float, Field(gt=0)] = 0.2
    """The ratio may rise to 1 + clip_high; larger than clip_low is DAPO's clip-higher."""
    dual_clip: Annotated[float, Field(gt=1)] = math.inf
    """c: what a bad token can cost is held at c times its advantage; inf is off."""
    reduction: Literal["token_mean", "sequence_mean", "constant"] = "token_mean"
    """constant: the sum over tokens, divided by sequences x sampling.max_new_tokens (Dr. GRPO)."""
    mask_truncated: bool = False
    """Completions that the token limit cut off teach nothing (DAPO's overlong filter)."""
    kl_weight: Weight = 0.0
    """Weight of the KL penalty against the policy the stage began with; 0 needs no reference pass."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    kl_schedule: Literal["fixed", "grpo_d"] = "fixed"
    """grpo_d: the weight falls from the middle of kl_min and kl_weight to kl_min, then rises to kl_weight."""
    kl_min: Weight = 0.0
    """Smallest weight of grpo_d."""
    kl_turn: Share = 0.3
    """Share of the stage's steps after which grpo_d turns from falling to rising."""
    entropy: EntropySection = EntropySection()
    critical_markers: tuple[Marker, ...] = ()
    """Words that begin a turn of the reasoning, such as "Wait" and "Alternatively": the entropy at them is logged, to
    choose checkpoints by (R1V3)."""

    @model_validator(mode="after")
    def _surrogate_and_reduction_fit(self) -> "ObjectiveKeys":
        if self.surrogate == "gspo" and self.reduction != "sequence_mean":
            raise ValueError(
                f'surrogate = "gspo" has one term for each sequence, found reduction = "{self.reduction}", which would '
                'count it by its tokens; use reduction = "sequence_mean"'
            )
        if self.surrogate != "clipped" and self.dual_clip != math.inf:
            reason = {
                "cispo": "takes no minimum that a second bound could hold",
                "gspo": "bounds the ratio of the sequence, which no single token can blow up",
            }[self.surrogate]
            raise ValueError(
                f'surrogate = "{self.surrogate}" {reason}, found dual_clip = {self.dual_clip}; '
                'remove dual_clip, or use surrogate = "clipped"'
            )
        return self

    @model_validator(mode="after")
    def _kl_schedule_fits(self) -> "ObjectiveKeys":
        if self.kl_schedule == "fixed":
            if self.kl_min > 0:
                raise ValueError(
                    f'kl_min = {self.kl_min} counts only with kl_schedule = "grpo_d", found "fixed"; '
                    "remove kl_min, or choose that schedule"
                )
            return self
        if self.kl_weight == 0:
            raise ValueError(
                'kl_schedule = "grpo_d" rises to kl_weight, and kl_weight = 0 is no penalty; '
                'give kl_weight, the largest weight, or use kl_schedule = "fixed"'
            )
        if self.kl_min > self.kl_weight:
            raise ValueError(
                f"kl_min = {self.kl_min} is above kl_weight = {self.kl_weight}, the largest weight of grpo_d; lower it"
            )
        return self
