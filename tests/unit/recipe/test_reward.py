"""The keys of the hybrid reward: what presets fix, what is refused, and that every value survives being printed."""

import math
import tomllib
from typing import Any

import pytest
from pydantic import ValidationError

from vergence.recipe.load import load_recipe, parse_recipe, to_toml
from vergence.recipe.reward import RewardSection


@pytest.mark.parametrize(("key", "value"), [("cap", 2.0), ("overlong", 0.5), ("bound", "zscore"), ("gate", "both")])
def test_the_papers_sum_has_neither_cap_nor_bound_nor_gate_nor_length(key: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=rf'preset "paper" fixes {key} = .*, found .*; remove the key'):
        RewardSection(preset="paper", **{key: value})
    assert getattr(RewardSection(**{key: value}), key) == value


def test_rules_may_be_shaped_by_length_and_r1v3_may_not() -> None:
    assert RewardSection(preset="rules", overlong=0.5).overlong == 0.5
    with pytest.raises(ValidationError, match='preset "r1v3" fixes overlong'):
        RewardSection(preset="r1v3", overlong=0.5)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("cap", 0.0), ("cap", -1.0)),
        *(("overlong", -0.5), ("overlong_margin", 0.0), ("overlong_margin", 1.5)),
        *(("quantile_window", 0), ("bound", "tanh"), ("gate", "right")),
    ],
)
def test_what_makes_no_sense_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=key):
        RewardSection(**{key: value})


@pytest.mark.parametrize("cap", [math.inf, 1.5])
def test_a_cap_survives_being_printed(cap: float) -> None:
    recipe = load_recipe("digits", [f"stage.grpo.reward.cap={cap}"])
    again = parse_recipe(tomllib.loads(to_toml(recipe)), "again")
    assert again == recipe
    (grpo,) = [stage for stage in again.stage if stage.type == "grpo"]
    assert grpo.reward.cap == cap


def test_weights_are_by_component() -> None:
    weights = RewardSection(accuracy=2.0, format=0.0, preference=0.3, overlong=0.1).weights
    assert weights == {"accuracy": 2.0, "format": 0.0, "preference": 0.3, "overlong": 0.1}
