"""Where to compute, and how the process treats its memory."""

import ctypes
import sys

import torch

from vergence.errors import RecipeError

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Parameters of mallopt(3)."""


def choose_device(name: str) -> torch.device:
    """`auto` takes a GPU where there is one. Raises RecipeError if the device asked for is absent."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise RecipeError(f'device = "{name}": this machine has none; use "auto" or "cpu"')
    return torch.device(name)


def keep_freed_memory() -> None:
    """Tell the allocator of Linux (glibc) to keep memory that was freed; elsewhere, do nothing.

    A training step frees and takes hundreds of megabytes. Handed back to the system in between, every page of them has
    to be made anew, which costs a CPU more than many of the operations that use it.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        adjust = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    adjust(_MMAP_THRESHOLD, 32 << 20)  # the largest that is taken: smaller blocks come from the heap
    adjust(_TRIM_THRESHOLD, (1 << 31) - 1)
    adjust(_TOP_PAD, 64 << 20)
