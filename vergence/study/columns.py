"""What a column of the table means: read from its name, checked against the stages that the variants have."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from vergence.errors import RecipeError
from vergence.recipe.schema import Recipe
from vergence.study.schema import Study

How = Literal["mean", "last", "max", "min", "sum", "first_tenth", "last_tenth"]
"""What is made of a metric's values over the steps of a stage."""
HOWS: tuple[How, ...] = get_args(How)
TEST = "test/"


@dataclass(frozen=True, slots=True)
class SplitColumn:
    """A figure of a policy on the test split."""

    name: str
    stage: str | None
    """Whose policy; None is the last one that the evaluate stage measured."""
    figure: str


@dataclass(frozen=True, slots=True)
class MetricColumn:
    """A metric of a stage."""

    name: str
    stage: str
    metric: str
    how: How


Column = SplitColumn | MetricColumn


def parse_column(name: str, place: str) -> Column:
    """`test/FIGURE`, `STAGE:test/FIGURE` or `STAGE:METRIC[:HOW]`. Raises RecipeError that begins with `place`."""
    parts = name.split(":")
    if len(parts) == 1 and name.startswith(TEST) and name != TEST:
        return SplitColumn(name, None, name.removeprefix(TEST))
    if len(parts) == 2 and parts[0] and parts[1].startswith(TEST) and parts[1] != TEST:
        return SplitColumn(name, parts[0], parts[1].removeprefix(TEST))
    if len(parts) not in (2, 3) or not all(parts) or parts[1].startswith(TEST):
        raise RecipeError(
            f'{place}: found "{name}"; expected test/FIGURE, STAGE:test/FIGURE or STAGE:METRIC[:HOW], '
            "for instance grpo:effective/fresh:last"
        )
    how: How = "mean"
    if len(parts) == 3:
        found = [one for one in HOWS if one == parts[2]]
        if not found:
            raise RecipeError(f'{place}: "{parts[2]}" in "{name}" is none of {", ".join(HOWS)}')
        how = found[0]
    return MetricColumn(name, parts[0], parts[1], how)


def columns_of(study: Study, source: str) -> tuple[Column, ...]:
    """The columns of the study's table."""
    return tuple(
        parse_column(name, f"{source}: table.columns.{place}") for place, name in enumerate(study.table.columns)
    )


def check_stages(study: Study, recipes: Iterable[Recipe], source: str) -> None:
    """Raise RecipeError for a column or a figure of a stage that no variant has."""
    stages = [stage for recipe in recipes for stage in recipe.stage]
    labels = list(dict.fromkeys(stage.label for stage in stages))
    asked = [(f"table.columns.{place}", column) for place, column in enumerate(columns_of(study, source))]
    named = [(place, column.stage) for place, column in asked if column.stage is not None]
    named += [(f"figure.{place}.stage", figure.stage) for place, figure in enumerate(study.figure)]
    for place, label in named:
        if label.partition("/")[0] not in labels:  # a part of a stage is called STAGE/PART
            raise RecipeError(f'{source}: {place}: no variant has a stage "{label}"; there are {", ".join(labels)}')
    for place, column in asked:
        if isinstance(column, SplitColumn) and not any(stage.type == "evaluate" for stage in stages):
            raise RecipeError(f'{source}: {place}: "{column.name}" needs an "evaluate" stage, and no variant has one')
