"""The system calls of Linux that confinement needs and that Python 3.11 has no names for."""

import ctypes
import errno
import os
import platform
from ctypes import c_char_p, c_int, c_long, c_uint32, c_uint64, c_ulong

NEW_MOUNTS, NEW_HOST_NAME, NEW_IPC = 0x00020000, 0x04000000, 0x08000000
NEW_USERS, NEW_PROCESSES, NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000

READ_ONLY, NO_SETUID, NO_DEVICES, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18

_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR = 442
_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _CLEAR_ALL = 24, 47, 4
_CAPABILITY_VERSION = 0x20080522
_SIGKILL = 9

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave namespaces of the kinds in `flags` for new ones. Raises OSError where the system does not let us."""
    _checked(_libc.unshare(c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """mount(2). Raises OSError."""
    given = (source.encode(), target.encode(), kind and kind.encode(), flags, options and options.encode())
    arguments = (c_char_p(given[0]), c_char_p(given[1]), c_char_p(given[2] or None), c_ulong(flags))
    _checked(_libc.mount(*arguments, c_char_p(given[4] or None)), f"mount {target}")


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, c_uint64) for name in ("set", "clear", "propagation", "users")]


def make_read_only(root: str) -> None:
    """Everything that is mounted at `root` or below becomes read-only, without programs that change their user.

    Raises OSError.
    """
    wanted = _MountAttributes(READ_ONLY | NO_SETUID, 0, 0, 0)
    arguments = (c_long(_MOUNT_SETATTR), c_int(_AT_FDCWD), c_char_p(root.encode()), c_int(_AT_RECURSIVE))
    _checked(_libc.syscall(*arguments, ctypes.byref(wanted), c_ulong(ctypes.sizeof(wanted))), "mount_setattr")


def make_root(directory: str) -> None:
    """`directory`, which must be a mount, becomes "/", and nothing above it can be reached any more. Raises OSError."""
    os.chdir(directory)
    number = _PIVOT_ROOT[platform.machine()]
    # old root on top of the new one, then taken away: no directory is needed to put it into
    _checked(_libc.syscall(c_long(number), c_char_p(b"."), c_char_p(b".")), "pivot_root")
    _checked(_libc.umount2(c_char_p(b"."), c_int(_DETACH)), "umount")
    os.chdir("/")


def die_with_parent() -> None:
    """The kernel kills this process when its parent ends, however that ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0), "prctl")


def hide_memory() -> None:
    """Other processes of this user may not read or trace this one."""
    _checked(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")


def empty_bounding_set() -> None:
    """No program that is started from here can be given a capability, by whatever file or user. Raises OSError.

    Needs a capability itself, so it comes before the user changes.
    """
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            if ctypes.get_errno() == errno.EINVAL and capability > 0:
                return  # there are no more
            _checked(-1, "capability bounding set")


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", c_uint32), ("pid", c_int)]


def give_up_privileges() -> None:
    """No capability of any kind is left, and no program that is started gains one by what it is. Raises OSError."""
    _checked(_libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0), "ambient capabilities")
    header = _CapabilityHeader(_CAPABILITY_VERSION, 0)
    none = (c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 of them
    _checked(_libc.capset(ctypes.byref(header), ctypes.byref(none)), "capset")
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
