"""Jobs in processes of their own, with a small program in the place of a run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unit.study.builders import finish, plan_of
from vergence.study.begin import begin_run
from vergence.study.directory import StudyDirectory
from vergence.study.plan import Job, Plan
from vergence.study.processes import Standing, run_jobs, wanted_jobs

VARIANTS = {"plain": {}, "short": {"set": ["stage.grpo.steps=9"]}, "no-mpo": {"without": ["mpo"]}}
WORK = """
import json, os, pathlib, sys, time
path = pathlib.Path(sys.argv[1])
journal = path.parents[2] / "order.txt"
with journal.open("a") as file:
    file.write(f"begin {path.relative_to(path.parents[2])} {os.environ['OMP_NUM_THREADS']}\\n")
mark = path / "checkpoints" / "mark"
mark.parent.mkdir(exist_ok=True)
if FAIL in str(path):
    print("a warning")
    sys.exit("vergence: it broke")
time.sleep(0.1)
mark.with_name(path.parent.name).write_text("")
(path / "summary.json").write_text(json.dumps({"complete": True}))
(path / "report.html").write_text("")
with journal.open("a") as file:
    file.write(f"end {path.relative_to(path.parents[2])}\\n")
"""


@pytest.fixture
def directory(tmp_path: Path) -> StudyDirectory:
    return StudyDirectory(tmp_path)


def working(fail: str = "nothing"):
    """The command of a run that takes a tenth of a second, and fails where its path has `fail` in it."""
    return lambda path: [sys.executable, "-S", "-c", WORK.replace("FAIL", repr(fail)), str(path)]


def run(plan: Plan, directory: StudyDirectory, fail: str = "nothing", processes: int = 2) -> dict[str, str]:
    failures = run_jobs(
        plan.jobs, directory, processes=processes, watch=lambda standing, job: None, command=working(fail)
    )
    return {job.name: reason for job, reason in failures.items()}


def order(directory: StudyDirectory) -> list[str]:
    return (directory.path / "order.txt").read_text().splitlines()


def test_every_job_runs_once_behind_the_one_it_needs_with_one_thread(directory: StudyDirectory):
    plan = plan_of(VARIANTS, seeds=(0, 1))
    assert run(plan, directory) == {}
    lines = order(directory)
    assert sorted(lines) == sorted(
        [f"begin {job.key} 1" for job in plan.jobs] + [f"end {job.key}" for job in plan.jobs]
    )
    for job in plan.jobs:
        if job.parent is not None:
            assert lines.index(f"end {job.parent.key}") < lines.index(f"begin {job.key} 1")
            shared = directory.path / job.parent.key / "checkpoints" / "seed-0"
            assert (directory.path / job.key / "checkpoints" / "seed-0").exists() == shared.exists()
    assert not directory.failures.exists()


def test_no_more_processes_run_than_asked_for(directory: StudyDirectory):
    seen: list[Standing] = []
    plan = plan_of(VARIANTS, seeds=(0, 1))
    run_jobs(plan.jobs, directory, processes=2, watch=lambda standing, job: seen.append(standing), command=working())
    assert max(len(standing.running) for standing in seen) == 2
    assert (seen[-1].done, seen[-1].failed, seen[-1].total, seen[-1].running) == (6, 0, 6, ())


def test_one_process_works_seed_by_seed(directory: StudyDirectory):
    plan = plan_of(VARIANTS, seeds=(0, 1))
    run(plan, directory, processes=1)
    assert [f"begin {job.key} 1" for job in plan.jobs] == [
        line for line in order(directory) if line.startswith("begin")
    ]


def test_a_failure_stops_neither_the_others_nor_the_next_session(directory: StudyDirectory):
    plan = plan_of(VARIANTS)
    assert run(plan, directory, fail="runs/short") == {"short, seed 0": "vergence: it broke"}
    kept = directory.failures / "runs.short.seed-0.txt"
    assert kept.read_text().splitlines()[-1] == "vergence: it broke"
    assert len([line for line in order(directory) if line.startswith("end")]) == 4

    (directory.path / "order.txt").unlink()
    assert run(plan, directory) == {}
    assert order(directory) == ["begin runs/short/seed-0 1", "end runs/short/seed-0"]
    assert not directory.failures.exists()


def test_what_hangs_under_a_failed_beginning_is_not_begun(directory: StudyDirectory):
    failures = run(plan_of(VARIANTS), directory, fail="/mpo-")
    reason = "not begun, because mpo failed: vergence: it broke"
    assert failures == {"mpo, seed 0": "vergence: it broke", "plain, seed 0": reason, "short, seed 0": reason}
    assert not (directory.path / "runs" / "plain" / "seed-0").exists()
    assert (directory.path / "runs" / "no-mpo" / "seed-0" / "report.html").exists()


def test_processes_that_die_without_a_word_or_leave_nothing_are_failures(directory: StudyDirectory):
    (job,) = plan_of({"plain": {}}).jobs
    for code, reason in (("import os; os.kill(os.getpid(), 9)", "exit code -9"), ("pass", "exit code 0")):
        failures = run_jobs(
            [job],
            directory,
            processes=1,
            watch=lambda standing, job: None,
            command=lambda path, code=code: [sys.executable, "-S", "-c", code],
        )
        assert reason in failures[job]
        assert reason in directory.failure(job).read_text()


def test_processor_seconds_add_up_over_sessions(directory: StudyDirectory):
    (job,) = plan_of({"plain": {}}).jobs
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    for _ in range(2):
        run_jobs(
            [job],
            directory,
            processes=1,
            watch=lambda standing, job: None,
            command=lambda path: [sys.executable, "-S", "-c", busy],
        )
    assert 0.6 <= directory.cpu_seconds()[job.key] < 2.0
    assert [1, 1] == [json.loads(line)["exit"] + 1 for line in (directory.path / "jobs.jsonl").read_text().splitlines()]


def begin(directory: StudyDirectory, *jobs: Job) -> None:
    for job in jobs:
        begin_run(directory.path / job.key, job.recipe, None)


def test_what_is_left_to_do(directory: StudyDirectory):
    """Jobs of this plan: reward_model <- mpo <- (plain, short), reward_model <- no-mpo."""
    plan = plan_of(VARIANTS)
    first, mpo, plain, short, no_mpo = plan.jobs
    assert wanted_jobs(plan.jobs, directory) == list(plan.jobs)
    begin(directory, plain, short)
    assert wanted_jobs(plan.jobs, directory) == [first, plain, short, no_mpo]  # mpo has been taken from already
    begin(directory, first)
    finish(directory.path / first.key)
    assert wanted_jobs(plan.jobs, directory) == [plain, short, no_mpo]
    finish(directory.path / plain.key)
    assert wanted_jobs(plan.jobs, directory) == [short, no_mpo]
    assert mpo not in wanted_jobs(plan.jobs, directory)


PARENT = """
import pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so would this one
sys.path.insert(0, "tests")
from unit.study.builders import plan_of
from vergence.study.directory import StudyDirectory
from vergence.study.processes import run_jobs

child = '''
import os, pathlib, sys, time
from vergence.commands.lifeline import stop_with_input
stop_with_input()
pathlib.Path(sys.argv[1], "pid").write_text(str(os.getpid()))
time.sleep(60)
'''
run_jobs(
    plan_of({"plain": {}}).jobs,
    StudyDirectory(pathlib.Path(sys.argv[1])),
    processes=1,
    watch=lambda standing, job: None,
    command=lambda path: [sys.executable, "-c", child, str(path)],
)
"""


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_however_a_study_ends_its_processes_end_too(tmp_path: Path, kind: signal.Signals):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stderr=subprocess.DEVNULL)
    noted = tmp_path / "runs" / "plain" / "seed-0" / "pid"
    wait_until(lambda: noted.exists() and noted.read_text() != "")
    pid = int(noted.read_text())
    parent.send_signal(kind)
    parent.wait(20)
    wait_until(lambda: not alive(pid))


def wait_until(true) -> None:
    for _ in range(400):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it never came to that")


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits to be noticed does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.is_file() and status.read_text().rpartition(")")[2].split()[0] == "Z")
