"""A study's directory: what lies where, whose it is, and how far each of its runs has come.

study.toml      the resolved study              table.md        the tables
runs/           a run directory for each        results.json    every figure, by variant and seed
                variant and seed                figures/        curves, as SVG
shared/         stages that runs have in common failures/       what went wrong, one file a run
jobs.jsonl      one line for each process that has ended
"""

import json
from pathlib import Path
from typing import final

from vergence.errors import DirectoryError
from vergence.files import write_whole
from vergence.recipe.load import first_difference, load_recipe
from vergence.run.directory import RunDirectory
from vergence.run.journal import Journal
from vergence.study.load import load_study, study_toml
from vergence.study.plan import Job, Plan
from vergence.study.schema import Study


@final
class StudyDirectory:
    """The paths of one study."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.study = self.path / "study.toml"
        self.table = self.path / "table.md"
        self.results = self.path / "results.json"
        self.figures = self.path / "figures"
        self.failures = self.path / "failures"
        self.jobs = Journal(self.path / "jobs.jsonl")

    def run(self, job: Job) -> RunDirectory:
        """The run directory of a job."""
        return RunDirectory(self.path / job.key)

    def begun(self, job: Job) -> bool:
        """Whether its directory is there, and with it all that it shares."""
        return (self.path / job.key / "recipe.toml").is_file()

    def done(self, job: Job) -> bool:
        """Whether every stage is done and the run is summed up; the report is the last that a run writes."""
        run = self.run(job)
        if not (run.summary.is_file() and run.report.is_file()):
            return False
        return bool(json.loads(run.summary.read_text())["complete"])

    def failure(self, job: Job) -> Path:
        """Where that is kept which its process says; after a failure the last line tells why."""
        return self.failures / f"{job.key.replace('/', '.')}.txt"

    def cpu_seconds(self) -> dict[str, float]:
        """Job key to the processor seconds of its processes that have ended, all sessions together."""
        path = self.path / "jobs.jsonl"
        found: dict[str, float] = {}
        for line in path.read_text().splitlines() if path.is_file() else ():
            row = json.loads(line)
            found[row["job"]] = found.get(row["job"], 0.0) + row["cpu_seconds"]
        return found


def check_directory(directory: StudyDirectory, plan: Plan) -> None:
    """Raise DirectoryError if the directory holds something else, or runs of other settings; change nothing.

    More seeds, more variants, other figures and other columns are the same study grown.
    """
    path = directory.path
    if path.exists() and not path.is_dir():
        raise DirectoryError(f"{path}: is a file; give a directory with --out")
    if not directory.study.is_file():
        if path.is_dir() and any(entry.name != ".lock" for entry in path.iterdir()):
            raise DirectoryError(f"{path}: not empty and not a study directory; choose another --out")
        return
    known = load_study(directory.study).name
    if known != plan.study.name:
        raise DirectoryError(f'{path}: holds the study "{known}", this is "{plan.study.name}"; choose another --out')
    for job in plan.jobs:
        if directory.begun(job):
            difference = first_difference(load_recipe(str(path / job.key / "recipe.toml")), job.recipe)
            if difference:
                raise DirectoryError(
                    f"{path}: holds another study ({job.name}: {difference}); choose another --out, or repeat its "
                    "settings"
                )


def write_study(directory: StudyDirectory, study: Study) -> None:
    """Record what the directory holds."""
    write_whole(directory.study, study_toml(study))
