"""What a completion is worth: the hybrid reward."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vergence.recipe.sections import Positive, Section, Weight

REWARD_PRESETS: dict[str, dict[str, float | str]] = {
    "calibrated": {},
    "paper": {
        "accuracy": 1.0,
        "format": 1.0,
        "preference": 1.0,
        "overlong": 0.0,
        "scores": "raw",
        "cap": math.inf,
        "bound": "none",
        "gate": "none",
    },
    "r1v3": {"accuracy": 0.8, "format": 0.2, "preference": 0.0, "overlong": 0.0},
    "rules": {"preference": 0.0},
}
"""Preset to the keys it fixes; the others are free."""


class RewardSection(Section):
    """The hybrid reward (R1V2 Eq. 7): accuracy + format + gate * bound(min(preference score, cap)) + overlong.

    Each component has a weight.
    """

    preset: Literal["calibrated", "paper", "r1v3", "rules"] = "calibrated"
    """calibrated: the keys below; paper: Eq. 7 as printed, the plain unbounded sum; r1v3: 0.8 accuracy + 0.2 format;
    rules: no preference model."""
    accuracy: Weight = 1.0
    format: Weight = 0.5
    preference: Weight = 0.2
    """0 needs no reward model."""
    scores: Literal["calibrated", "raw"] = "calibrated"
    """Preference scores in units of their own spread on a calibration set, or as the model gives them."""
    cap: Annotated[float, Field(gt=0)] = math.inf
    """Largest preference score, in the units of `scores`; a larger one counts as this one. A controller may lower
    it."""
    bound: Literal["sigmoid", "clip", "zscore", "quantile", "none"] = "sigmoid"
    """sigmoid: to 0..1; clip: to -1..1; zscore: (s - mean) / std over the step's completions; quantile: rank among the
    last scores, 0..1."""
    quantile_window: Positive = 4096
    """Completions whose scores a quantile is taken among."""
    gate: Literal["correct", "formed", "both", "none"] = "correct"
    """Among which answers the preference score counts."""
    overlong: Weight = 0.0
    """Weight of DAPO's soft length penalty, a component of -1..0; 0 is off."""
    overlong_margin: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Over which share of sampling.max_new_tokens, below that limit, the penalty falls from 0 to -1."""

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
    def weights(self) -> dict[str, float]:
        """Component to its weight, those of weight 0 included."""
        return {
            "accuracy": self.accuracy,
            "format": self.format,
            "preference": self.preference,
            "overlong": self.overlong,
        }

    @property
    def uses_preference(self) -> bool:
        """Whether a reward model is needed."""
        return self.preference > 0
