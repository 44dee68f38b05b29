"""Variants that make no sense together are refused, with the reason and what to do."""

from typing import Any

import pytest
from pydantic import ValidationError

from vergence.errors import RecipeError
from vergence.recipe.grpo import GrpoStage
from vergence.recipe.load import load_recipe, parse_recipe, to_toml


def recipe(keys: dict[str, Any]) -> Any:
    data = {"type": "files", "train": "/t", "captions": "/c", "tuning": "/u", "test": "/e"}
    grpo = {"type": "grpo", "reward": {"preset": "rules"}} | keys
    return parse_recipe({"name": "x", "data": data, "stage": [{"type": "load", "path": "/m"}, grpo]}, "x.toml")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"surrogate": "gspo", "reduction": "token_mean"},
            'surrogate = "gspo" has one term .* found reduction = "token_mean".*sequence_mean',
        ),
        (
            {"surrogate": "gspo", "clip_low": 0.2},
            r'clip_low = 0\.2 bounds no ratio of surrogate = "gspo".*at most 0\.01, or remove clip_low .* 0\.0003',
        ),
        ({"surrogate": "gspo", "clip_high": 0.011}, r"clip_high = 0\.011 bounds no ratio .* 0\.0004"),
        (
            {"surrogate": "gspo", "buffer": {"correction": "clip"}},
            r'buffer\.correction = "clip" divides replayed samples by the policy that sampled them, and bounds of '
            r'0\.0003 and 0\.0004 .* use buffer\.correction = "decoupled"',
        ),
        ({"surrogate": "gspo", "buffer": {"correction": "shaped"}}, r'buffer\.correction = "shaped" divides'),
        ({"clip_high": 0.01, "buffer": {"correction": "clip"}}, r"bounds of 0\.2 and 0\.01"),
        (
            {"kl_weight": 0.1, "kl_estimator": "k1"},
            'kl_estimator = "k1" in the loss has an expected gradient of zero.*use "k3" or "k2", or kl_in = "reward"',
        ),
        (
            {"kl_weight": 0.1, "kl_in": "reward", "kl_estimator": "k3", "advantage": "centred"},
            'kl_in = "reward" takes the log-ratio itself .* found kl_estimator = "k3".*remove kl_estimator',
        ),
        (
            {"kl_weight": 0.1, "kl_in": "reward"},
            'kl_in = "reward" with advantage = "normalised" would divide the penalty by a spread.*"centred"',
        ),
        ({"kl_weight": 0.1, "kl_in": "reward", "advantage": "batch"}, 'with advantage = "batch" would divide'),
        ({"kl_weight": 0.1, "kl_in": "reward", "advantage": "decoupled"}, 'with advantage = "decoupled" would divide'),
        ({"kl_in": "value"}, "kl_in: .*'loss' or 'reward'"),
        ({"surrogate": "gspo", "reduction": "constant"}, 'found reduction = "constant"'),
        ({"surrogate": "cispo", "dual_clip": 3.0}, 'surrogate = "cispo" takes no minimum .* found dual_clip = 3'),
        (
            {"surrogate": "gspo", "reduction": "sequence_mean", "dual_clip": 3.0},
            'surrogate = "gspo" bounds the ratio of the sequence',
        ),
        ({"dual_clip": 1.0}, r"dual_clip: .*greater than 1; found 1\.0"),
        ({"clip_low": 1.1}, "clip_low: .*less than or equal to 1"),
        ({"kl_schedule": "grpo_d"}, "kl_weight = 0 is no penalty; give kl_weight"),
        ({"kl_schedule": "grpo_d", "kl_weight": 0.04, "kl_min": 0.1}, r"kl_min = 0\.1 is above kl_weight = 0\.04"),
        ({"kl_weight": 0.1, "kl_min": 0.04}, r'kl_min = 0\.04 counts only with kl_schedule = "grpo_d", found "fixed"'),
        ({"kl_turn": 1.5}, "kl_turn: .*less than or equal to 1"),
        ({"entropy": {"bonus": "adaptive", "target": 0.0}}, r"entropy\.target: .*greater than 0; found 0\.0"),
        ({"entropy": {"bonus": "adaptive", "target": -0.2}}, r"entropy\.target: .*greater than 0"),
        ({"entropy": {"bonus": "fixed"}}, 'entropy: bonus = "fixed" with weight = 0 is no bonus'),
        ({"entropy": {"weight": 0.1}}, r'weight = 0\.1 counts only with bonus = "fixed", found bonus = "none"'),
        ({"entropy": {"bonus": "adaptive", "weight": 0.1}}, 'found bonus = "adaptive"'),
        ({"entropy": {"bonus": "adaptive", "step": 0.1}}, r"step = 0\.1 is above largest = 0\.005"),
        ({"critical_markers": ("Wait", "")}, r"critical_markers\.1: .*at least 1 character"),
        (
            {"advantage": "batch", "prompts_per_step": 1, "minibatch_size": 8},
            'advantage = "batch" divides by the spread of a batch of groups, found prompts_per_step = 1',
        ),
        (
            {"advantage": "decoupled", "prompts_per_step": 1, "minibatch_size": 8},
            'advantage = "decoupled" divides by the spread of a batch',
        ),
        ({"advantage": "batch", "buffer": {"advantage": "recomputed"}}, 'use buffer.advantage = "stale"'),
        (
            {"advantage": "decoupled", "reward": {"preset": "rules", "format": 0.0}},
            r"found 1 with weight \(accuracy\); give a second one a weight",
        ),
    ],
)
def test_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said) as error:
        recipe(keys)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("x.toml: stage.1")


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"surrogate": "gspo"},
        {"surrogate": "gspo", "clip_low": 2e-3, "clip_high": 2.5e-3, "buffer": {"strategy": "ssr"}},
        {"kl_weight": 0.1, "kl_estimator": "k2"},
        {"kl_weight": 0.1, "kl_in": "reward", "advantage": "centred"},
        {"kl_weight": 0.1, "kl_in": "reward", "kl_estimator": "k1", "advantage": "centred"},
        {"surrogate": "cispo", "clip_low": 1.0, "clip_high": 4.0, "advantage": "batch"},
        {"advantage": "centred", "reduction": "constant"},
        {"clip_high": 0.28, "dual_clip": 3.0, "mask_truncated": True},
        {"kl_weight": 0.1, "kl_min": 0.04, "kl_schedule": "grpo_d"},
        {"entropy": {"bonus": "adaptive"}, "critical_markers": ("Wait", "Alternatively")},
        {"entropy": {"bonus": "fixed", "weight": 0.001}},
        {"advantage": "decoupled"},
    ],
)
def test_allowed_and_the_same_after_a_round_trip_through_toml(keys: dict[str, Any], tmp_path: Any) -> None:
    whole = recipe(keys)
    (tmp_path / "x.toml").write_text(to_toml(whole))
    assert whole == load_recipe(str(tmp_path / "x.toml"))


def test_gspo_has_defaults_of_its_own() -> None:
    """Those of the paper (2507.18071, section 5.1), unless a recipe names others."""
    stage = GrpoStage.model_validate({"type": "grpo", "surrogate": "gspo"})
    assert ("sequence_mean", 3e-4, 4e-4) == (stage.reduction, stage.clip_low, stage.clip_high)
    named = GrpoStage.model_validate({"type": "grpo", "surrogate": "gspo", "clip_low": 2e-3})
    assert (2e-3, 4e-4) == (named.clip_low, named.clip_high)


def test_kl_in_the_reward_is_k1() -> None:
    stage = GrpoStage.model_validate({"type": "grpo", "kl_in": "reward", "kl_weight": 0.1, "advantage": "centred"})
    assert "k1" == stage.kl_estimator


@pytest.mark.parametrize(
    ("keys", "own"),
    [
        ({}, False),
        ({"surrogate": "gspo"}, True),
        ({"clip_low": 0.02}, True),
        ({"clip_high": 0.001}, True),
        ({"clip_low": 0.05, "clip_high": 0.05}, False),
        ({"surrogate": "cispo", "clip_low": 1.0, "clip_high": 4.0}, False),
        ({"surrogate": "cispo", "clip_low": 1.0, "clip_high": 0.01}, True),
    ],
)
def test_bounds_near_one_have_denominators_of_their_own(keys: dict[str, Any], own: bool) -> None:
    assert own == GrpoStage.model_validate({"type": "grpo"} | keys).own_denominators


def test_the_defaults_are_those_of_plain_grpo() -> None:
    stage = GrpoStage(type="grpo")
    assert ("normalised", "clipped", "token_mean") == (stage.advantage, stage.surrogate, stage.reduction)
    assert (0.2, 0.2, float("inf")) == (stage.clip_low, stage.clip_high, stage.dual_clip)
    assert (0.0, "k3", "fixed", "none") == (
        stage.kl_weight,
        stage.kl_estimator,
        stage.kl_schedule,
        stage.entropy.bonus,
    )
    assert not stage.mask_truncated
    with pytest.raises(ValidationError):
        GrpoStage(type="grpo", surrogate="ppo")  # type: ignore[arg-type]
