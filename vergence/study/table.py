"""The two tables of a study, for Markdown and for the terminal."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from vergence.study.results import Results
from vergence.study.statistics import Difference, Spread

NONE = "-"


@dataclass(frozen=True, slots=True)
class Cell:
    """A text, and whether it stands out."""

    text: str
    clear: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table before it has a look."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str


def sheets(results: Results) -> list[Sheet]:
    """Mean and spread of every variant; then, where the study names a reference, the differences from it."""
    study = results.plan.study
    names = [column.name for column in results.columns]
    places = {
        name: decimals(abs(found.mean) for one in results.variants if (found := one.spreads.get(name)))
        for name in names
    }
    first = Sheet(
        "Mean over seeds",
        ("variant", "n", *names),
        tuple(
            (
                Cell(one.variant.name),
                Cell(str(len(one.runs))),
                *(_spread_cell(one.spreads.get(name), places[name], len(one.runs)) for name in names),
            )
            for one in results.variants
        ),
        "Mean \N{PLUS-MINUS SIGN} standard deviation over seeds; n: finished seeds.",
    )
    if study.reference is None:
        return [first]
    second = Sheet(
        f"Difference from {study.reference}, seed by seed",
        ("variant", *names),
        tuple(
            (
                Cell(one.variant.name),
                *(_difference_cell(one.differences.get(name), places[name]) for name in names),
            )
            for one in results.variants
            if one.variant.name != study.reference
        ),
        "Mean of the paired differences with its 95 % confidence interval (Student's t over seeds), and in how many "
        "seeds the variant's figure is the higher one. Bold: the interval excludes 0. Intervals are not corrected for "
        "the number of comparisons.",
    )
    return [first, second]


def markdown(results: Results) -> str:
    """table.md."""
    study = results.plan.study
    blocks = [f"# {study.name}", about(results)]
    for sheet in sheets(results):
        head = "| " + " | ".join(sheet.head) + " |"
        rule = "|" + "|".join(["---", *("--:" for _ in sheet.head[1:])]) + "|"
        rows = [
            "| " + " | ".join(f"**{cell.text}**" if cell.clear else cell.text for cell in row) + " |"
            for row in sheet.rows
        ]
        blocks += [f"## {sheet.title}", "\n".join([head, rule, *rows]), sheet.note]
    return "\n\n".join(blocks) + "\n"


def terminal(sheet: Sheet) -> Table:
    """A sheet for the terminal."""
    table = Table(box=None, title=sheet.title, title_justify="left", title_style="bold", pad_edge=False)
    for place, name in enumerate(sheet.head):
        shown = name.replace(":", ":\n").replace("/", "/\n")  # where it may break
        table.add_column(shown, justify="right" if place else "left", no_wrap=not place, overflow="fold")
    for row in sheet.rows:
        table.add_row(*(Text(cell.text, style="bold" if cell.clear else "") for cell in row))
    return table


def about(results: Results) -> str:
    """Where the figures come from, in a sentence or two."""
    study = results.plan.study
    seeds = ", ".join(str(seed) for seed in study.seeds)
    text = f"Recipe `{study.base.rpartition('/')[2]}`, {len(results.variants)} variants, seeds {seeds}."
    if study.budget is not None:
        limit = (
            f"{study.budget.tokens:,} generated tokens"
            if study.budget.tokens is not None
            else f"{study.budget.cpu_seconds:g} CPU seconds"
        )
        text += f" Every variant has a budget of {limit} in `{study.budget.stage}`."
    if results.left:
        text += f" **{results.left} of {len(results.plan.runs())} runs are not finished.**"
    empty = [
        column.name for column in results.columns if not any(column.name in one.spreads for one in results.variants)
    ]
    if empty and any(one.runs for one in results.variants):
        text += f" No run has a value for {', '.join(f'`{name}`' for name in empty)}."
    commits = sorted(
        {run.summary["commit"] for one in results.variants for run in one.runs.values() if run.summary["commit"]}
    )
    if commits:
        text += f" Code: {', '.join(f'`{one}`' for one in commits)}."
    return text


def decimals(sizes: Iterable[float]) -> int:
    """Decimals that show three digits of the largest size, and thousandths of shares."""
    largest = max((size for size in sizes if math.isfinite(size)), default=0.0)
    if 0.1 <= largest <= 1 or largest == 0:
        return 3
    return min(6, max(0, 2 - math.floor(math.log10(largest))))


def _spread_cell(found: Spread | None, places: int, runs: int) -> Cell:
    if found is None:
        return Cell(NONE)
    text = _number(found.mean, places)
    if found.deviation is not None:
        text += f" \N{PLUS-MINUS SIGN} {_number(found.deviation, places)}"
    return Cell(text if found.count == runs else f"{text} (n = {found.count})")


def _difference_cell(found: Difference | None, places: int) -> Cell:
    if found is None:
        return Cell(NONE)
    text = _signed(found.mean, places)
    if found.low is not None and found.high is not None:
        text += f" [{_signed(found.low, places)}, {_signed(found.high, places)}]"
    return Cell(f"{text} {found.higher}/{found.count}", found.clear)


def _number(value: float, places: int) -> str:
    return f"{value:,.{places}f}".replace("-", "\N{MINUS SIGN}")


def _signed(value: float, places: int) -> str:
    return f"{value:+,.{places}f}".replace("-", "\N{MINUS SIGN}")
