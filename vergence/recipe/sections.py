"""What most stages are made of: training by role, optimizer, sampling, measuring; and what every stage has.

Defaults are the vetted setting; units and meanings stand under each field.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]


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


class LoraSection(Section):
    """Low-rank updates of a role's products, through peft (extra `lora`)."""

    rank: Positive = 16
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 32.0
    """The update is scaled by alpha / rank."""
    dora: bool = False
    """DoRA: the length of each row is trained by itself."""
    targets: tuple[str, ...] = ()
    """Products that are updated, as q_proj; all of the role's, if left out."""


class Trained(Section):
    """How one role (vision, adapter, language) is trained in one stage."""

    freeze: bool = False
    learning_rate: Weight = 1e-4
    weight_decay: Weight = 0.0
    """Of parameters with two dimensions or more; norms and biases are not decayed."""
    lora: LoraSection | None = None
    """Train low-rank updates in place of the weights themselves."""

    @model_validator(mode="after")
    def _trained_means_trained(self) -> "Trained":
        if self.freeze and self.lora is not None:
            raise ValueError("frozen, and lora is given; remove one of the two")
        if not self.freeze and self.learning_rate == 0:
            raise ValueError("not frozen, and learning_rate = 0; give it a learning rate, or freeze it")
        return self


FROZEN = Trained(freeze=True, learning_rate=0.0)


class Roles(Section):
    """Freeze switch, learning rate and weight decay of each role."""

    vision: Trained = FROZEN
    adapter: Trained = Trained()
    language: Trained = Trained()
    save: Literal["merged", "updates"] = "merged"
    """merged: an ordinary checkpoint; updates: the low-rank updates alone, beside the checkpoint they belong to."""

    @model_validator(mode="after")
    def _updates_go_together(self) -> "Roles":
        trained = [role for role in (self.vision, self.adapter, self.language) if not role.freeze]
        if self.save == "updates" and any(role.lora is None for role in trained):
            raise ValueError(
                'save = "updates" keeps low-rank updates alone, and a role is trained without lora; give it lora, '
                'freeze it, or use save = "merged"'
            )
        if len({role.lora.dora for role in trained if role.lora is not None}) > 1:
            raise ValueError("one role has dora and another has lora without it; use the same for both")
        return self

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
    """A function of the share of the stage that is done: of its steps, or of its budget where that is ahead."""
    warmup: Share = 0.0
    """Share of the stage over which a cosine schedule rises."""
    floor: Share = 0.1
    """Where a cosine schedule ends, as a share of the learning rate."""


class SamplingSection(Section):
    """How completions are drawn."""

    num_completions: Annotated[int, Field(ge=2)] = 8
    """G, completions per prompt."""
    max_new_tokens: Positive = 32
    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    """Draw from the k most likely tokens only; 0 is off."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw from the smallest set of most likely tokens with this probability; 1 is off."""
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.0
    """Divides positive logits of tokens that occurred before, and multiplies negative ones; 1 is off."""


class EvaluationSection(Section):
    """Measuring on the tuning split while a stage runs."""

    every: Positive = 20
    """Steps between measurements; the last step is always measured."""
    problems: Positive = 480
    """How many problems of the split are used, from its beginning."""
    blank_problems: Annotated[int, Field(ge=0)] = 120
    """How many of them are also answered with a grey picture; 0 switches the blank-image gap off."""


class BudgetSection(Section):
    """What a stage may spend; it ends with the step in which one of these is spent, or with its last step."""

    tokens: Annotated[float, Field(gt=0)] = math.inf
    """Generated tokens."""
    cpu_seconds: Annotated[float, Field(gt=0)] = math.inf
    """CPU seconds of training, measuring and monitoring left out; with this a run can not be repeated to the bit."""


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
