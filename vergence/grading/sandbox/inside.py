"""The inside of a confinement, from the first process that the kernel lets in to the programs that nobody has read.

    entry      outside; waits                                      `enter`
    guardian   process 1 inside: counts CPU and memory of all      `_guard`
    driver     runs the test cases one after the other             the function that `enter` is given
    programs   whatever they are

When the guardian ends, the kernel ends everything that was ever started inside, however it hid.
"""

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from vergence.grading.sandbox import kernel
from vergence.grading.sandbox.calls import refuse_dangerous_calls
from vergence.grading.sandbox.limits import SandboxLimits
from vergence.grading.sandbox.view import SCRATCH, enter_view

CONFINED = {"event": "confined"}
"""Said once everything is closed; what comes before is an error of ours, what comes after of the program's."""
_POLL_SECONDS = 0.02
_FIRST_USER, _USERS = 200_000, 100_000
_PAGE = resource.getpagesize()
_SOCKET = 2 * 212_992
"""Bytes that the kernel may hold for one socket, whose buffer programs may not enlarge."""
_TICKS = os.sysconf("SC_CLK_TCK")


def say(event: Mapping[str, object]) -> None:
    """One line of JSON on standard output, in one write."""
    os.write(1, json.dumps(dict(event)).encode() + b"\n")


def enter(limits: SandboxLimits, driver: Callable[[], None]) -> int:
    """Confine, run `driver` inside, and wait. Returns an exit code: 0 done, 3 a limit was passed, 4 not confined.

    Must be called in a process of its own, which is of no use for anything else afterwards.
    """
    kernel.die_with_parent()
    try:
        _leave_the_world()
    except (OSError, KeyError) as error:
        say({"event": "refused", "reason": str(error)})
        return 4
    guardian = os.fork()
    if guardian == 0:
        _as_guardian(limits, driver)
    _, status = os.waitpid(guardian, 0)
    return os.waitstatus_to_exitcode(status)


def _leave_the_world() -> None:
    apart = kernel.NEW_MOUNTS | kernel.NEW_PROCESSES | kernel.NEW_NETWORK | kernel.NEW_IPC | kernel.NEW_HOST_NAME
    if os.geteuid() == 0:
        try:
            kernel.unshare(apart)
            return
        except PermissionError:  # root of a container, which may still be allowed the way of ordinary users
            pass
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(apart | kernel.NEW_USERS)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{_FIRST_USER} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{_FIRST_USER} {group} 1")


def _as_guardian(limits: SandboxLimits, driver: Callable[[], None]) -> None:
    code = 4
    try:
        kernel.die_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # which the kernel then keeps from process 1
        enter_view(limits.file_mb)
        kernel.hide_memory()
        child = os.fork()
        if child == 0:
            _as_driver(limits, driver)
        os.close(0)
        code = _guard(child, limits)
    except BaseException as error:
        say({"event": "refused", "reason": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(code)


def _guard(child: int, limits: SandboxLimits) -> int:
    """Wait for the driver, and end everything when all together pass a limit.

    Nobody in here but the programs could stop the driver or end it with a signal.
    """
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        if ended == child:
            if os.WIFEXITED(status):
                return os.WEXITSTATUS(status)
            number = os.WSTOPSIG(status) if os.WIFSTOPPED(status) else os.WTERMSIG(status)
            say({"event": "attacked", "reason": f"the program sent signal {number} to the process that judges it"})
            return 3
        if ended:
            continue  # an orphan that was left to us
        cpu, memory = _used()
        if cpu > limits.cpu_seconds:
            say({"event": "limit", "limit": "cpu", "reason": f"more than {limits.cpu_seconds:g} CPU seconds"})
            return 3
        if memory > limits.memory_mb * 10**6:
            say({"event": "limit", "limit": "memory", "reason": f"more than {limits.memory_mb} MB"})
            return 3
        time.sleep(_POLL_SECONDS)


def _used() -> tuple[float, int]:
    """CPU seconds and bytes of all processes but this one: in memory, in files, and held for them by sockets."""
    ticks, pages = 0, 0
    for name in os.listdir("/proc"):
        if not name.isdigit() or name == "1":
            continue
        fields = _status(f"/proc/{name}/stat")
        if not fields:  # it has ended meanwhile
            continue
        ticks += sum(map(int, fields[11:15]))
        pages += int(fields[21]) or _pages_of_threads(name)
    files = os.statvfs(SCRATCH)
    held = (files.f_blocks - files.f_bfree) * files.f_frsize + _sockets() * _SOCKET
    return ticks / _TICKS, pages * _PAGE + held


def _status(path: str) -> list[bytes]:
    """The fields of a `stat` behind the name, from the state on; none where there is no such process any more."""
    try:
        return Path(path).read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


def _pages_of_threads(process: str) -> int:
    """What a process holds whose first thread has ended, for which the kernel says 0."""
    try:
        threads = os.listdir(f"/proc/{process}/task")
    except OSError:
        return 0
    found = (_status(f"/proc/{process}/task/{thread}/stat") for thread in threads)
    return max((int(fields[21]) for fields in found if fields), default=0)


def _sockets() -> int:
    """How many there are in this network, which is the programs' own; 0 where the system does not say."""
    try:
        lines = Path("/proc/net/protocols").read_bytes().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[2]) for line in lines if line.startswith(b"UNIX"))


def _as_driver(limits: SandboxLimits, driver: Callable[[], None]) -> None:
    code = 1
    try:
        _bound(limits)
        kernel.empty_bounding_set()
        if os.geteuid() == 0:  # a user whom nothing belongs to, and of whom nothing else runs
            user = _FIRST_USER + int(time.monotonic_ns() // 1000) % _USERS
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        kernel.give_up_privileges()
        refuse_dangerous_calls()
        kernel.hide_memory()
        os.chdir(SCRATCH)
        say(CONFINED)
        driver()
        code = 0
    except BaseException as error:
        say({"event": "broken", "reason": f"{type(error).__name__}: {error}"})
    finally:
        sys.stdout.flush()
        os._exit(code)


def _bound(limits: SandboxLimits) -> None:
    memory, files = limits.memory_mb * 10**6, limits.file_mb * 10**6
    cpu = int(limits.cpu_seconds) + 2  # of one process; the guardian counts all of them, and comes first
    for kind, bound in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, files),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(kind, (bound, bound))
    for number in (signal.SIGPIPE, signal.SIGINT):  # an exception of Python's would be taken for a fault of ours
        signal.signal(number, signal.SIG_DFL)
