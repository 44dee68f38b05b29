"""The keys of preference pairs and of stage mpo: what fits together, and what is refused with its reason."""

import math
from pathlib import Path

import pytest

from vergence.errors import RecipeError
from vergence.recipe.load import load_recipe, to_toml
from vergence.recipe.mpo import MpoStage


def mpo(*settings: str) -> MpoStage:
    recipe = load_recipe("digits", [f"stage.mpo.{one}" for one in settings])
    return next(stage for stage in recipe.stage if isinstance(stage, MpoStage))


def test_defaults_are_rules_judged_by_the_reward_model_and_no_early_stopping() -> None:
    stage = mpo()
    assert ("rules",) == stage.pairs.sources
    assert (0.0, "calibrated", 0, True) == (
        stage.pairs.min_margin,
        stage.pairs.margin_unit,
        stage.pairs.dropout,
        stage.pairs.graded,
    )
    assert 0 == stage.early_stopping.patience
    assert math.inf == stage.budget.tokens == stage.budget.cpu_seconds


def test_naming_dropout_gives_one_continuation_and_a_number_stays() -> None:
    assert 1 == mpo('pairs.sources=["rules","dropout"]').pairs.dropout
    assert 3 == mpo('pairs.sources=["dropout"]', "pairs.dropout=3").pairs.dropout


@pytest.mark.parametrize(
    "settings",
    [
        ('pairs.sources=["rules","margin","dropout"]', "pairs.dropout=2"),
        ("pairs.margin_unit=quantile", "pairs.min_margin=0.3", "early_stopping.patience=2", "budget.tokens=9e9"),
        ("pairs.min_margin=-inf", "pairs.format_length_ratio=inf"),
        ("preference_weight=0", "quality_weight=0"),
        ('pairs.sources=["margin","dropout"]', "pairs.graded=false"),
    ],
)
def test_a_printed_recipe_reads_as_itself(tmp_path: Path, settings: tuple[str, ...]) -> None:
    recipe = load_recipe("digits", [f"stage.mpo.{one}" for one in settings])
    (tmp_path / "recipe.toml").write_text(to_toml(recipe))
    assert recipe == load_recipe(str(tmp_path / "recipe.toml"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("pairs.dropout=1",), 'name "dropout" in sources'),
        (('pairs.sources=["rules","dropout"]', "pairs.dropout=0"), "contradict each other"),
        (("pairs.sources=[]",), "at most once"),
        (('pairs.sources=["rules","rules"]',), "at most once"),
        (("pairs.graded=false",), 'source "rules" needs right answers'),
        (("pairs.judge=rules", 'pairs.sources=["margin"]'), "needs a reward model"),
        (("pairs.judge=rules", "pairs.margin_unit=raw"), "measures score gaps"),
        (("pairs.margin_unit=quantile", "pairs.min_margin=1.5"), "must lie in 0..1"),
        (("preference_weight=0", "quality_weight=0", "generation_weight=0"), "nothing would be learnt"),
        (("pairs.file=x.jsonl",), "set rounds = 1"),
        (("early_stopping.metric=test/accuracy",), "early_stopping.metric"),
        (("early_stopping.patience=-1",), "early_stopping.patience"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(settings: tuple[str, ...], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        mpo(*settings)


def test_a_file_of_pairs_needs_no_reward_model_and_its_path_is_relative_to_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(
        'name = "x"\n[data]\ntype = "files"\ntrain = "t"\ntuning = "t"\ntest = "t"\n'
        '[[stage]]\ntype = "load"\npath = "m"\n'
        '[[stage]]\ntype = "mpo"\nrounds = 1\npairs.file = "pairs.jsonl"\n'
    )
    stage = load_recipe(str(tmp_path / "recipe.toml")).stage[1]
    assert isinstance(stage, MpoStage)
    assert tmp_path / "pairs.jsonl" == stage.pairs.file
    assert ("policy",) == stage.needs()
