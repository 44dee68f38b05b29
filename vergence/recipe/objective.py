"""What a GRPO update minimises: advantage, surrogate, mean over tokens, KL penalty, entropy bonus."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vergence.recipe.sections import Section, Share, StageSection, Weight

Marker = Annotated[str, Field(min_length=1)]

OF_GSPO: dict[str, Any] = {"reduction": "sequence_mean", "clip_low": 3e-4, "clip_high": 4e-4}
"""What surrogate gspo has where a recipe names nothing else: GSPO, 2507.18071, section 5.1; TRL's paper index has the
same."""
WIDEST_OF_GSPO = 0.01
"""Bounds beyond this bind nowhere: the ratio of a completion lies as much closer to 1 as the completion is long. The
widest published ones are LUSPO's 2e-3 and 2.5e-3."""
FINE_CLIP = 0.05
"""Bounds below this are within a few times what bfloat16's rounding moves the ratio of a token by, about 0.01."""


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
    """clipped: PPO's, per token; cispo: the clip holds weights and takes no gradient away; gspo: per sequence, with
    defaults of its own for the three keys of the clip and the mean."""
    clip_low: Annotated[float, Field(gt=0, le=1)] = 0.2
    """The ratio may fall to 1 - clip_low; 1 is no lower bound. With gspo 3e-4."""
    clip_high: Annotated[float, Field(gt=0)] = 0.2
    """The ratio may rise to 1 + clip_high; larger than clip_low is DAPO's clip-higher. With gspo 4e-4."""
    dual_clip: Annotated[float, Field(gt=1)] = math.inf
    """c: what a bad token can cost is held at c times its advantage; inf is off."""
    reduction: Literal["token_mean", "sequence_mean", "constant"] = "token_mean"
    """constant: the sum over tokens, divided by sequences x sampling.max_new_tokens (Dr. GRPO). With gspo
    sequence_mean."""
    mask_truncated: bool = False
    """Completions that the token limit cut off have no advantage (DAPO's overlong filter)."""
    kl_weight: Weight = 0.0
    """Weight of the KL penalty against the policy the stage began with; 0 needs no reference pass. With a weight every
    fresh completion takes part in it, those without advantage too."""
    kl_in: Literal["loss", "reward"] = "loss"
    """loss: a term per token, by k2 or k3 (GRPO); reward: k1, summed over a completion, is taken off its reward (PPO,
    RLOO, verl's use_kl_in_reward), which needs advantage = "centred"."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """k2 or k3 in the loss; k1 in the reward, where it need not be named."""
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

    @model_validator(mode="before")
    @classmethod
    def _choices_bring_defaults(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        brought = OF_GSPO if given.get("surrogate") == "gspo" else {}
        if given.get("kl_in") == "reward":
            brought = brought | {"kl_estimator": "k1"}
        return brought | dict(given)

    @property
    def own_denominators(self) -> bool:
        """Whether bounds are so near to 1 that a ratio must be taken within one arithmetic, the learner's."""
        return self.surrogate == "gspo" or min(self.clip_low, self.clip_high) < FINE_CLIP

    @model_validator(mode="after")
    def _bounds_fit_the_ratio(self) -> "ObjectiveKeys":
        for key in ("clip_low", "clip_high"):
            value = getattr(self, key)
            if self.surrogate == "gspo" and value > WIDEST_OF_GSPO:
                raise ValueError(
                    f'{key} = {value:g} bounds no ratio of surrogate = "gspo", which is that of a whole completion and '
                    f"within a few thousandths of 1; use at most {WIDEST_OF_GSPO:g}, or remove {key} for the paper's "
                    f"{OF_GSPO[key]:g}"
                )
        return self

    @model_validator(mode="after")
    def _kl_is_where_it_works(self) -> "ObjectiveKeys":
        if self.kl_in == "loss" and self.kl_estimator == "k1":
            raise ValueError(
                'kl_estimator = "k1" in the loss has an expected gradient of zero: it would hold nothing; '
                'use "k3" or "k2", or kl_in = "reward", where k1 belongs'
            )
        if self.kl_in == "reward" and self.kl_estimator != "k1":
            raise ValueError(
                f'kl_in = "reward" takes the log-ratio itself (k1) off the reward, found kl_estimator = '
                f'"{self.kl_estimator}", whose gradient there is not that of the divergence; remove kl_estimator'
            )
        if self.kl_in == "reward" and self.advantage != "centred":
            raise ValueError(
                f'kl_in = "reward" with advantage = "{self.advantage}" would divide the penalty by a spread: where '
                "rewards are all equal nothing but the penalty differs, and it would count in full whatever kl_weight "
                'is; use advantage = "centred", or kl_in = "loss"'
            )
        return self

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
