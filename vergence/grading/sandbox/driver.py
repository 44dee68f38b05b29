"""Inside a confinement: runs the cases of a job, one line of JSON for each result.

A job is one JSON object on standard input. What a right result would be is not in it: that stays outside.

    {"kind": "stdin",  "source": "...", "inputs": ["1 2\\n", ...]}
    {"kind": "call",   "source": "...", "function": "add", "inputs": [[1, 2], ...]}
    {"kind": "check",  "source": "...", "tests": "...", "function": "add", "proof": "..."}
"""

import contextlib
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
from typing import Any

from vergence.grading.sandbox.inside import say
from vergence.grading.sandbox.limits import SandboxLimits
from vergence.grading.sandbox.view import SCRATCH, interpreter

WALL_FACTOR = 3
"""A case may take that many times its CPU seconds on the clock: on a busy machine it is judged by what it used."""
_PROGRAM, _CALLER = "program.py", "caller.py"
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": SCRATCH, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}


def driver_for(job: dict[str, Any], caller: str, limits: SandboxLimits) -> Callable[[], None]:
    """What to do inside for a job; `caller` is the text of the program that calls functions."""

    def run() -> None:
        Path(_PROGRAM).write_text(job["source"], encoding="utf-8")
        if job["kind"] == "stdin":
            for place, text in enumerate(job["inputs"]):
                say({"event": "case", "case": place} | _run([_PROGRAM], text, limits))
            return
        Path(_CALLER).write_text(caller, encoding="utf-8")
        for place, text in enumerate(job["inputs"]):
            say({"event": "case", "case": place} | _run([_CALLER, job["kind"]], text, limits))

    return run


def _run(arguments: list[str], text: str, limits: SandboxLimits) -> dict[str, object]:
    """One program from start to end: its output, and why it ended if it did not by itself."""
    started = time.monotonic()
    seconds = min(math.ceil(limits.case_seconds), resource.getrlimit(resource.RLIMIT_CPU)[1] - 1)
    process = subprocess.Popen(
        [interpreter(), "-I", "-B", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_ENVIRONMENT,
        start_new_session=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1)),
    )
    deadline = started + WALL_FACTOR * limits.case_seconds
    try:
        output, errors, ended = _talk(process, text.encode(), deadline, limits.output_bytes)
    finally:
        _end_all(process)
    result: dict[str, object] = {"output": output.decode(errors="replace"), "errors": errors.decode(errors="replace")}
    return result | {"ended": ended or _how(process), "seconds": round(time.monotonic() - started, 3)}


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
    return "done" if code == 0 else f"exit code {code}" if code > 0 else f"signal {-code}"


def read_job() -> str:
    """All of standard input, which the programs inside do not inherit."""
    return sys.stdin.read()
