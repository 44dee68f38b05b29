"""Stage grpo: its keys."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from vergence.recipe.buffer import BufferSection
from vergence.recipe.monitor import MonitorSection
from vergence.recipe.reward import RewardSection
from vergence.recipe.sections import (
    BudgetSection,
    EvaluationSection,
    Model,
    Optimizer,
    Positive,
    Roles,
    SamplingSection,
    StageSection,
    Weight,
)


class GrpoStage(StageSection):
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
    advantage: Literal["normalised", "centred"] = "normalised"
    clip_low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    clip_high: Annotated[float, Field(gt=0)] = 0.2
    reduction: Literal["token_mean", "sequence_mean"] = "token_mean"
    kl_weight: Weight = 0.0
    """Weight of the KL penalty against the policy the stage began with; 0 needs no reference pass."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
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
    def _minibatches_divide(self) -> "GrpoStage":
        size = self.prompts_per_step * self.sampling.num_completions
        if size % self.minibatch_size:
            raise ValueError(
                f"minibatch_size = {self.minibatch_size} does not divide prompts_per_step x num_completions = {size}; "
                f"use a divisor of {size}"
            )
        return self
