"""Inside a confinement: runs the cases of a job, one line of JSON for each result.

A job is one JSON object on standard input. What a right result would be is not in it: that stays outside. Assertions
say it themselves; they are run in here, by another process than the program.

    {"kind": "stdin", "preface": "...", "source": "...", "inputs": [what the program reads, ...]}
    {"kind": "call",  "preface": "...", "source": "...", "inputs": ['{"function": "add", "arguments": [1, 2]}', ...]}
    {"kind": "check", "preface": "...", "source": "...", "function": "add", "prompt": "...", "tests": "..."}
"""

import contextlib
import json
import math
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from vergence.grading.sandbox.caller import ENDED
from vergence.grading.sandbox.checker import Checked, checked
from vergence.grading.sandbox.inside import say
from vergence.grading.sandbox.limits import SandboxLimits
from vergence.grading.sandbox.view import SCRATCH, interpreter

WALL_FACTOR = 3
"""A case may take that many times its CPU seconds on the clock: on a busy machine it is judged by what it used."""
_PROGRAM, _PREFACE, _CALLER = "program.py", "preface.py", "caller.py"
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": SCRATCH, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
_KINDS = {"stdin": "run", "call": "call"}
"""Kinds of jobs, and what `caller.py` calls them."""


def driver_for(job: dict[str, Any], caller: str, limits: SandboxLimits) -> Callable[[], None]:
    """What to do inside for a job; `caller` is the text of the program that runs programs."""

    def run() -> None:
        for name, text in ((_PROGRAM, job["source"]), (_PREFACE, job["preface"]), (_CALLER, caller)):
            Path(name).write_text(text, encoding="utf-8")
        if job["kind"] == "check":
            say(_checked(job, limits))
            return
        for place, text in enumerate(job["inputs"]):
            say({"event": "case", "case": place} | _run(_KINDS[job["kind"]], text, limits))

    return run


def _start(arguments: list[str], errors: int, limits: SandboxLimits) -> "subprocess.Popen[bytes]":
    seconds = _cpu_seconds(limits)
    return subprocess.Popen(
        [interpreter(), "-I", "-B", _CALLER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=_ENVIRONMENT,
        start_new_session=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1)),
    )


def _cpu_seconds(limits: SandboxLimits) -> int:
    return min(math.ceil(limits.case_seconds), resource.getrlimit(resource.RLIMIT_CPU)[1] - 1)


def _run(kind: str, text: str, limits: SandboxLimits) -> dict[str, object]:
    """One program from start to end: its output, and why it ended if it did not by itself."""
    started = time.monotonic()
    process = _start([kind], subprocess.PIPE, limits)
    deadline = started + WALL_FACTOR * limits.case_seconds
    try:
        output, errors, ended = _talk(process, text.encode(), deadline, limits.output_bytes)
    finally:
        _end_all(process)
    result: dict[str, object] = {"output": output.decode(errors="replace"), "errors": errors.decode(errors="replace")}
    ended = ended or ("done" if process.returncode == 0 else _how(process))
    return result | {"ended": ended, "seconds": round(time.monotonic() - started, 3)}


def _checked(job: dict[str, Any], limits: SandboxLimits) -> dict[str, object]:
    """The event that assertions come to: the program in one process, they in another, which has no other way to it."""
    deadline = time.monotonic() + WALL_FACTOR * limits.case_seconds
    process = _start(["serve", str(limits.output_bytes)], subprocess.DEVNULL, limits)
    assert process.stdin is not None
    assert process.stdout is not None
    ours, theirs = os.pipe()
    checker = os.fork()
    if checker == 0:
        _as_checker(job, process.stdout, process.stdin, theirs, limits)
    for end in (process.stdin, process.stdout):
        end.close()
    os.close(theirs)
    try:
        said = _all_of(ours, deadline)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)  # it ends by itself when nobody asks any more
        code = process.poll()
    finally:
        os.close(ours)
        _end_all(process)
        status = os.waitpid(checker, 0)[1]
    found = Checked(**json.loads(said)) if said else Checked("no verdict", "")
    if found.kind == "tests":
        return {"event": "tests", "reason": found.reason}
    limit = -signal.SIGXCPU
    if found.kind and (said is None or limit in (code, os.waitstatus_to_exitcode(status))):
        found = Checked("time", "")
    elif found == Checked("gone", ENDED):
        found = Checked(_how(process), "")
    return {"event": "case", "case": 0, "output": "", "errors": found.reason, "ended": found.kind or "done"}


def _as_checker(
    job: dict[str, Any], replies: IO[bytes], requests: IO[bytes], verdict: int, limits: SandboxLimits
) -> None:
    """Never returns. Nothing that tests print or write gets out but the verdict."""
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nothing, descriptor)
        seconds = _cpu_seconds(limits)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        found = checked(job, replies, requests, limits.output_bytes)
        os.write(verdict, json.dumps({"kind": found.kind, "reason": found.reason[:2000]}).encode())
    finally:
        os._exit(0)


def _all_of(descriptor: int, deadline: float) -> bytes | None:
    """What is written there until its end; None if that does not come in time."""
    said = b""
    with selectors.DefaultSelector() as ready:
        ready.register(descriptor, selectors.EVENT_READ)
        while ready.select(max(0.0, deadline - time.monotonic())):
            chunk = os.read(descriptor, 65536)
            if not chunk:
                return said
            said += chunk
    return None


def _talk(process: "subprocess.Popen[bytes]", given: bytes, deadline: float, most: int) -> tuple[bytes, bytes, str]:
    """Feed and read at the same time; the third value is why it was stopped, "" if it was not."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    found = {process.stdout: bytearray(), process.stderr: bytearray()}
    left, ended = memoryview(given), ""
    with selectors.DefaultSelector() as ready:
        for pipe in found:
            ready.register(pipe, selectors.EVENT_READ)
        os.set_blocking(process.stdin.fileno(), False)
        ready.register(process.stdin, selectors.EVENT_WRITE)
        reading = set(found)
        while reading and not ended:
            events = ready.select(max(0.0, deadline - time.monotonic()))
            if time.monotonic() >= deadline:
                ended = "time"
            for key, _ in events:
                if key.fileobj is process.stdin:
                    try:
                        left = left[os.write(key.fd, left[:65536]) :] if left else left
                    except BrokenPipeError:
                        left = left[:0]
                    if not left:
                        ready.unregister(process.stdin)
                        process.stdin.close()
                    continue
                pipe = process.stdout if key.fileobj is process.stdout else process.stderr
                chunk = os.read(key.fd, 65536)
                found[pipe] += chunk
                if not chunk:
                    ready.unregister(pipe)
                    reading.discard(pipe)
                elif len(found[pipe]) > most:
                    ended = "output"
        if not ended:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                ended = "time"
    return bytes(found[process.stdout][:most]), bytes(found[process.stderr][-2000:]), ended


def _end_all(process: "subprocess.Popen[bytes]") -> None:
    """The program, and whatever else it has started, in whatever session."""
    process.kill()
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)  # all that we may end, but for ourselves and the guardian
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None and not pipe.closed:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _how(process: "subprocess.Popen[bytes]") -> str:
    code = process.returncode
    if code == -signal.SIGXCPU:
        return "time"
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def read_job() -> str:
    """All of standard input, which the programs inside do not inherit."""
    return sys.stdin.read()
