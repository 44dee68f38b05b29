"""Stage mpo: its keys."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from vergence.recipe.monitor import MonitorSection
from vergence.recipe.pairs import PairsSection
from vergence.recipe.sections import (
    BudgetSection,
    EvaluationSection,
    Model,
    Optimizer,
    Positive,
    Roles,
    SamplingSection,
    Section,
    StageSection,
    Weight,
)


class EarlyStoppingSection(Section):
    """Ending on a held-out score: preference optimisation peaks and then falls (R1V2's thresholds 7 and 10)."""

    patience: Annotated[int, Field(ge=0)] = 0
    """Measurements without a new best after which the stage ends; the best policy is the one that is saved. 0 is off:
    all rounds are run, and the last policy is saved."""
    metric: Literal[
        "tuning/greedy_accuracy", "tuning/sampled_accuracy", "tuning/format_rate", "tuning/hallucination_rate"
    ] = "tuning/sampled_accuracy"
    """What is compared, measured every `evaluation.every` steps; of the hallucination rate the smallest is the best."""


class MpoStage(StageSection):
    """Mixed preference optimisation: rounds of sample -> score -> pair -> train (R1V2 Eq. 2-5)."""

    NEEDS: ClassVar[tuple[Model, ...]] = ("policy",)
    GIVES: ClassVar[tuple[Model, ...]] = ("policy",)
    type: Literal["mpo"]
    rounds: Positive = 2
    prompts_per_round: Positive = 320
    steps_per_round: Positive = 30
    """Updates of a round; fewer where it has too few pairs for them at `max_passes`."""
    max_passes: Positive = 4
    """How often a round's updates may use each of its pairs."""
    batch_size: Positive = 32
    """Pairs per update."""
    beta: Annotated[float, Field(gt=0)] = 0.1
    preference_weight: Weight = 0.8
    quality_weight: Weight = 0.2
    generation_weight: Weight = 1.0
    shift: Literal["ema", "cumulative"] = "ema"
    """How BCO's delta averages past rewards: exponentially (0.9), or over everything so far (InternVL)."""
    shift_scope: Literal["reference", "stage"] = "reference"
    """Which rewards: those since the last new reference, which is each round's own policy; or all of the stage."""
    pairs: PairsSection = PairsSection()
    sampling: SamplingSection = SamplingSection()
    train: Roles = Roles()
    optimizer: Optimizer = Optimizer(betas=(0.9, 0.999))
    budget: BudgetSection = BudgetSection()
    early_stopping: EarlyStoppingSection = EarlyStoppingSection()
    evaluation: EvaluationSection = EvaluationSection(every=15)
    monitor: MonitorSection = MonitorSection(every=1)
    """Counted in rounds here, because only a round's beginning samples."""

    def needs(self) -> tuple[Model, ...]:
        """A reward model only if it judges pairs that are made here."""
        judged = self.pairs.file is None and self.pairs.judge == "reward_model"
        return ("policy", "reward_model") if judged else ("policy",)

    @model_validator(mode="after")
    def _something_is_learnt(self) -> "MpoStage":
        if self.preference_weight == self.quality_weight == self.generation_weight == 0:
            raise ValueError(
                "preference_weight, quality_weight and generation_weight are all 0, so nothing would be learnt; "
                "give one of them a weight (1, 0, 0 is DPO; 0, 0, 1 imitates the chosen responses)"
            )
        if self.pairs.file is not None and self.rounds != 1:
            raise ValueError(f"pairs.file is one round of pairs, found rounds = {self.rounds}; set rounds = 1")
        return self
