"""What a recipe may say. Defaults are the vetted setting; units and meanings stand under each field.

Stages run in the order of the file. Each needs models that an earlier one gave and gives models to later ones
(`NEEDS`, `GIVES`); `vergence check` follows that thread without running anything.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]

Model = Literal["vision", "language", "policy", "reward_model"]
"""What passes from stage to stage: directories of checkpoints."""


def _merged(default: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(default)
    for key, value in given.items():
        below = default.get(key)
        merged[key] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


class Section(BaseModel):
    """Base of every section: frozen, unknown keys are errors, and naming one key keeps the defaults of the others."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _subsections_keep_their_defaults(cls, given: Any) -> Any:
        """Naming one key of a subsection leaves its other keys at the defaults that hold in this place."""
        if not isinstance(given, Mapping):
            return given
        defaults = {
            name: field.default.model_dump(exclude_unset=True)
            for name, field in cls.model_fields.items()
            if isinstance(field.default, Section) and isinstance(given.get(name), Mapping)
        }
        return dict(given) | {name: _merged(default, given[name]) for name, default in defaults.items()}


# ── data ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class DigitsData(Section):
    """The built-in task: four handwritten digits on a grid. Written into the run directory, offline."""

    type: Literal["digits"]
    train: Positive = 4096
    """Scenes with a question, for preference optimisation and reinforcement."""
    captions: Positive = 2048
    """Scenes with a caption, for alignment."""
    tuning: Positive = 480
    """Scenes for choosing settings and for stopping; their pictures of digits are in no training scene."""
    test: Positive = 960
    """Scenes for published numbers; their pictures of digits are in no other scene."""


class FileData(Section):
    """Your own data: JSON-lines files as described in docs/data.md."""

    type: Literal["files"]
    train: Path
    tuning: Path
    test: Path
    captions: Path | None = None
    """Rows with a `target`, for the align stage; may be the train file if its rows have one."""


Data = Annotated[DigitsData | FileData, Field(discriminator="type")]


# ── parts that several stages share ──────────────────────────────────────────────────────────────────────────────


class Trained(Section):
    """How one role (vision, adapter, language) is trained in one stage."""

    freeze: bool = False
    learning_rate: Weight = 1e-4
    weight_decay: Weight = 0.0

    @model_validator(mode="after")
    def _trained_means_trained(self) -> "Trained":
        if not self.freeze and self.learning_rate == 0:
            raise ValueError("not frozen, and learning_rate = 0; give it a learning rate, or freeze it")
        return self


FROZEN = Trained(freeze=True, learning_rate=0.0)


class Roles(Section):
    """Freeze switch, learning rate and weight decay of each role."""

    vision: Trained = FROZEN
    adapter: Trained = Trained()
    language: Trained = Trained()

    @model_validator(mode="after")
    def _something_trains(self) -> "Roles":
        if self.vision.freeze and self.adapter.freeze and self.language.freeze:
            raise ValueError("all three roles are frozen, so nothing would be trained; unfreeze one")
        return self


class Optimizer(Section):
    """AdamW, clipping, schedule."""

    betas: tuple[Share, Share] = (0.9, 0.95)
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the whole gradient."""
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: Share = 0.0
    """Share of the updates over which a cosine schedule rises."""
    floor: Share = 0.1
    """Where a cosine schedule ends, as a share of the learning rate."""


class SamplingSection(Section):
    """How completions are drawn."""

    num_completions: Annotated[int, Field(ge=2)] = 8
    """G, completions per prompt."""
    max_new_tokens: Positive = 32
    temperature: Annotated[float, Field(gt=0)] = 1.0


REWARD_PRESETS: dict[str, dict[str, float | str]] = {
    "calibrated": {},
    "paper": {"accuracy": 1.0, "format": 1.0, "preference": 1.0, "scores": "raw", "bound": "none", "gate": "none"},
    "r1v3": {"accuracy": 0.8, "format": 0.2, "preference": 0.0},
    "rules": {"preference": 0.0},
}
"""Preset to the keys it fixes; the others are free."""


class RewardSection(Section):
    """The hybrid reward (R1V2 Eq. 7): accuracy + format + gate * bound(preference score), each with its weight."""

    preset: Literal["calibrated", "paper", "r1v3", "rules"] = "calibrated"
    """calibrated: the keys below; paper: Eq. 7 as printed, the plain unbounded sum; r1v3: 0.8 accuracy + 0.2 format;
    rules: no preference model."""
    accuracy: Weight = 1.0
    format: Weight = 0.5
    preference: Weight = 0.2
    """0 needs no reward model."""
    scores: Literal["calibrated", "raw"] = "calibrated"
    """Preference scores in units of their own spread on a calibration set, or as the model gives them."""
    bound: Literal["sigmoid", "clip", "none"] = "sigmoid"
    gate: Literal["correct", "formed", "none"] = "correct"
    """Among which answers the preference score counts."""

    @model_validator(mode="before")
    @classmethod
    def _preset_decides(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        preset = given.get("preset", "calibrated")
        fixed = REWARD_PRESETS.get(preset, {}) if isinstance(preset, str) else {}
        for key, value in fixed.items():
            if key in given and given[key] != value:
                raise ValueError(
                    f'preset "{preset}" fixes {key} = {value!r}, found {given[key]!r}; '
                    'remove the key, or use preset "calibrated"'
                )
        return dict(given) | fixed

    @property
    def uses_preference(self) -> bool:
        """Whether a reward model is needed."""
        return self.preference > 0


class EvaluationSection(Section):
    """Measuring on the tuning split while a stage runs."""

    every: Positive = 20
    """Steps between measurements; the last step is always measured."""
    problems: Positive = 480
    """How many problems of the split are used, from its beginning."""
    blank_problems: Annotated[int, Field(ge=0)] = 120
    """How many of them are also answered with a grey picture; 0 switches the blank-image gap off."""


class MonitorSection(Section):
    """The judge-free perception monitor."""

    every: Positive = 5
    """Steps between measurements."""
    completions: Positive = 32
    """Completions of the step that are scored with a masked picture."""
    mask_share: Share = 0.6
    """Share of the patches that are blacked out (PAPO)."""
    mask_patch: Positive = 8
    """Side of a patch in pixels of the processed picture."""


# ── stages ───────────────────────────────────────────────────────────────────────────────────────────────────────


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


class PairsSection(Section):
    """Which pairs preference optimisation learns from."""

    judge: Literal["reward_model", "rules"] = "reward_model"
    """Who measures the margin. With rules alone every right answer is infinitely better than every wrong one."""
    min_margin: Annotated[float, Field(ge=-math.inf)] = 0.0
    """Smallest score gap, in calibrated units (R1V2's threshold 7/10/15 is in raw units of its own reward model)."""
    max_length_ratio: Annotated[float, Field(ge=1)] = 4.0
    max_per_prompt: Positive = 2
    format_negatives: bool = True
    """Whether a right answer in bad form may be rejected against a right answer in good form."""


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


class BufferSection(Section):
    """The Selective Sample Buffer."""

    capacity: Annotated[int, Field(ge=0)] = 1024
    """Samples; 0 switches the buffer off."""
    exponent: Annotated[float, Field(ge=0)] = 1.0
    """alpha of |A|^alpha."""
    max_age: Positive = 40
    """Policy versions."""
    max_uses: Positive = 4
    correction: Literal["decoupled", "clip"] = "decoupled"
    correction_limit: Annotated[float, Field(ge=1)] = 2.0
    """Largest importance weight of the decoupled correction."""


class GrpoStage(StageSection):
    """Group-relative policy optimisation with the hybrid reward and the buffer (R1V2 Eq. 6-8)."""

    NEEDS: ClassVar[tuple[Model, ...]] = ("policy",)
    GIVES: ClassVar[tuple[Model, ...]] = ("policy",)
    type: Literal["grpo"]
    steps: Positive = 100
    prompts_per_step: Positive = 32
    minibatch_size: Positive = 64
    """Samples per update; a step makes prompts_per_step * num_completions / minibatch_size updates."""
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


class Recipe(Section):
    """A whole run."""

    name: Name
    seed: Annotated[int, Field(ge=0)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes a GPU where there is one."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads; 0 takes as many as the process may use."""
    data: Data
    stage: Annotated[tuple[Stage, ...], Field(min_length=1, strict=False)]

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
    def _data_suffices(self) -> "Recipe":
        problem = prompts_missing(self, self.data.train) if isinstance(self.data, DigitsData) else None
        if problem:
            raise ValueError(problem)
        for index, stage in enumerate(self.stage):
            if isinstance(stage, AlignStage) and isinstance(self.data, FileData) and self.data.captions is None:
                raise ValueError(f'stage.{index} ("{stage.label}") needs captions; name a file in data.captions')
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
            case MpoStage():
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
