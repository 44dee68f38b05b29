"""Programs that nobody has read: they are judged rightly, they stay inside, and nothing of them is left behind.

Every test asks the kernel: processes are looked for in /proc, files on the disk.
"""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hostile_programs import HOSTILE

from vergence.grading.code import judge_code
from vergence.grading.sandbox.limits import SandboxLimits
from vergence.grading.sandbox.run import confined, refusal
from vergence.types import AnswerType, Grading, Problem, Verdict

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "text" / "HumanEval.jsonl.gz"
QUICK = SandboxLimits(wall_seconds=10.0, cpu_seconds=3.0, case_seconds=0.5, memory_mb=256, file_mb=4)

pytestmark = pytest.mark.skipif(bool(refusal()), reason=f"programs can not be confined here: {refusal()}")


def problem(tests: dict[str, Any]) -> Problem:
    return Problem(
        "p", "?", (), "-", "all", frozenset(), "", Grading(AnswerType.CODE, tests=json.dumps({"seconds": 0.5} | tests))
    )


ADDING = problem({"kind": "stdin", "cases": [{"input": "1 2\n", "output": "3"}, {"input": "5 -5", "output": "0"}]})
SUMMING = problem(
    {"kind": "call", "function": "total", "cases": [{"input": [[1, 2]], "output": 3}, {"input": [[]], "output": 0}]}
)
DIVISOR = problem({"kind": "call", "function": "gcd", "cases": [{"input": [12, 18], "output": 6}]})
DOUBLING = problem(
    {
        "kind": "check",
        "function": "twice",
        "prompt": "def twice(n):\n",
        "tests": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(-1) == -2\n",
    }
)


@pytest.mark.parametrize(
    ("asked", "program", "verdict", "told"),
    [
        (ADDING, "print(sum(map(int, input().split())))", "correct", "2 of 2"),
        (ADDING, "import sys\nsys.stdout.write(str(eval(input().replace(' ', '+'))))\nsys.exit()", "correct", "2 of 2"),
        (ADDING, "print(3)", "wrong", "test 2 of 2: gave '3'"),
        (ADDING, "print(sum(map(int, input().split())))\n1 / 0", "wrong", "ZeroDivisionError"),
        (ADDING, "print(3", "wrong", "SyntaxError"),
        (
            SUMMING,
            "class Solution:\n    def total(self, values):\n        print('a word')\n        return sum(values)",
            "correct",
            "",
        ),
        (SUMMING, "def total(values):\n    return sum(values)", "correct", "2 of 2"),
        (SUMMING, "def total(values):\n    return [sum(values)]", "wrong", "test 1 of 2"),
        (SUMMING, "def other(values):\n    return 3", "wrong", "no function total"),
        (
            SUMMING,
            "class Same:\n    def __eq__(self, other):\n        return True\ndef total(v):\n    return Same()",
            "wrong",
            "",
        ),
        (
            SUMMING,
            "from __future__ import annotations\nfrom dataclasses import dataclass\n"
            "@dataclass\nclass Held:\n    n: int\n"
            "def total(values: List[int]) -> Optional[int]:\n    return Held(reduce(add, values, 0)).n",
            "correct",
            "2 of 2",
        ),
        (
            ADDING,
            "def down(n):\n    return 0 if n == 0 else 1 + down(n - 1)\n"
            "if __name__ == '__main__':\n    print(sum(map(int, input().split())) if pow(3, down(5000), 7) else 0)",
            "correct",
            "2 of 2",
        ),
        (DIVISOR, "def other(a, b):\n    return 1", "wrong", "no function gcd"),
        (DIVISOR, "from math import gcd", "correct", "1 of 1"),
        (DIVISOR, "def gcd(a, b):\n    return a if b == 0 else gcd(b, a % b)", "correct", "1 of 1"),
        (DOUBLING, "def twice(n):\n    return 2 * n", "correct", "1 of 1"),
        (DOUBLING, "def twice(n):\n    return n * n", "wrong", "AssertionError"),
        (DOUBLING, "import sys\ndef twice(n):\n    sys.exit(0)", "wrong", ""),
        (DOUBLING, "import os\ndef twice(n):\n    os._exit(0)", "wrong", ""),
    ],
)
def test_programs_are_judged_by_what_they_do(asked: Problem, program: str, verdict: str, told: str) -> None:
    patient = replace(asked, grading=replace(asked.grading, tests=asked.grading.tests.replace("0.5", "10")))
    grade = judge_code(patient, f"<think>hm</think>\n```python\n{program}\n```")
    assert (grade.verdict, told in grade.reason) == (verdict, True), grade.reason
    assert grade.extracted is not None


def test_no_program_is_a_wrong_answer_and_unreadable_tests_are_a_failure_of_ours() -> None:
    assert judge_code(ADDING, "I would add them.", QUICK).verdict is Verdict.WRONG
    broken = Problem("p", "?", (), "-", "all", frozenset(), "", Grading(AnswerType.CODE, tests="{}"))
    grade = judge_code(broken, "```python\nprint(3)\n```", QUICK)
    assert (grade.verdict, "kind" in grade.reason) == (Verdict.FAILED, True)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs_end_within_their_limits_and_leave_nothing_behind(name: str) -> None:
    before = own_processes()
    started = time.monotonic()
    grade = judge_code(ADDING, f"```python\n# {name}\n{HOSTILE[name]}\n```", QUICK)
    assert grade.verdict is Verdict.WRONG, grade.reason
    assert time.monotonic() - started < QUICK.wall_seconds + 5
    wait_for(lambda: own_processes() <= before, f"processes of {name} are still there")


def own_processes() -> set[int]:
    """All processes below this one, whatever session they have chosen."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            parents[int(folder.name)] = int(fields[1])
    below = {os.getpid()}
    while more := {one for one, parent in parents.items() if parent in below} - below:
        below |= more
    return below


def wait_for(condition: Callable[[], bool], message: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.02)


def inside(program: str) -> str:
    """What a program says that looks around."""
    events = list(confined({"kind": "stdin", "preface": "", "source": program, "inputs": [""]}, QUICK))
    (case,) = [event for event in events if event["event"] == "case"]
    return str(case["output"] + case["errors"])


@pytest.mark.parametrize(
    "connect",
    [
        "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_UNIX)",
        "socket.socket(40, socket.SOCK_STREAM)",  # to the host of a virtual machine
        "socket.create_connection(('127.0.0.1', 80), 1)",
        "socket.getaddrinfo('example.org', 80)[0]",
    ],
)
def test_there_is_no_way_out_through_a_socket(connect: str) -> None:
    said = inside(
        f"import socket\ntry:\n    {connect}\n    print('out')\nexcept OSError as error:\n    print('closed')"
    )
    assert said == "closed\n"


def test_the_network_is_another_one() -> None:
    said = inside(
        "import os\nprint(sorted(line.split(':')[0].strip() for line in open('/proc/net/dev') if ':' in line))"
    )
    assert said.strip() in ("['lo']", "[]")


def test_files_are_an_interpreter_to_read_and_a_folder_to_write(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("ours")
    tried = [str(tmp_path / "new"), "/usr/new", "/etc/new", "/new", "/dev/new", f"{sys.base_prefix}/new", "/proc/new"]
    program = (
        "import os\n"
        f"print(os.path.exists({str(secret)!r}), os.path.exists('/etc/passwd'), os.path.exists('/home'))\n"
        f"for path in {tried!r}:\n"
        "    try:\n        open(path, 'w')\n        print('wrote', path)\n    except OSError:\n        pass\n"
        "open('/scratch/mine', 'w').write('x')\nopen('/tmp/mine', 'w').write('x')\nprint(os.listdir('/tmp'))"
    )
    first, second = inside(program).splitlines()
    assert first == "False False False"
    assert "mine" in second
    assert not Path("/scratch/mine").exists()
    assert not Path("/tmp/mine").exists()


def test_programs_see_no_other_process_and_no_environment_of_ours() -> None:
    os.environ["VERGENCE_SECRET"] = "ours"
    try:
        said = inside("import os\nprint(len([n for n in os.listdir('/proc') if n.isdigit()]), dict(os.environ))")
    finally:
        del os.environ["VERGENCE_SECRET"]
    count, environment = said.split(" ", 1)
    assert int(count) <= 4  # guardian, driver, itself
    assert "ours" not in environment


def test_the_expected_results_are_not_inside() -> None:
    """A program that reads all it can find, the driver's memory and files included, does not find the answer."""
    marked = problem({"kind": "stdin", "cases": [{"input": "", "output": "the-answer-is-8f2a"}]})
    program = (
        "import os, glob\nfound = False\n"
        "paths = [one for kind in ('/scratch/*', '/proc/*/environ', '/proc/*/cmdline') for one in glob.glob(kind)]\n"
        "paths.append('/proc/2/mem')\n"
        "for path in paths:\n"
        "    try:\n        found = found or b'8f' + b'2a' in open(path, 'rb').read()\n"
        "    except OSError:\n        pass\n"
        "print('the-answer-is-8f' + '2a' if found else 'nothing')"
    )
    grade = judge_code(marked, f"```python\n{program}\n```", QUICK)
    assert (grade.verdict, "nothing" in grade.reason) == (Verdict.WRONG, True), grade.reason


def test_one_case_leaves_nothing_to_the_next() -> None:
    """A process or a file that outlives its case could answer the next one."""
    program = (
        "import os, time\n"
        "print(len([n for n in os.listdir('/proc') if n.isdigit()]))\n"
        "if os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)"
    )
    events = list(confined({"kind": "stdin", "preface": "", "source": program, "inputs": ["", "", ""]}, QUICK))
    counts = [event["output"].split()[0] for event in events if event["event"] == "case"]
    assert counts == ["3", "3", "3"]


def test_the_end_of_the_grader_is_the_end_of_everything() -> None:
    """SIGKILL gives nobody the chance to tidy up; the kernel does it."""
    code = (
        "from vergence.grading.sandbox.run import confined\n"
        "from vergence.grading.sandbox.limits import SandboxLimits\n"
        "source = 'import os, time\\nif os.fork() == 0:\\n    os.setsid()\\ntime.sleep(1000)'\n"
        "job = {'kind': 'stdin', 'preface': '', 'source': source, 'inputs': ['']}\n"
        "for event in confined(job, SandboxLimits(case_seconds=100.0)):\n"
        "    print(event, flush=True)\n"
    )
    before = own_processes()
    grader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert grader.stdout is not None
    assert b"confined" in grader.stdout.readline()
    started: set[int] = set()

    def all_started() -> bool:
        started.update(own_processes() - before)
        return len(started) >= 6  # grader, entry, guardian, driver, program and its child

    wait_for(all_started, "the program did not start")
    grader.send_signal(signal.SIGKILL)
    grader.wait()
    wait_for(lambda: not any(Path(f"/proc/{one}").exists() for one in started), "something outlived its grader")


def test_users_without_privileges_confine_as_well() -> None:
    """The other way in, through a user namespace, by the real calls."""
    code = (
        "import os, vergence.grading.sandbox.inside as inside\n"
        "from vergence.grading.sandbox.limits import SandboxLimits\n"
        "import vergence.grading.sandbox.kernel as kernel\n"
        "real = kernel.unshare\n"
        "def unshare(flags):\n"
        "    if not flags & kernel.NEW_USERS:\n        raise PermissionError(1, 'not for you')\n"
        "    real(flags)\n"
        "kernel.unshare = unshare\n"
        "said = lambda: inside.say({'user': os.getuid(), 'files': sorted(os.listdir('/'))})\n"
        "os._exit(inside.enter(SandboxLimits(), said))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0] == {"event": "confined"}, done.stdout + done.stderr
    assert events[1]["user"] != 0
    assert "home" not in events[1]["files"]


def test_where_nothing_can_be_confined_nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from vergence.grading import code

    monkeypatch.setattr(code, "refusal", lambda: "unshare: Operation not permitted")
    grade = judge_code(ADDING, "```python\nprint(3)\n```", QUICK)
    assert (grade.verdict, "can not be confined" in grade.reason) == (Verdict.FAILED, True)


@pytest.mark.skipif(not DATA.is_file(), reason="HumanEval is not beside the repository (shared/data)")
@pytest.mark.parametrize("part", [pytest.param(1, marks=pytest.mark.slow), 16], ids=["all", "every sixteenth"])
def test_humaneval_accepts_its_own_solutions_and_nothing_else(part: int) -> None:
    with gzip.open(DATA, "rt") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) == 164
    for row in rows[::part]:
        tests = {"kind": "check", "function": row["entry_point"], "prompt": row["prompt"], "tests": row["test"]}
        asked = problem(tests | {"seconds": 10})
        right = judge_code(asked, row["canonical_solution"])
        assert right.verdict is Verdict.CORRECT, (row["task_id"], right.reason)
        wrong = judge_code(asked, "    return None\n")
        assert wrong.verdict is Verdict.WRONG, (row["task_id"], wrong.reason)
