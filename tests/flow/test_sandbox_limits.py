"""What a confined program may not do, tried inside: memory beyond its limit, new namespaces, capabilities, its judge.

Each way in is tried, as root and through a namespace of users; the kernel gives the answers.
"""

import json
import os
import platform
from collections.abc import Callable
from typing import Any

import pytest

from vergence.grading.code import judge_code
from vergence.grading.sandbox import run
from vergence.grading.sandbox.limits import SandboxLimits
from vergence.grading.sandbox.run import confined, refusal
from vergence.types import AnswerType, Grading, Problem, Verdict

LIMITS = SandboxLimits(wall_seconds=30.0, cpu_seconds=10.0, case_seconds=5.0, memory_mb=200, file_mb=150)
MACHINE = {"x86_64": "x86", "aarch64": "arm"}.get(platform.machine())
CALLS = {
    "clone": {"x86": 56, "arm": 220},
    "clone3": {"x86": 435, "arm": 435},
    "shmget": {"x86": 29, "arm": 194},
    "semget": {"x86": 64, "arm": 190},
    "msgget": {"x86": 68, "arm": 186},
    "memfd_create": {"x86": 319, "arm": 279},
    "memfd_secret": {"x86": 447, "arm": 447},
    "vmsplice": {"x86": 278, "arm": 75},
}

pytestmark = [
    pytest.mark.skipif(bool(refusal()), reason=f"programs can not be confined here: {refusal()}"),
    pytest.mark.skipif(MACHINE is None, reason="numbers of system calls are known for two machines"),
]

Inside = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(params=["as root", "as a user"])
def inside(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """What comes of a program, by either way into a confinement."""
    if request.param == "as root" and os.geteuid() != 0:
        pytest.skip("these tests do not run as root")
    if request.param == "as a user" and os.geteuid() == 0:
        not_as_root = (
            "import vergence.grading.sandbox.kernel as kernel\n"
            "real = kernel.unshare\n"
            "def unshare(flags):\n"
            "    if not flags & kernel.NEW_USERS:\n        raise PermissionError(1, 'not for you')\n"
            "    real(flags)\n"
            "kernel.unshare = unshare\n"
        )
        beginning, end = run._ENTRY.split("; from vergence")
        entry = f"{beginning}\n{not_as_root.replace('{', '{{').replace('}', '}}')}from vergence{end}"
        monkeypatch.setattr(run, "_ENTRY", entry)

    def events(program: str) -> list[dict[str, Any]]:
        found = list(confined({"kind": "stdin", "preface": "", "source": program, "inputs": [""]}, LIMITS))
        assert found[0] == {"event": "confined"}, found
        return found[1:]

    return events


def said(events: list[dict[str, Any]]) -> dict[str, Any]:
    (case,) = events
    assert case["ended"] == "done", case
    return dict(json.loads(case["output"]))


TRIED = """
import ctypes, errno, json, mmap, os
CALLS = {calls}
libc = ctypes.CDLL(None, use_errno=True)
found = {{}}

def call(name, *arguments):
    ctypes.set_errno(0)
    given = libc.syscall(CALLS.get(name, name), *arguments)
    if given == 0 and 'clone' in str(name) and not os.getpid() == me:
        os._exit(0)
    return errno.errorcode.get(ctypes.get_errno(), 'let') if given < 0 else 'let'

def try_(name, function, *arguments, **named):
    try:
        function(*arguments, **named)
        found[name] = 'let'
    except OSError as error:
        found[name] = errno.errorcode[error.errno]

me = os.getpid()
for name in ('shmget', 'semget', 'msgget'):
    found[name] = call(name, 0, 1, 0o1600)
found['memfd_create'] = call('memfd_create', b'x', 0)
found['memfd_secret'] = call('memfd_secret', 0)
found['vmsplice'] = call('vmsplice', os.pipe()[1], None, 0, 0)
try_('shared', mmap.mmap, -1, 4096)
try_('huge', mmap.mmap, -1, 1 << 21, flags=0x40000 | mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
try_('zero', open, '/dev/zero')
try_('shm', open, '/dev/shm/x', 'w')
new = {{'users': 0x10000000, 'mounts': 0x20000, 'processes': 0x20000000, 'network': 0x40000000, 'ipc': 0x08000000}}
for name, flag in new.items():
    found['unshare ' + name] = errno.errorcode[ctypes.get_errno()] if libc.unshare(flag) < 0 else 'let'
    found['clone ' + name] = call('clone', flag | 17, 0, 0, 0, 0)
    found['clone3 ' + name] = call('clone3', (ctypes.c_uint64 * 11)(flag, 0, 0, 0, 17), 88)
found['clone3'] = call('clone3', (ctypes.c_uint64 * 11)(0, 0, 0, 0, 17), 88)
print(json.dumps(found))
"""


def test_memory_that_belongs_to_no_process_and_new_namespaces_are_refused(inside: Inside) -> None:
    calls = {name: numbers[MACHINE or ""] for name, numbers in CALLS.items()}
    found = said(inside(TRIED.format(calls=calls)))
    absent = {"zero", "shm"}
    unknown = {name for name in found if name.startswith("clone3")}  # so that libraries fall back to clone
    expected = {name: "ENOENT" if name in absent else "ENOSYS" if name in unknown else "EPERM" for name in found}
    assert expected == found
    assert len(found) == 26


def test_threads_children_private_mappings_files_and_event_loops_still_work(inside: Inside) -> None:
    program = """
import asyncio, json, mmap, os, subprocess, sys, threading
found = {}
thread = threading.Thread(target=lambda: found.update(thread=1))
thread.start()
thread.join()
found['child'] = subprocess.run([sys.executable, '-I', '-c', 'print(2)'], capture_output=True, text=True).stdout
private = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
private[:1] = b'3'
found['private'] = private[:1].decode()
with open('/scratch/file', 'wb+') as file:
    file.truncate(4096)
    mmap.mmap(file.fileno(), 4096)[:1] = b'4'
found['file'] = open('/scratch/file', 'rb').read(1).decode()
async def five():
    await asyncio.sleep(0)
    return 5
found['loop'] = asyncio.run(five())
print(json.dumps(found))
"""
    assert {"thread": 1, "child": "2\n", "private": "3", "file": "4", "loop": 5} == said(inside(program))


def test_no_capability_of_any_kind_is_left(inside: Inside) -> None:
    program = (
        "import json\nrows = [line.split(':') for line in open('/proc/self/status')]\n"
        "print(json.dumps({name: value.split() for name, value in rows if name[:3] in ('Cap', 'Uid', 'NoN', 'Sec')}))"
    )
    found = said(inside(program))
    assert {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} <= found.keys()
    assert all(int(value[0], 16) == 0 for name, value in found.items() if name.startswith("Cap"))
    assert ["1"] == found["NoNewPrivs"]
    assert ["2"] == found["Seccomp"]
    assert "0" not in found["Uid"]


BEYOND = {
    "files count as memory": """
for n in range(14):
    open(f'/scratch/{n}', 'wb').write(bytes(10 ** 7))
held = bytearray(b'x') * (90 * 10 ** 6)
time.sleep(10)
""",
    "a mapped file that is mapped no more counts": """
import mmap
with open('/scratch/file', 'wb+') as file:
    file.truncate(140 * 10 ** 6)
    shared = mmap.mmap(file.fileno(), 140 * 10 ** 6)
for place in range(0, len(shared), 4096):
    shared[place] = 1
shared.close()
held = bytearray(b'x') * (90 * 10 ** 6)
time.sleep(10)
""",
    "memory counts when the first thread has ended": """
import ctypes, threading
def rest():
    time.sleep(0.1)
    held = bytearray(b'x') * (80 * 10 ** 6)
    time.sleep(10)
for _ in range(2):
    os.fork()
threading.Thread(target=rest).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)
""",
    "what sockets hold counts": """
import socket
for _ in range(12):
    if os.fork() == 0:
        break
held = [socket.socketpair() for _ in range(28)]
for one, _ in held:
    one.setblocking(False)
    try:
        while True:
            one.send(bytes(10 ** 5))
    except BlockingIOError:
        pass
time.sleep(10)
""",
}


@pytest.mark.parametrize("name", BEYOND)
def test_there_is_one_limit_for_all_memory(inside: Inside, name: str) -> None:
    (event,) = inside(f"import os, time\n{BEYOND[name]}")
    assert ("limit", "memory") == (event["event"], event.get("limit")), event


ATTACKS = {
    "kills it": "os.kill(os.getppid(), signal.SIGKILL)",
    "kills everybody": "os.kill(-1, signal.SIGKILL)",
    "ends it gently": "os.kill(os.getppid(), signal.SIGTERM)",
    "interrupts it": "os.kill(os.getppid(), signal.SIGINT)",
    "stops it": "os.kill(os.getppid(), signal.SIGSTOP)",
    "takes its files": "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))",
    "takes its time": "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))",
    "takes the guardian's files": "resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))",
    "interrupts the guardian": "os.kill(1, signal.SIGINT)",
    "smashes its stack": "ctypes.string_at(0)",
    "leaves at once": "os._exit(0)",
    "closes everything": "os.closerange(0, 64)",
    "leaves a child to kill it": "if os.fork() == 0:\n    os.setsid()\n    time.sleep(0.2)\n    os.kill(-1, 9)",
}


@pytest.mark.parametrize(
    ("inside", "name"),
    [*(("as a user", name) for name in ATTACKS), ("as root", "kills it"), ("as root", "kills everybody")],
    indirect=["inside"],  # by the way of users a program may signal even the guardian
)
def test_a_program_that_attacks_its_judge_is_wrong_and_no_failure_of_ours(inside: Inside, name: str) -> None:
    """A failure is in no mean, so such a program would have cost its writer nothing."""
    tests = {
        "kind": "stdin",
        "seconds": 5,
        "cases": [{"input": "1 2\n", "output": "3"}, {"input": "2 2", "output": "4"}],
    }
    asked = Problem("p", "?", (), "-", "all", frozenset(), "", Grading(AnswerType.CODE, tests=json.dumps(tests)))
    source = f"import ctypes, os, resource, signal, time\n{ATTACKS[name]}\ntime.sleep(0.5)\n"
    grade = judge_code(asked, f"```python\n{source}```", LIMITS)
    assert grade.verdict is Verdict.WRONG, grade.reason
