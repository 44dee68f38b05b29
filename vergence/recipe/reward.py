"""What a completion is worth: the hybrid reward."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import model_validator

from vergence.recipe.sections import Section, Weight

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
