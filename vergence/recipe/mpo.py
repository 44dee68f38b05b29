"""Stage mpo: its keys."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vergence.recipe.monitor import MonitorSection
from vergence.recipe.pairs import PairsSection
from vergence.recipe.sections import (
    EvaluationSection,
    Model,
    Optimizer,
    Positive,
    Roles,
    SamplingSection,
    StageSection,
    Weight,
)


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
