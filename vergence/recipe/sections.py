"""The sections that stages are made of: training by role, sampling, reward, pairs, buffer, measuring.

Defaults are the vetted setting; units and meanings stand under each field.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

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
    top_k: Annotated[int, Field(ge=0)] = 0
    """Draw from the k most likely tokens only; 0 is off."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw from the smallest set of most likely tokens with this probability; 1 is off."""
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.0
    """Divides positive logits of tokens that occurred before, and multiplies negative ones; 1 is off."""


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
