"""Outside a confinement: starts one, hands in a job, and reads results until the end or a deadline."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from functools import lru_cache
from pathlib import Path
from typing import Any

from vergence.grading.sandbox.limits import DEFAULT_LIMITS, SandboxLimits

_ROOT = str(Path(__file__).resolve().parents[3])
_ENTRY = (
    "import sys; sys.path.insert(0, {root!r}); "
    "from vergence.grading.sandbox.entry import main; sys.exit(main({limits!r}))"
)
_LINE_BYTES = 8_000_000


def confined(job: dict[str, Any], limits: SandboxLimits) -> Generator[dict[str, Any], None, None]:
    """The events of a job, as they come: see `sandbox/driver.py`.

    Whoever stops reading ends the confinement; so do the deadline and the end of this process. The last event is
    `{"event": "limit", ...}` where a limit ended it, and `{"event": "refused", ...}` where the system does not let us
    confine anything.
    """
    code = _ENTRY.format(
        root=_ROOT, limits={name: getattr(limits, name) for name in SandboxLimits.__dataclass_fields__}
    )
    process = subprocess.Popen(
        [sys.executable, "-I", "-B", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(job).encode())
            process.stdin.close()
        yield from _events(process.stdout.fileno(), time.monotonic() + limits.wall_seconds, limits)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()


def _events(descriptor: int, deadline: float, limits: SandboxLimits) -> Generator[dict[str, Any], None, None]:
    waiting = b""
    with selectors.DefaultSelector() as ready:
        ready.register(descriptor, selectors.EVENT_READ)
        while True:
            if not ready.select(max(0.0, deadline - time.monotonic())):
                yield {"event": "limit", "limit": "wall", "reason": f"more than {limits.wall_seconds:g} seconds"}
                return
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                return
            waiting += chunk
            if len(waiting) > _LINE_BYTES:
                yield {"event": "limit", "limit": "output", "reason": "a result of more than 8 MB"}
                return
            *lines, waiting = waiting.split(b"\n")
            for line in lines:
                yield json.loads(line)


@lru_cache(maxsize=1)
def refusal() -> str:
    """Why this system does not let us confine programs; "" where it does. Asked once, by confining one."""
    if not sys.platform.startswith("linux"):
        return f"programs can be confined on Linux alone, found {sys.platform}"
    job = {"kind": "stdin", "preface": "", "source": "print(input())", "inputs": ["sound\n"]}
    events = list(confined(job, DEFAULT_LIMITS))
    for event in events:
        if event.get("output", "").strip() == "sound":
            return ""
    reasons = [str(event.get("reason") or event.get("errors") or event) for event in events] or ["it said nothing"]
    return "; ".join(reasons)[:400]
