"""`vergence study`."""

import os
from collections.abc import Sequence
from pathlib import Path

from vergence.console import Terminal
from vergence.errors import DirectoryError, RunError
from vergence.run.directory import locked
from vergence.study.board import Board
from vergence.study.directory import StudyDirectory, check_directory, write_study
from vergence.study.plan import Job, Plan
from vergence.study.processes import run_jobs
from vergence.study.results import collect
from vergence.study.table import sheets, terminal
from vergence.study.write import write_figures, write_tables


def study_command(plan: Plan, jobs: Sequence[Job], out: Path, *, processes: int | None, quiet: bool) -> None:
    """Run what is left of these jobs of a study, then write and print its tables. Raises RunError if a run failed."""
    console = Terminal()
    directory = StudyDirectory(out)
    check_directory(directory, plan)
    if not jobs and not directory.path.is_dir():
        raise DirectoryError(f"{out}: no such study; run it first, without --table")
    directory.path.mkdir(parents=True, exist_ok=True)
    with locked(directory.path):
        write_study(directory, plan.study)
        failures = _run(jobs, directory, processes or cores(), Board(console, quiet=quiet))
        results = collect(plan, directory)
        write_tables(results, directory)
        figures = write_figures(results, directory)
    if not quiet:
        for sheet in sheets(results):
            console.print(terminal(sheet), "", sep="\n")
        console.print(f"{directory.table}, {len(figures)} figures", soft_wrap=True, highlight=False)
    if failures:
        for job, reason in failures.items():
            console.print(f"{job.name}: {reason}", highlight=False, markup=False, soft_wrap=True)
        raise RunError(f"{_jobs(len(failures))} failed ({directory.failures} tells why); run again to continue")


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(jobs: Sequence[Job], directory: StudyDirectory, processes: int, board: Board) -> dict[Job, str]:
    try:
        return run_jobs(jobs, directory, processes=processes, watch=board)
    finally:
        board.end()


def _jobs(count: int) -> str:
    return f"{count} job" if count == 1 else f"{count} jobs"
