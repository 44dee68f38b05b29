"""Where the seconds of each stage went, and how much of its work had to be done."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from vergence.report.markup import Html, join, section, table, tag
from vergence.report.numerals import figure, fixed, percent
from vergence.report.read import Row, values

_PREFIX = "seconds/"
_ORDER = ("generate", "reward", "old", "reference", "monitor", "forward", "backward", "optimizer")
"""Phases as they follow one another in a step; a phase that is not listed comes behind them."""
_NOTE = (
    "Seconds, summed over the steps of a stage. What lies outside all phases, such as loading models and writing "
    "snapshots, is not here."
)
_WORK_NOTE = (
    " Needed: tokens that the decoders had to compute, of those that they did compute, per cent, mean over steps. "
    "Pictures: how many went through the vision tower in a step, mean over steps."
)


def time_section(metrics: Mapping[str, Sequence[Row]]) -> Html:
    """One row for each stage that logged its phases; nothing where none did."""
    spent = {stage: found for stage, rows in metrics.items() if (found := phases_of(rows))}
    if not spent:
        return Html()
    names = sorted({name for found in spent.values() for name in found}, key=_place)
    worked = any(values(metrics[stage], "work/needed_share") for stage in spent)
    columns = [*names, "all phases", *(["needed", "pictures"] if worked else [])]
    head = [tag("th", "stage"), *(tag("th", name, class_="number") for name in columns)]
    rows = []
    for stage, found in spent.items():
        cells = [*(fixed(found.get(name), 1) for name in names), fixed(sum(found.values()), 1)]
        cells += _work(metrics[stage]) if worked else []
        numbers = join(tag("td", cell, class_="number") for cell in cells)
        rows.append(tag("tr", tag("th", stage, scope="row"), numbers))
    note = _NOTE + (_WORK_NOTE if worked else "")
    return section("time", "Time and work", table(head, rows), tag("p", note, class_="note"))


def phases_of(rows: Sequence[Row]) -> dict[str, float]:
    """Phase to its seconds over all steps; single monitors are part of the phase `monitor`."""
    found: dict[str, float] = {}
    for name in dict.fromkeys(name for row in rows for name in row if name.startswith(_PREFIX)):
        phase = name.removeprefix(_PREFIX)
        phase = "monitor" if phase.startswith("monitor_") else phase
        found[phase] = found.get(phase, 0.0) + sum(values(rows, name))
    return found


def _work(rows: Sequence[Row]) -> list[str]:
    """Needed share and pictures a step; empty cells where a stage does not log them."""
    needed, encoded = values(rows, "work/needed_share"), values(rows, "work/pictures_encoded")
    return [percent(fmean(needed) if needed else None), figure(fmean(encoded)) if encoded else ""]


def _place(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER)), name
