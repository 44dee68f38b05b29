"""What a study leaves beside its runs: tables, every figure as data, curves and seeds as pictures."""

import json
import re
from pathlib import Path

from vergence.files import write_whole
from vergence.study.curves import bands
from vergence.study.directory import StudyDirectory
from vergence.study.plot import curves_svg, seeds_svg
from vergence.study.results import Results, as_json
from vergence.study.schema import FigureSection
from vergence.study.table import markdown

AXES = {"step": "step", "tokens": "generated tokens", "cpu_seconds": "CPU seconds"}


def write_tables(results: Results, directory: StudyDirectory) -> None:
    """table.md and results.json."""
    write_whole(directory.table, markdown(results))
    write_whole(directory.results, json.dumps(as_json(results, directory), indent=2) + "\n")


def write_figures(results: Results, directory: StudyDirectory) -> list[Path]:
    """The pictures that there are data for: one for each `[[figure]]` and one for each column of the table."""
    pictures: dict[str, str] = {}
    for figure in results.plan.study.figure:
        runs = {
            one.variant.name: list(one.runs.values())
            for one in results.variants
            if not figure.variants or one.variant.name in figure.variants
        }
        found = bands(figure, runs)
        if found:
            title, name = f"{figure.stage}: {figure.metric}", figure_name(figure)
            again = sum(other.startswith(name) for other in pictures)  # other variants of the same metric
            pictures[f"{name}-{again + 1}" if again else name] = curves_svg(title, AXES[figure.against], found)
    for column in results.columns:
        dots = {one.variant.name: list(one.values[column.name].values()) for one in results.variants}
        dots = {name: values for name, values in dots.items() if values}
        if dots:
            pictures[f"column-{_plain(column.name)}"] = seeds_svg(column.name, dots)
    directory.figures.mkdir(exist_ok=True)
    paths = []
    for name, picture in pictures.items():
        paths.append(directory.figures / f"{name}.svg")
        write_whole(paths[-1], picture)
    return paths


def figure_name(figure: FigureSection) -> str:
    """The name of a figure's file, without its ending."""
    return _plain(f"{figure.stage}-{figure.metric}-{figure.against}")


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-")
