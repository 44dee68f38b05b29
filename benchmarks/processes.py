"""Child processes of a benchmark, and what else the machine did meanwhile. Standard library only."""

import json
import os
import platform
import resource
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    "OMP_NUM_THREADS": "2",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""The same for both sides; threads must be set before torch loads."""


def child_environment() -> dict[str, str]:
    """This process's environment with what a measured child needs."""
    return dict(os.environ) | ENVIRONMENT


def busy_seconds(stat: str) -> float:
    """CPU seconds that all processes have used since the start of the machine, from the text of /proc/stat.

    Of the first line's columns, user, nice, system, irq and softirq count; guests are in user already. What a
    hypervisor gave to others (steal) counts too: nobody here could use it.
    """
    columns = [int(value) for value in stat.split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _wait, irq, soft, steal = columns
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def run_measured(command: Sequence[str], out: Path) -> dict[str, Any]:
    """Run a child that writes JSON to `out`; the JSON, with `others`: cores used by foreign processes meanwhile.

    Raises SystemExit with the child's last words if it fails.
    """
    stat = Path("/proc/stat")
    out.unlink(missing_ok=True)
    begun = time.perf_counter(), busy_seconds(stat.read_text()), _own_seconds()
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
    wall = time.perf_counter() - begun[0]
    foreign = busy_seconds(stat.read_text()) - begun[1] - (_own_seconds() - begun[2])
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(out.read_text())
    return result | {"others": max(0.0, foreign / wall), "process_wall": wall}


def machine() -> dict[str, Any]:
    """What the machine is, without its name."""
    info = Path("/proc/cpuinfo")
    models = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def commit() -> str:
    """The commit that is checked out, with "+" where files differ from it; "unknown" outside a repository."""
    try:
        head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
