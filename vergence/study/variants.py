"""Variants of a study: those that are listed, those of the grid, or both crossed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from vergence.errors import RecipeError
from vergence.recipe.load import toml_value
from vergence.study.schema import MAX_LINES, Study


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run the base recipe."""

    name: str
    overrides: tuple[str, ...]
    """`KEY=VALUE`, in the order in which they are applied."""
    without: tuple[str, ...]
    """Labels of stages that are left out."""


def variants_of(study: Study, source: str) -> tuple[Variant, ...]:
    """All variants, in the order of the file; the grid's last key changes fastest.

    Raises RecipeError for two variants of one name, and where reference or a figure names a variant that is not there.
    """
    shared = (*study.set, *((study.budget.override(),) if study.budget else ()))
    listed = [Variant(one.name, one.set, one.without) for one in study.variant]
    cells = _cells(study)
    if listed and study.grid:
        crossed = [
            Variant(f"{one.name},{cell.name}", (*one.overrides, *cell.overrides), one.without)
            for one in listed
            for cell in cells
        ]
    else:
        crossed = listed or cells
    found = tuple(
        Variant(one.name, (*shared, *one.overrides), tuple(dict.fromkeys((*study.without, *one.without))))
        for one in crossed
    )
    _check_names(study, [one.name for one in found], source)
    return found


def _cells(study: Study) -> list[Variant]:
    """The cartesian product of the grid: named "exponent=0.5", or by whole keys where last words would be equal."""
    lasts = [key.rpartition(".")[2] for key in study.grid]
    names = lasts if len(set(lasts)) == len(lasts) else list(study.grid)
    return [
        Variant(
            ",".join(f"{name}={_spoken(value)}" for name, value in zip(names, values, strict=True)),
            tuple(f"{key}={toml_value(value)}" for key, value in zip(study.grid, values, strict=True)),
            (),
        )
        for values in product(*study.grid.values())
    ]


def _spoken(value: object) -> str:
    """A value as a part of a directory's name."""
    text = value if isinstance(value, str) else toml_value(list(value) if isinstance(value, tuple) else value)
    return re.sub(r"[^A-Za-z0-9_.+-]+", "+", text).strip("+")


def _check_names(study: Study, names: Sequence[str], source: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(
                f'{source}: {names.count(name)} variants are called "{name}"; give each a name of its own'
            )
    listed = ", ".join(names)
    if study.reference is not None and study.reference not in names:
        raise RecipeError(f'{source}: reference: no variant "{study.reference}"; the variants are {listed}')
    for place, figure in enumerate(study.figure):
        for name in figure.variants:
            if name not in names:
                raise RecipeError(f'{source}: figure.{place}.variants: no variant "{name}"; the variants are {listed}')
        if len(figure.variants or names) > MAX_LINES:
            raise RecipeError(
                f"{source}: figure.{place}: {len(figure.variants or names)} variants, and a figure can show "
                f"{MAX_LINES}; name those to show in figure.variants"
            )
