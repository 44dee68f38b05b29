"""One section for each kind of stage. Each says what models it needs from earlier stages and gives to later ones."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from vergence.recipe.sections import (
    FROZEN,
    BufferSection,
    EvaluationSection,
    MonitorSection,
    Name,
    Optimizer,
    PairsSection,
    Positive,
    RewardSection,
    Roles,
    SamplingSection,
    Section,
    Share,
    Trained,
    Weight,
)

Model = Literal["vision", "language", "policy", "reward_model"]
"""What passes from stage to stage: directories of checkpoints."""


class StageSection(Section):
    """What every stage has."""

    NEEDS: ClassVar[tuple[Model, ...]] = ()
    GIVES: ClassVar[tuple[Model, ...]] = ()
    type: str
    name: Name | None = None
    """How the stage is called in logs and in summary.json; its type, if left out."""
    checkpoint_every: Positive = 25
    """Steps between checkpoints."""

    @property
    def label(self) -> str:
        """The stage's name."""
        return self.name or self.type

    def needs(self) -> tuple[Model, ...]:
        """The models it takes from earlier stages."""
        return self.NEEDS


class ParentsStage(StageSection):
    """Train the task's own vision tower and language model from nothing (built-in tasks only)."""

    GIVES: ClassVar[tuple[Model, ...]] = ("vision", "language")
    type: Literal["parents"]
    checkpoint_every: Positive = 100
    vision_steps: Positive = 600
    vision_batch: Positive = 64
    vision_scenes: Positive = 38400
    language_steps: Positive = 900
    language_batch: Positive = 64
    language_texts: Positive = 28800
    cache: bool = True
    """Take finished parents of the same settings, seed and versions from the cache, and put new ones there."""


class AssembleStage(StageSection):
    """Vision tower + fresh adapter + language model -> one vision-language model (R1V2 Eq. 1)."""

    NEEDS: ClassVar[tuple[Model, ...]] = ("vision", "language")
    GIVES: ClassVar[tuple[Model, ...]] = ("policy",)
    type: Literal["assemble"]
    vision: Path | None = None
    """A tower's directory, in place of the parents stage's."""
    language: Path | None = None
    """A language model's directory, in place of the parents stage's."""

    def needs(self) -> tuple[Model, ...]:
        """Only what is not named."""
        named: dict[Model, Path | None] = {"vision": self.vision, "language": self.language}
        return tuple(model for model, path in named.items() if path is None)


class LoadStage(StageSection):
    """Start from an existing vision-language checkpoint instead of assembling one."""

    GIVES: ClassVar[tuple[Model, ...]] = ("policy",)
    type: Literal["load"]
    path: Path


class AlignStage(StageSection):
    """Train the adapter on captions until the tuning split reaches a target."""

    NEEDS: ClassVar[tuple[Model, ...]] = ("policy",)
    GIVES: ClassVar[tuple[Model, ...]] = ("policy",)
    type: Literal["align"]
    max_steps: Positive = 400
    batch_size: Positive = 64
    target_accuracy: Share = 0.64
    """Greedy accuracy on the tuning split at which the stage stops."""
    train: Roles = Roles(adapter=Trained(learning_rate=1e-3), language=FROZEN)
    optimizer: Optimizer = Optimizer(betas=(0.9, 0.999))
    evaluation: EvaluationSection = EvaluationSection(every=10, problems=240, blank_problems=0)
    max_new_tokens: Positive = 32


class RewardModelStage(StageSection):
    """Train a Bradley-Terry preference model on pairs made from rules and corruptions."""

    NEEDS: ClassVar[tuple[Model, ...]] = ("policy",)
    GIVES: ClassVar[tuple[Model, ...]] = ("reward_model",)
    type: Literal["reward_model"]
    prompts: Positive = 512
    """Training problems whose sampled completions become pairs."""
    held_out: Positive = 128
    """Further problems, for the reported accuracy and the calibration."""
    steps: Positive = 120
    batch_size: Positive = 32
    """Pairs per update."""
    sampling: SamplingSection = SamplingSection()
    train: Roles = Roles(adapter=Trained(learning_rate=5e-4), language=Trained(learning_rate=5e-4))
    head_learning_rate: Weight = 2e-3
    optimizer: Optimizer = Optimizer(betas=(0.9, 0.999), schedule="cosine", warmup=0.1)


class MpoStage(StageSection):
    """Mixed preference optimisation: rounds of sample -> score -> pair -> train (R1V2 Eq. 2-5)."""

    NEEDS: ClassVar[tuple[Model, ...]] = ("policy",)
    GIVES: ClassVar[tuple[Model, ...]] = ("policy",)
    type: Literal["mpo"]
    rounds: Positive = 2
    prompts_per_round: Positive = 320
    steps_per_round: Positive = 30
    batch_size: Positive = 32
    """Pairs per update."""
    beta: Annotated[float, Field(gt=0)] = 0.1
    preference_weight: Weight = 0.8
    quality_weight: Weight = 0.2
    generation_weight: Weight = 1.0
    shift: Literal["ema", "cumulative"] = "ema"
    """How BCO's delta averages past rewards: exponentially (0.9), or over everything so far (InternVL)."""
    pairs: PairsSection = PairsSection()
    sampling: SamplingSection = SamplingSection()
    train: Roles = Roles()
    optimizer: Optimizer = Optimizer(betas=(0.9, 0.999))
    evaluation: EvaluationSection = EvaluationSection(every=15)
    monitor: MonitorSection = MonitorSection(every=1)
    """Counted in rounds here, because only a round's beginning samples."""

    def needs(self) -> tuple[Model, ...]:
        """A reward model only if it judges."""
        return ("policy", "reward_model") if self.pairs.judge == "reward_model" else ("policy",)


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


class EvaluateStage(StageSection):
    """Measure every stage's model on the test split, which nothing before it has touched."""

    NEEDS: ClassVar[tuple[Model, ...]] = ("policy",)
    type: Literal["evaluate"]
    samples: Positive = 2
    """Sampled completions per problem, beside the greedy one."""
    max_new_tokens: Positive = 32


Stage = Annotated[
    ParentsStage | AssembleStage | LoadStage | AlignStage | RewardModelStage | MpoStage | GrpoStage | EvaluateStage,
    Field(discriminator="type"),
]
