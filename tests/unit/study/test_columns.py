"""Columns by name, and their values in a finished run."""

from typing import Any

import pytest

from vergence.errors import RecipeError
from vergence.study.columns import HOWS, MetricColumn, SplitColumn, parse_column
from vergence.study.read import Finished, aggregate, value_of


def figures(accuracy: float) -> dict[str, Any]:
    return {
        "greedy": {"accuracy": accuracy, "format_rate": 0.5},
        "sampled": {
            "accuracy": accuracy - 0.1,
            "pass_at_k": 0.9,
            "format_rate": 0.25,
            "hallucination_rate": None,
            "categories": {"sum": 0.125},
        },
        "grey_picture": {"accuracy": 0.0625},
    }


RUN = Finished(
    test={"align": figures(0.5), "grpo": figures(0.75)},
    metrics={
        "grpo": [
            {"stage": "grpo", "step": 0, "loss": 4.0},
            {"stage": "grpo", "step": 1, "loss": None},
            {"stage": "grpo", "step": 2, "loss": 1.0, "late": 7.0},
            {"stage": "grpo", "step": 3, "loss": 2.5},
        ],
        "parents/vision": [{"stage": "parents/vision", "step": 0, "loss": 9.0}],
    },
    summary={},
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("test/greedy_accuracy", 0.75),
        ("test/sampled_accuracy", 0.65),
        ("align:test/greedy_accuracy", 0.5),
        ("test/pass_at_k", 0.9),
        ("test/format_rate", 0.25),
        ("test/greedy/format_rate", 0.5),
        ("test/sampled/categories/sum", 0.125),
        ("test/blank_accuracy", 0.0625),
        ("test/blank_gap", 0.6875),
        ("test/hallucination_rate", None),
        ("test/nothing", None),
        ("test/sampled/categories", None),
        ("mpo:test/greedy_accuracy", None),
        ("mpo:test/blank_gap", None),
        ("grpo:loss", 2.5),
        ("grpo:loss:last", 2.5),
        ("grpo:loss:max", 4.0),
        ("grpo:loss:min", 1.0),
        ("grpo:loss:sum", 7.5),
        ("grpo:loss:first_tenth", 4.0),
        ("grpo:late", 7.0),
        ("grpo:nothing", None),
        ("mpo:loss", None),
        ("parents/vision:loss", 9.0),
    ],
)
def test_a_column_is_found_in_a_run(name: str, value: float | None):
    assert value_of(parse_column(name, "here"), RUN) == (None if value is None else pytest.approx(value))


def test_a_run_without_test_figures_has_no_value():
    assert value_of(parse_column("test/greedy_accuracy", "here"), Finished({}, {}, {})) is None


def test_tenths_are_the_first_and_the_last_of_the_steps():
    twenty = [float(n) for n in range(20)]
    assert aggregate(twenty, "first_tenth") == 0.5
    assert aggregate(twenty, "last_tenth") == 18.5
    assert all(isinstance(aggregate(twenty, how), float) for how in HOWS)


def test_names_are_read():
    assert parse_column("a:test/b", "") == SplitColumn("a:test/b", "a", "b")
    assert parse_column("a/b:c/d:max", "") == MetricColumn("a/b:c/d:max", "a/b", "c/d", "max")
    assert parse_column("a:c/d", "") == MetricColumn("a:c/d", "a", "c/d", "mean")


@pytest.mark.parametrize(
    "name", ["loss", "test/", "grpo:", ":loss", "grpo:test/x:last", "a:b:last:c", "grpo:test/", ""]
)
def test_names_that_say_nothing_are_refused(name: str):
    with pytest.raises(RecipeError, match=r'^here: found ".*"; expected test/FIGURE'):
        parse_column(name, "here")


def test_an_unknown_way_to_aggregate_is_refused():
    with pytest.raises(RecipeError, match=r'^here: "median" in "a:b:median" is none of mean, last'):
        parse_column("a:b:median", "here")
