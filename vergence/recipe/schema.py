"""What a recipe may say. Defaults are the vetted setting; units and meanings stand under each field.

Stages run in the order of the file. Each needs models that an earlier one gave and gives models to later ones
(`NEEDS`, `GIVES`); `vergence check` follows that thread without running anything.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vergence.recipe.data import Data, DigitsData, FileData
from vergence.recipe.grading import GradingSection
from vergence.recipe.grpo import GrpoStage
from vergence.recipe.integrity import IntegritySection
from vergence.recipe.monitor_rules import idle_action_problem
from vergence.recipe.mpo import MpoStage
from vergence.recipe.reward_model import LoadRewardModelStage, RewardModelStage
from vergence.recipe.scores import ScoresSection
from vergence.recipe.sections import Name, Positive, Section
from vergence.recipe.stages import AlignStage, EvaluateStage, ParentsStage, Stage


class FeaturesSection(Section):
    """What is remembered of pictures, so that each is decoded and encoded once."""

    memory_mb: Positive = 1024
    """Millions of bytes of features for each model with a frozen tower; of pixels and features for a trained one."""
    disk: Path | None = None
    """A directory for features of frozen towers, shared by runs; without it they are kept in memory only."""
    disk_mb: Positive = 10240
    """Millions of bytes in that directory; what was not used the longest is deleted first."""


class ComputeSection(Section):
    """How passes are computed; none of it changes a result by more than rounding."""

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What passes compute in; trained weights stay float32. auto: bfloat16 on a GPU, float32 elsewhere. bfloat16 halves
    the time of training on a CPU that multiplies it in hardware."""
    microbatch_tokens: Positive = 16384
    """Tokens of one forward pass, prompts counted once; a larger batch is split into passes of about equal size."""
    frozen_weights: Literal["full", "bfloat16", "4bit"] = "full"
    """What weights are held in that a stage does not train, those under low-rank updates among them. bfloat16: half
    the memory, where passes compute in it. 4bit: products alone, in 4 bits (extra `quantized`); results differ by more
    than rounding. What is saved has full weights."""
    gradient_checkpointing: bool = False
    """Compute layers again in the backward pass in place of keeping what is inside them: less memory, more time."""
    self_check: bool = False
    """Compare every update's log-probs and gradients with the plain computation, and stop if they differ; slow."""

    @model_validator(mode="after")
    def _frozen_weights_can_be_multiplied(self) -> "ComputeSection":
        if self.dtype == "float32" and (problem := self.float32_problem()):
            raise ValueError(problem)
        return self

    def float32_problem(self) -> str | None:
        """What to say where passes turn out to compute in float32; None if that fits the other keys."""
        if self.frozen_weights != "bfloat16":
            return None
        return (
            'frozen_weights = "bfloat16" needs passes that compute in bfloat16, and these compute in float32 '
            f'(dtype = "{self.dtype}"); set dtype = "bfloat16", or frozen_weights = "full"'
        )


class Recipe(Section):
    """A whole run."""

    name: Name
    seed: Annotated[int, Field(ge=0)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes a GPU where there is one."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads; 0 takes as many as the process may use."""
    features: FeaturesSection = FeaturesSection()
    compute: ComputeSection = ComputeSection()
    scores: ScoresSection = ScoresSection()
    grading: GradingSection = GradingSection()
    integrity: IntegritySection = IntegritySection()
    data: Data
    stage: Annotated[tuple[Stage, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _frozen_weights_fit_the_device(self) -> "Recipe":
        if self.device == "cpu" and self.compute.dtype == "auto" and (problem := self.compute.float32_problem()):
            raise ValueError(f"compute: {problem}")
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Recipe":
        labels = [stage.label for stage in self.stage]
        for index, label in enumerate(labels):
            if label in labels[:index]:
                raise ValueError(f'stage.{index}: a stage called "{label}" comes earlier; give it a name of its own')
        return self

    @model_validator(mode="after")
    def _models_are_there(self) -> "Recipe":
        given: set[str] = set()
        hints = {
            "vision": 'a "parents" stage, or the key "vision"',
            "language": 'a "parents" stage, or the key "language"',
            "policy": 'a "load" or an "assemble" stage',
            "reward_model": 'a "reward_model" stage',
        }
        for index, stage in enumerate(self.stage):
            for model in stage.needs():
                if model not in given:
                    raise ValueError(
                        f'stage.{index} ("{stage.label}") needs a {model}, and no earlier stage gives one; '
                        f"put {hints[model]} before it"
                    )
            given.update(stage.GIVES)
        return self

    @model_validator(mode="after")
    def _evaluated_stages_come_earlier(self) -> "Recipe":
        labels = [stage.label for stage in self.stage]
        for index, stage in enumerate(self.stage):
            for name in stage.stages if isinstance(stage, EvaluateStage) else ():
                if name not in labels[:index] or "policy" not in self.stage[labels.index(name)].GIVES:
                    raise ValueError(
                        f'stage.{index} ("{stage.label}"): stages names "{name}", and no earlier stage of that name '
                        "gives a policy; correct the name, or leave the key out"
                    )
        return self

    @model_validator(mode="after")
    def _alarms_can_be_answered(self) -> "Recipe":
        for index, stage in enumerate(self.stage):
            problem = idle_action_problem(stage) if isinstance(stage, GrpoStage | MpoStage) else None
            if problem:
                raise ValueError(f'stage.{index} ("{stage.label}"): {problem}')
        return self

    @model_validator(mode="after")
    def _data_suffices(self) -> "Recipe":
        problem = prompts_missing(self, self.data.train) if isinstance(self.data, DigitsData) else None
        if problem:
            raise ValueError(problem)
        for index, stage in enumerate(self.stage):
            if isinstance(stage, AlignStage) and isinstance(self.data, FileData) and self.data.captions is None:
                raise ValueError(f'stage.{index} ("{stage.label}") needs captions; name a file in data.captions')
        return self

    @model_validator(mode="after")
    def _language_models_know_the_wording(self) -> "Recipe":
        spoken = {"own": "symbols", "smollm2": "english"}
        for index, stage in enumerate(self.stage):
            if not isinstance(stage, ParentsStage) or not isinstance(self.data, DigitsData):
                continue
            if self.data.wording != spoken[stage.language_model]:
                raise ValueError(
                    f'stage.{index} ("{stage.label}"): language_model = "{stage.language_model}" needs data.wording = '
                    f'"{spoken[stage.language_model]}", found "{self.data.wording}"'
                )
        return self

    @model_validator(mode="after")
    def _parents_know_the_task(self) -> "Recipe":
        for index, stage in enumerate(self.stage):
            if isinstance(stage, ParentsStage) and not isinstance(self.data, DigitsData):
                raise ValueError(
                    f'stage.{index} ("{stage.label}") trains the parents of a built-in task; with data.type = "files" '
                    'start from a "load" stage, or name vision and language in "assemble"'
                )
        return self


def prompts_missing(recipe: Recipe, available: int) -> str | None:
    """What to say if a stage draws more training problems at once than there are; None if none does."""
    for index, stage in enumerate(recipe.stage):
        match stage:
            case RewardModelStage():
                asked, keys = stage.prompts + stage.held_out, "prompts + held_out"
            case LoadRewardModelStage():
                asked, keys = stage.prompts, "prompts"
            case MpoStage() if stage.pairs.file is None:
                asked, keys = stage.prompts_per_round, "prompts_per_round"
            case GrpoStage():
                asked, keys = stage.prompts_per_step, "prompts_per_step"
            case _:
                continue
        if asked > available:
            return (
                f'stage.{index} ("{stage.label}"): {keys} = {asked}, and the training data has {available} problems; '
                "lower the former, or add problems"
            )
    return None


def plain(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe as plain values, every default written out, keys that mean "absent" left out."""
    return recipe.model_dump(mode="json", exclude_none=True)
