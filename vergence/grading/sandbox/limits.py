"""What a confined program may use."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """Bounds of one confined run, all its processes together unless it says otherwise."""

    wall_seconds: float = 60.0
    """From start to end, whatever the programs do: also the time that they sleep."""
    cpu_seconds: float = 30.0
    case_seconds: float = 6.0
    """CPU time of one test case; on the clock it may take three times as long."""
    memory_mb: int = 1024
    """Millions of bytes that are in memory, those in files and sockets among them; and each process's address space."""
    processes: int = 16
    """Processes and threads at a time."""
    file_mb: int = 64
    """Millions of bytes in files, all of which are in memory and end with the run."""
    output_bytes: int = 1_000_000
    """Of one test case, standard output and standard error each."""


DEFAULT_LIMITS = SandboxLimits()
"""Enough for the tests of published programming benchmarks."""
