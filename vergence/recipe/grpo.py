"""Stage grpo: its keys."""

from typing import ClassVar, Literal

from pydantic import model_validator

from vergence.recipe.buffer import BufferSection
from vergence.recipe.monitor import MonitorSection
from vergence.recipe.objective import ObjectiveKeys
from vergence.recipe.reward import RewardSection
from vergence.recipe.sections import (
    BudgetSection,
    EvaluationSection,
    Model,
    Optimizer,
    Positive,
    Roles,
    SamplingSection,
)


class GrpoStage(ObjectiveKeys):
    """Group-relative policy optimisation with the hybrid reward and the buffer (R1V2 Eq. 6-8)."""

    NEEDS: ClassVar[tuple[Model, ...]] = ("policy",)
    GIVES: ClassVar[tuple[Model, ...]] = ("policy",)
    type: Literal["grpo"]
    steps: Positive = 100
    prompts_per_step: Positive = 32
    minibatch_size: Positive = 64
    """Samples per update; a step makes prompts_per_step * num_completions / minibatch_size updates an epoch."""
    epochs: Positive = 1
    """mu, how often a step's samples are used; their sampling log-probs stay the denominator."""
    deal: Literal["groups", "samples"] = "groups"
    """groups: completions of one prompt stay in one update, so that their prompt is computed once; samples: every
    completion is dealt by itself."""
    sampling: SamplingSection = SamplingSection()
    reward: RewardSection = RewardSection()
    buffer: BufferSection = BufferSection()
    budget: BudgetSection = BudgetSection()
    train: Roles = Roles()
    optimizer: Optimizer = Optimizer()
    evaluation: EvaluationSection = EvaluationSection()
    monitor: MonitorSection = MonitorSection()
    rollouts_every: Positive = 10
    """Steps between sampled groups that are kept for the report."""

    def needs(self) -> tuple[Model, ...]:
        """A reward model only if the reward has a preference part."""
        return ("policy", "reward_model") if self.reward.uses_preference else ("policy",)

    @model_validator(mode="after")
    def _advantage_has_what_it_compares(self) -> "GrpoStage":
        if self.advantage not in ("batch", "decoupled"):
            return self
        chosen = f'advantage = "{self.advantage}"'
        if self.prompts_per_step == 1:
            raise ValueError(
                f"{chosen} divides by the spread of a batch of groups, found prompts_per_step = 1, which makes it the "
                'group\'s own; use more prompts, or advantage = "normalised"'
            )
        if self.buffer.advantage == "recomputed":
            raise ValueError(
                f'{chosen} looks at a whole batch, and buffer.advantage = "recomputed" at one prompt at a time; '
                'use buffer.advantage = "stale", or advantage = "normalised" or "centred"'
            )
        components = [name for name, weight in self.reward.weights.items() if weight > 0]
        if self.advantage == "decoupled" and len(components) < 2:
            raise ValueError(
                f"{chosen} normalises components one by one, found {len(components)} with weight "
                f'({", ".join(components) or "none"}); give a second one a weight, or use advantage = "batch"'
            )
        return self

    @model_validator(mode="after")
    def _replayed_samples_have_denominators(self) -> "GrpoStage":
        buffer = self.buffer
        if self.own_denominators and buffer.strategy in ("ssb", "ssr") and buffer.correction != "decoupled":
            raise ValueError(
                f'buffer.correction = "{buffer.correction}" divides replayed samples by the policy that sampled them, '
                f"and bounds of {self.clip_low:g} and {self.clip_high:g} (clip_low, clip_high) are for ratios to the "
                'policy of this step; use buffer.correction = "decoupled"'
            )
        return self

    @model_validator(mode="after")
    def _minibatches_divide(self) -> "GrpoStage":
        size = self.prompts_per_step * self.sampling.num_completions
        if size % self.minibatch_size:
            raise ValueError(
                f"minibatch_size = {self.minibatch_size} does not divide prompts_per_step x num_completions = {size}; "
                f"use a divisor of {size}"
            )
        return self

    @model_validator(mode="after")
    def _effectiveness_can_be_judged(self) -> "GrpoStage":
        known = ("rules", "total", "accuracy", "format", "preference", *(one.name for one in self.reward.functions))
        if self.buffer.effective_on not in known:
            raise ValueError(
                f'buffer.effective_on = "{self.buffer.effective_on}" is no part of the reward; known are '
                f"{', '.join(known)}"
            )
        if self.buffer.effective_on == "preference" and not self.reward.uses_preference:
            raise ValueError(
                'buffer.effective_on = "preference", and the reward has no preference part; '
                "give reward.preference a weight, or judge on another component"
            )
        return self
