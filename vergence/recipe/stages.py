"""One section for each kind of stage. Each says what models it needs from earlier stages and gives to later ones."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vergence.recipe.grpo import GrpoStage
from vergence.recipe.mpo import MpoStage
from vergence.recipe.reward_model import LoadRewardModelStage, RewardModelStage
from vergence.recipe.sections import (
    FROZEN,
    EvaluationSection,
    Model,
    Name,
    Optimizer,
    Positive,
    Roles,
    Share,
    StageSection,
    Trained,
)


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


class EvaluateStage(StageSection):
    """Measure every stage's model on the test split, which nothing before it has touched."""

    NEEDS: ClassVar[tuple[Model, ...]] = ("policy",)
    type: Literal["evaluate"]
    stages: tuple[Name, ...] = ()
    """Whose policies are measured; without any, every earlier stage's."""
    samples: Positive = 2
    """Sampled completions per problem, beside the greedy one."""
    max_new_tokens: Positive = 32


Stage = Annotated[
    ParentsStage
    | AssembleStage
    | LoadStage
    | AlignStage
    | RewardModelStage
    | LoadRewardModelStage
    | MpoStage
    | GrpoStage
    | EvaluateStage,
    Field(discriminator="type"),
]
