"""Runs the jobs of a plan, each in a process of its own, as many at a time as asked for."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from vergence.files import write_whole
from vergence.study.begin import begin_run
from vergence.study.directory import StudyDirectory
from vergence.study.held import HeldInputs
from vergence.study.plan import Job

POLL_SECONDS = 0.05
GRACE_SECONDS = 10.0
"""How long a process may take to end once its input has ended."""
ONE_THREAD: Mapping[str, str] = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a study is."""

    running: tuple[Job, ...]
    done: int
    """Variants with a seed, those of earlier sessions included."""
    failed: int
    total: int


Watch = Callable[[Standing, Job | None], None]
"""Called with where the study is, and the job that has just ended well, if one has."""


@dataclass(frozen=True, slots=True, eq=False)
class _Process:
    job: Job
    child: subprocess.Popen[bytes]
    began: float


def wanted_jobs(jobs: Sequence[Job], directory: StudyDirectory) -> list[Job]:
    """What is left to do: variants that are not done, and shared stages that one of them has still to begin from."""
    wanted: set[str] = set()
    for job in reversed(jobs):  # a job stands behind its parent
        needed = job.variant is not None or job.key in wanted
        if needed and not directory.done(job):
            wanted.add(job.key)
            if job.parent is not None and not directory.begun(job):
                wanted.add(job.parent.key)
        else:
            wanted.discard(job.key)
    return [job for job in jobs if job.key in wanted]


def vergence_run(path: Path) -> list[str]:
    """The command that fills the run directory `path`; it ends when its standard input does."""
    recipe = str(path / "recipe.toml")
    return [sys.executable, "-m", "vergence", "run", recipe, "--out", str(path), "--quiet", "--until-input-ends"]


def run_jobs(
    jobs: Sequence[Job],
    directory: StudyDirectory,
    *,
    processes: int,
    watch: Watch,
    command: Callable[[Path], list[str]] = vergence_run,
) -> dict[Job, str]:
    """Run what is left of the jobs, in their order as far as shared stages allow; returns the failures.

    A job that fails does not stop the others, apart from those that begin from it. However this function is left, no
    process of it goes on: each of them ends when its standard input does, which is held by this process.
    """
    waiting = wanted_jobs(jobs, directory)
    crew = _Crew(directory, command, total=sum(job.variant is not None for job in jobs), left=len(_variants(waiting)))
    try:
        while waiting or crew.running:
            for job in [job for job in waiting if crew.may_start(job, waiting)]:
                if len(crew.running) < processes:
                    waiting.remove(job)
                    crew.start(job)
            watch(crew.standing(), None)
            while not (over := crew.ended()):
                time.sleep(POLL_SECONDS)
            for job in over:
                watch(crew.standing(), None if job in crew.failures else job)
            waiting = [job for job in waiting if not crew.hopeless(job)]
    finally:
        crew.dismiss()
    return crew.failures


@final
class _Crew:
    """The processes at work."""

    def __init__(
        self, directory: StudyDirectory, command: Callable[[Path], list[str]], *, total: int, left: int
    ) -> None:
        self._directory, self._command = directory, command
        self._total, self._done = total, total - left
        self._held = HeldInputs(directory.path)
        self.running: list[_Process] = []
        self.failures: dict[Job, str] = {}

    def standing(self) -> Standing:
        """Where the study is now."""
        running = tuple(process.job for process in self.running)
        return Standing(running, self._done, len(_variants(self.failures)), self._total)

    def may_start(self, job: Job, waiting: Sequence[Job]) -> bool:
        """Whether what it begins from is there."""
        if job.parent is None or self._directory.begun(job):
            return True
        return job.parent not in waiting and job.parent not in self.failures and self._directory.done(job.parent)

    def hopeless(self, job: Job) -> bool:
        """Whether the shared stages that it would begin from have failed; then so has the job."""
        parent = job.parent
        if parent is None or parent not in self.failures or self._directory.begun(job):
            return False
        self.failures[job] = f"not begun, because {', '.join(parent.stages)} failed: {self.failures[parent]}"
        return True

    def start(self, job: Job) -> None:
        """Begin or continue its run directory."""
        path = self._directory.path / job.key
        if not self._directory.begun(job):
            parent = self._directory.path / job.parent.key if job.parent else None
            begin_run(path, job.recipe, parent, self._held.of(job.recipe))
        output = self._directory.failure(job)
        output.parent.mkdir(exist_ok=True)
        with output.open("wb") as file:
            child = subprocess.Popen(
                self._command(path),
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ONE_THREAD},
                start_new_session=True,  # an interrupt from the keyboard reaches this process alone
            )
        self.running.append(_Process(job, child, time.monotonic()))

    def ended(self) -> list[Job]:
        """Those that have ended since the last call, well or not."""
        over: list[Job] = []
        for process in list(self.running):
            pid, status, usage = os.wait4(process.child.pid, os.WNOHANG)
            if pid == 0:
                continue
            process.child.returncode = os.waitstatus_to_exitcode(status)
            self.running.remove(process)
            self._record(process, usage.ru_utime + usage.ru_stime)
            over.append(process.job)
        return over

    def dismiss(self) -> None:
        """End what is still running."""
        for process in self.running:
            _end_input(process.child)
        for process in self.running:
            try:
                process.child.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.child.kill()
                process.child.wait()
            self._directory.failure(process.job).unlink()
        if self._directory.failures.is_dir() and not any(self._directory.failures.iterdir()):
            self._directory.failures.rmdir()

    def _record(self, process: _Process, cpu_seconds: float) -> None:
        _end_input(process.child)
        job, code = process.job, process.child.returncode
        seconds = time.monotonic() - process.began
        self._directory.jobs.append({"job": job.key, "seconds": seconds, "cpu_seconds": cpu_seconds, "exit": code})
        said = self._directory.failure(job)
        if code == 0 and self._directory.done(job):
            said.unlink()
            self._done += job.variant is not None
            return
        lines = said.read_text(errors="replace").strip().splitlines()
        self.failures[job] = lines[-1] if lines else f"ended with exit code {code}, without a word"
        if not lines:
            write_whole(said, self.failures[job] + "\n")


def _end_input(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        child.stdin.close()


def _variants(jobs: Iterable[Job]) -> list[Job]:
    return [job for job in jobs if job.variant is not None]
