"""The file system as a confined program sees it: an interpreter to read, an empty folder to write, and nothing else."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from vergence.grading.sandbox import kernel

SCRATCH = "/scratch"
"""The one folder that can be written."""
_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives")
_DEVICES = ("/dev/null", "/dev/random", "/dev/urandom", "/dev/full")
"""Without /dev/zero, of which a mapping is memory that belongs to no process."""
_STAGES = ("/mnt", "/media", "/srv", "/opt", "/tmp", "/var")


def interpreter() -> str:
    """The Python that confined programs run with: the one we stand on, without the packages of our environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def needed_paths() -> list[str]:
    """What must be readable for that interpreter to run."""
    found = [path for path in (*_SYSTEM, sys.base_prefix, sys.base_exec_prefix, interpreter()) if os.path.lexists(path)]
    distinct: list[str] = []
    for path in sorted(set(found), key=len):
        if not any(path.startswith(f"{other}/") and not os.path.islink(other) for other in distinct):
            distinct.append(path)
    return distinct


def enter_view(scratch_mb: int) -> None:
    """Replace the root of this mount namespace, which must be a new one. Raises OSError.

    Must be called by a process of the new process namespace, since /proc then shows what the caller may see.
    """
    shown = [*needed_paths(), *_DEVICES]
    stage = _stage(shown)
    kernel.mount("none", "/", None, kernel.RECURSIVE | kernel.PRIVATE)
    kernel.mount("tmpfs", stage, "tmpfs", kernel.NO_SETUID, "size=1m,mode=755")
    for path in shown:
        _show(path, stage)
    for folder in (SCRATCH, "/proc", "/tmp"):
        os.makedirs(stage + folder, exist_ok=True)
    # while the old /proc can still be seen: without it the kernel lets no ordinary user have a new one
    kernel.mount("proc", stage + "/proc", "proc", kernel.NO_SETUID | kernel.NO_DEVICES)
    kernel.make_read_only(stage)
    flags = kernel.NO_SETUID | kernel.NO_DEVICES
    kernel.mount("tmpfs", stage + SCRATCH, "tmpfs", flags, f"size={scratch_mb}m,mode=777,nr_inodes=4096")
    kernel.mount(stage + SCRATCH, stage + "/tmp", None, kernel.BIND)
    kernel.make_root(stage)


def _stage(shown: Sequence[str]) -> str:
    """A folder to build in; it is covered by the building, so nothing that is shown may lie in it."""
    for folder in _STAGES:
        if Path(folder).is_dir() and not any(path == folder or path.startswith(f"{folder}/") for path in shown):
            return folder
    raise OSError("no folder that could be covered by the program's view of files")


def _show(path: str, stage: str) -> None:
    target = stage + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
        return
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    else:
        Path(target).touch()
    kernel.mount(path, target, None, kernel.BIND | kernel.RECURSIVE)
