"""Variants: listed, from a grid, crossed; and what is wrong with their names."""

import re
from typing import Any

import pytest

from vergence.errors import RecipeError
from vergence.study.schema import Study
from vergence.study.variants import variants_of


def study(**keys: Any) -> Study:
    return Study.model_validate({"name": "small", "base": "digits", "seeds": [0], **keys})


def test_listed_variants_come_after_the_studys_own_settings_and_its_budget():
    found = variants_of(
        study(
            set=["stage.grpo.steps=9"],
            without=["mpo"],
            budget={"stage": "grpo", "tokens": 500},
            variant=[{"name": "a"}, {"name": "b", "set": ["stage.grpo.steps=3"], "without": ["align", "mpo"]}],
        ),
        "s.toml",
    )
    shared = ("stage.grpo.steps=9", "stage.grpo.budget.tokens=500")
    assert [("a", shared, ("mpo",)), ("b", (*shared, "stage.grpo.steps=3"), ("mpo", "align"))] == [
        (one.name, one.overrides, one.without) for one in found
    ]


def test_a_budget_of_seconds_is_put_into_its_stage():
    (found,) = variants_of(study(budget={"stage": "mpo", "cpu_seconds": 2.5}, variant=[{"name": "a"}]), "s.toml")
    assert found.overrides == ("stage.mpo.budget.cpu_seconds=2.5",)


def test_a_grid_is_every_combination_and_its_last_key_changes_fastest():
    found = variants_of(study(grid={"stage.grpo.buffer.exponent": [0.0, 1.0], "stage.grpo.steps": [5, 6]}), "s.toml")
    assert ["exponent=0.0,steps=5", "exponent=0.0,steps=6", "exponent=1.0,steps=5", "exponent=1.0,steps=6"] == [
        one.name for one in found
    ]
    assert found[2].overrides == ("stage.grpo.buffer.exponent=1.0", "stage.grpo.steps=5")


def test_keys_that_end_alike_are_named_in_full():
    found = variants_of(study(grid={"stage.mpo.beta": [1], "stage.grpo.beta": [2]}), "s.toml")
    assert found[0].name == "stage.mpo.beta=1,stage.grpo.beta=2"


def test_a_grid_is_crossed_with_listed_variants():
    found = variants_of(
        study(variant=[{"name": "a", "set": ["x=1"]}, {"name": "b"}], grid={"y.z": ["one", [2, 3]]}), "s.toml"
    )
    assert ["a,z=one", "a,z=2+3", "b,z=one", "b,z=2+3"] == [one.name for one in found]
    assert found[1].overrides == ("x=1", "y.z=[2, 3]")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"variant": [{"name": "a"}, {"name": "a"}]},
            's.toml: 2 variants are called "a"; give each a name of its own',
        ),
        (
            {"variant": [{"name": "a"}, {"name": "b"}], "reference": "c"},
            's.toml: reference: no variant "c"; the variants are a, b',
        ),
        (
            {"variant": [{"name": "a"}], "figure": [{"stage": "grpo", "metric": "loss", "variants": ["b"]}]},
            's.toml: figure.0.variants: no variant "b"; the variants are a',
        ),
        (
            {"grid": {"x": list(range(9))}, "figure": [{"stage": "grpo", "metric": "loss"}]},
            "s.toml: figure.0: 9 variants, and a figure can show 8; name those to show in figure.variants",
        ),
    ],
    ids=["twice", "reference", "figure", "too-many-lines"],
)
def test_wrong_names_are_one_line(keys: dict[str, Any], message: str):
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
        variants_of(study(**keys), "s.toml")
