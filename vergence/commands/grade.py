"""`vergence grade`."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from rich.table import Table

from vergence.console import Terminal
from vergence.errors import DataError, RunError
from vergence.files import whole_file
from vergence.grading.limits import Limits
from vergence.grading.load import grader_for
from vergence.grading.rows import Row, read_rows
from vergence.grading.tally import Agreement, Tally
from vergence.terminal import say
from vergence.types import Grader, Verdict

Write = Callable[[str], object]
"""What takes a line."""

BATCH = 2000
"""Rows that are in memory at a time."""


def grade_command(path: Path, out: Path | None, *, check: bool, workers: int, cpu_seconds: float) -> None:
    """Grade a file. Lines go to `out`, whole or not at all, or to standard output; the counts to the other one.

    With `check`, raises RunError where a verdict is not what its label says, after everything has been written.
    """
    unlabelled = sum(row.label is None for row in read_rows(path))  # the whole file is looked at before any grading
    if check and unlabelled:
        raise DataError(f'{path}: {unlabelled} rows have no "label"; --check needs true or false in every row')
    tally = Tally()
    limits = Limits(workers=workers, cpu_seconds=cpu_seconds, wall_seconds=max(300.0, 60 * cpu_seconds))
    with _target(out, quiet=check) as write, grader_for(limits) as grader:
        rows = read_rows(path)
        while batch := list(islice(rows, BATCH)):
            _grade(path, batch, grader, tally, write)
    console = Terminal(stderr=out is None and not check)
    console.print(counts_table(tally), highlight=False)
    for reason, count in tally.failures.most_common(5):
        console.print(f"failed, {count} times: {reason}", highlight=False, markup=False, soft_wrap=True)
    if check:
        console.print(agreement_table(tally), highlight=False)
        for line in tally.disagreements:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        found = tally.agreement
        if found.agreeing < found.rows:
            raise RunError(
                f"{path}: {found.rows - found.agreeing} of {found.rows} verdicts are not what the label says"
            )


def _grade(path: Path, batch: list[Row], grader: Grader, tally: Tally, write: Write | None) -> None:
    grades = grader.grade([(row.problem, row.prediction) for row in batch])
    for row, grade in zip(batch, grades, strict=True):
        tally.add(f"{path}, line {row.number}", row.problem.grading.type, grade, row.label)
        if write is not None:
            found = {"verdict": grade.verdict, "extracted": grade.extracted, "reason": grade.reason}
            write(json.dumps(row.content | found) + "\n")


@contextmanager
def _target(out: Path | None, *, quiet: bool) -> Iterator[Write | None]:
    """Where graded lines go. A file has its name only when it is whole; with --check and no file they go nowhere."""
    if out is None:
        yield None if quiet else lambda line: say(line, end="")
        return
    with whole_file(out) as file:
        yield lambda line: file.write(line.encode())


def counts_table(tally: Tally) -> Table:
    """Verdicts by type; the last column leaves out what could not be judged."""
    table = Table(box=None, pad_edge=False)
    table.add_column("type")
    for heading in (*Verdict, "right"):
        table.add_column(heading, justify="right")
    for kind, counts in sorted(tally.verdicts.items()):
        judged = counts[Verdict.CORRECT] + counts[Verdict.WRONG]
        share = f"{100 * counts[Verdict.CORRECT] / judged:.1f} %" if judged else "-"
        table.add_row(kind, *(str(counts[verdict]) for verdict in Verdict), share)
    return table


def agreement_table(tally: Tally) -> Table:
    """How verdicts agree with labels, by type and in all."""
    table = Table(box=None, pad_edge=False)
    table.add_column("type")
    for heading in ("rows", "agree", "wrongly right", "wrongly wrong", "failed"):
        table.add_column(heading, justify="right")
    for kind, counts in sorted(tally.labelled.items()):
        _agreement_row(table, kind, Agreement.of(counts))
    _agreement_row(table, "all", tally.agreement)
    return table


def _agreement_row(table: Table, name: str, found: Agreement) -> None:
    counts = (found.false_positives, found.false_negatives, found.failed)
    table.add_row(name, str(found.rows), f"{100 * found.share:.2f} %", *(str(count) for count in counts))
