"""`vergence data check`."""

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vergence.commands.quiet import quieten_libraries
from vergence.commands.sampling import watched
from vergence.console import Terminal
from vergence.data.download import Download
from vergence.data.layouts.known import layout_named
from vergence.data.layouts.ours import OURS
from vergence.data.lint.check import Checks, Outcome, check_set
from vergence.data.lint.clean import clean_lines
from vergence.data.lint.finding import MEANING
from vergence.data.lint.prompts import Limits, Prompts
from vergence.data.preferences import PAIRS
from vergence.data.rows import Row, Rows
from vergence.data.source import Source
from vergence.data.store import ImageStore, default_store
from vergence.errors import DataError, DirectoryError, RunError
from vergence.grading.load import grader_for
from vergence.recipe.data import DataFile, FileData
from vergence.recipe.schema import Recipe
from vergence.report.data_check import Checked, check_page
from vergence.reward.form import FORMS, TAGS
from vergence.run.checkpoint import whole_folder
from vergence.stages.gold import faults_in
from vergence.stages.prompts import longest_response, model_at_hand, prompts_for
from vergence.stages.sources import source_of
from vergence.types import Problem

CLEAN, FINDINGS, REPORT = "clean.jsonl", "findings.jsonl", "report.html"
STORE_BYTES = 10**15
"""What comes as bytes is written beside the clean set, whatever it takes; the disk is the limit."""
SAMPLES = 6
"""Of the clean set, on the report's page."""
LISTED = 12
"""Findings that are printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What both commands are told of how a set is read."""

    file: Path
    layout: str | None
    images: Path | None
    """Where paths of pictures start; None is beside the file."""
    network: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckWish:
    """What the command is told."""

    reading: Reading
    recipe: Recipe | None
    model: Path | None
    response: int | None
    """Tokens of the longest response; None is the recipe's longest."""
    out: Path | None
    strict: bool
    quiet: bool


def data_check_command(wish: CheckWish) -> None:
    """Check, write clean set, findings and report, print what was found.

    Raises DataError if the set cannot be opened, DirectoryError if the folder is in use for something else, and
    RunError where `strict` and anything was found.
    """
    quieten_libraries()
    file = wish.reading.file
    out = (wish.out or Path(f"{file.stem or file.name}-check")).absolute()
    check_folder(out, FINDINGS)
    source = as_pairs(source_for(wish.reading, wish.recipe))
    prompts = prompts_of(wish)
    limits = prompts.limits if prompts else Limits(0, 0)
    form = FORMS[wish.recipe.grading.form] if wish.recipe else TAGS
    with whole_folder(out) as folder, grader_for() as grader:
        store = ImageStore(folder / "images", limit_bytes=STORE_BYTES)
        checks = Checks(
            pairs=has_pairs(source),
            gold=lambda problems: faults_in(problems, grader, form),
            keep=store.keep,
            prompts=prompts,
        )
        with watched("check", len(source.rows()), 0, quiet=wish.quiet) as progress:
            outcome = check_set(source, checks, lambda done, of: progress.step(done, of, {}))
        left_out = outcome.left_out
        with (folder / CLEAN).open("w", encoding="utf-8") as lines:
            lines.writelines(clean_lines(source, left_out, folder, store.keep))
        with (folder / FINDINGS).open("w", encoding="utf-8", errors="backslashreplace") as lines:
            lines.writelines(json.dumps(one.row(), ensure_ascii=False) + "\n" for one in outcome.findings)
        samples = samples_of(source, outcome, store)
        checked = Checked(str(file), source.layout.name, outcome, limits, samples)
        (folder / REPORT).write_text(check_page(checked), encoding="ascii")
    if not wish.quiet:
        print_outcome(Terminal(), outcome, out)
    if wish.strict and outcome.faults:
        raise RunError(f"{file}: {len(outcome.faults)} findings in {outcome.rows} rows; see {out / REPORT}")


def source_for(reading: Reading, recipe: Recipe | None) -> Source:
    """How the file is read: as the recipe reads it, if there is one, and as is said beside it."""
    source = (
        Source(reading.file) if recipe is None else source_of(recipe.data, reading.file, role_of(recipe, reading.file))
    )
    if reading.layout is not None:
        source = replace(source, layout=layout_named(reading.layout))
    if reading.images is not None:
        source = replace(source, images=reading.images.absolute())
    return replace(source, fetch=Download(default_store())) if reading.network else source


def role_of(recipe: Recipe, file: Path) -> DataFile:
    """Which of a recipe's data files this is; any other is read as its training data."""
    data = recipe.data
    roles: tuple[DataFile, ...] = ("train", "captions", "tuning", "test", "probe")
    named = {role: getattr(data, role) for role in roles} if isinstance(data, FileData) else {}
    return next((role for role, path in named.items() if path == file.resolve()), "train")


def as_pairs(source: Source) -> Source:
    """The same set, with the lenient layout of pairs if its first readable row is one of ours."""
    return replace(source, layout=PAIRS) if source.layout is OURS and "chosen" in first_row(source.rows()) else source


def first_row(rows: Rows) -> Row:
    """The first that can be read; empty where none can."""
    for index in range(len(rows)):
        with suppress(DataError):  # the check itself will name what is wrong with the row
            return rows[index]
    return {}


def has_pairs(source: Source) -> bool:
    """Whether the rows are preference pairs, by the first that is of the layout."""
    if source.layout is PAIRS:
        return True
    rows = source.rows()
    for index in range(len(rows)):
        with suppress(DataError):
            return bool(source.draft(rows, index).chosen)
    return False


def prompts_of(wish: CheckWish) -> Prompts | None:
    """How prompts are made and counted, and what they must fit into; None where no model is named."""
    model = wish.model or (model_at_hand(wish.recipe) if wish.recipe else None)
    response = wish.response if wish.response is not None else longest_response(wish.recipe)
    return None if model is None else prompts_for(model, response)


def samples_of(source: Source, outcome: Outcome, store: ImageStore) -> list[Problem]:
    """A few problems of the clean set, from its beginning to its end."""
    rows = source.rows()
    places = [index for index in range(len(rows)) if index not in outcome.left_out]
    chosen = places[:: max(1, len(places) // SAMPLES)][:SAMPLES]
    return [source.problem(rows, index, store.keep) for index in chosen]


def check_folder(out: Path, mark: str) -> None:
    """Raises DirectoryError if the folder is there and holds something else than what this command wrote."""
    if out.exists() and not (out / mark).is_file():
        raise DirectoryError(f"{out}: is there already and holds no {mark}; choose another --out")
    if not out.parent.is_dir():
        raise DirectoryError(f"{out.parent}: no such directory; create it, or choose another --out")


def print_outcome(console: Console, outcome: Outcome, out: Path) -> None:
    """What was found, counted and in examples, and where it is written."""
    left = len(outcome.left_out)
    console.print(f"{outcome.rows:,} rows, {outcome.pictures:,} pictures", highlight=False)
    if outcome.findings:
        table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
        table.add_column("fault")
        table.add_column("findings", justify="right")
        table.add_column("what it means")
        for fault, count in outcome.counts().items():
            table.add_row(str(fault), f"{count:,}", MEANING[fault])
        console.print(table, highlight=False)
        for one in outcome.findings[:LISTED]:
            name = f' "{one.id}"' if one.id else ""
            console.print(f"{one.where}{name}: {one.fault}: {one.text}", highlight=False, markup=False, soft_wrap=True)
        if len(outcome.findings) > LISTED:
            console.print(f"... and {len(outcome.findings) - LISTED:,} more", highlight=False)
    lines = (
        f"clean set: {out / CLEAN} ({outcome.rows - left:,} rows, {left:,} left out)",
        f"findings:  {out / FINDINGS}",
        f"report:    {out / REPORT}",
    )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
