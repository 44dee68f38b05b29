"""System calls that a confined program may not make: a filter that the kernel applies (seccomp).

Namespaces hide networks, files and processes. What they do not cover is refused here: sockets of kinds that know no
namespace, new namespaces, tracing, keys, kernel programs, and memory that belongs to no process and that the guardian
could therefore not count (segments, message queues, memory files, pages given to a pipe).
"""

import ctypes
import os
import platform
import struct

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
"""BPF: load a word, keep these bits of it, return."""
_EQUAL, _AT_LEAST, _ANY_OF = 0x15, 0x35, 0x45
"""BPF: compare and jump."""
_ALLOW, _REFUSE, _UNKNOWN, _KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
"""Let it pass; answer "operation not permitted" or "function not implemented"; end the process."""
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Where the call's number, the machine and the arguments (8 bytes each, the low half first) stand for the filter."""

_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_REFUSED = {
    "x86_64": {
        "shmget": 29,
        "socket": 41,
        "setsockopt": 54,
        "semget": 64,
        "msgget": 68,
        "ptrace": 101,
        "syslog": 103,
        "pivot_root": 155,
        "mount": 165,
        "umount2": 166,
        "swapon": 167,
        "reboot": 169,
        "init_module": 175,
        "quotactl": 179,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "unshare": 272,
        "vmsplice": 278,
        "perf_event_open": 298,
        "setns": 308,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "finit_module": 313,
        "memfd_create": 319,
        "kexec_file_load": 320,
        "bpf": 321,
        "userfaultfd": 323,
        "io_uring_setup": 425,
        "open_tree": 428,
        "move_mount": 429,
        "fsopen": 430,
        "pidfd_getfd": 438,
        "mount_setattr": 442,
        "memfd_secret": 447,
    },
    "aarch64": {
        "umount2": 39,
        "mount": 40,
        "pivot_root": 41,
        "quotactl": 60,
        "vmsplice": 75,
        "unshare": 97,
        "init_module": 105,
        "syslog": 116,
        "ptrace": 117,
        "reboot": 142,
        "msgget": 186,
        "semget": 190,
        "shmget": 194,
        "socket": 198,
        "setsockopt": 208,
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "swapon": 224,
        "perf_event_open": 241,
        "setns": 268,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "finit_module": 273,
        "memfd_create": 279,
        "bpf": 280,
        "userfaultfd": 282,
        "kexec_file_load": 294,
        "io_uring_setup": 425,
        "open_tree": 428,
        "move_mount": 429,
        "fsopen": 430,
        "pidfd_getfd": 438,
        "mount_setattr": 442,
        "memfd_secret": 447,
    },
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_NEW_NAMESPACES = 0x7E020080
"""Any of the flags by which a process would begin in namespaces of its own, that of users above all."""
_CLONE3 = 435
"""Its flags lie in memory, where no filter can look: libraries fall back to clone."""
_MMAP = {"x86_64": 9, "aarch64": 222}
_SHARED, _ANONYMOUS, _HUGE_PAGES = 0x01, 0x20, 0x40000
_PRLIMIT = {"x86_64": 302, "aarch64": 261}
_OTHER_ABI = {"x86_64": 0x40000000, "aarch64": 0xFFFFFFFF}
"""Calls from here on belong to a second set of numbers (x32), by which the list could be walked around."""
_PR_SET_SECCOMP, _FILTER = 22, 2


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _answered(number: int, answer: int) -> list[bytes]:
    """A call that is answered in one way whatever its arguments are."""
    return [_instruction(_EQUAL, 0, 1, number), _instruction(_RETURN, 0, 0, answer)]


def _refused_with(number: int, argument: int, *tests: bytes) -> list[bytes]:
    """A call that is refused if `tests` of an argument's low word let the next instruction be reached."""
    block = [
        _instruction(_LOAD, 0, 0, _ARGUMENTS + 8 * argument),
        *tests,
        _instruction(_RETURN, 0, 0, _REFUSE),
        _instruction(_RETURN, 0, 0, _ALLOW),
    ]
    return [_instruction(_EQUAL, 0, len(block), number), *block]


def program(machine: str) -> bytes:
    """The filter for a machine. Raises KeyError for one that is not in the list."""
    lines = [
        _instruction(_LOAD, 0, 0, _ARCHITECTURE),
        _instruction(_EQUAL, 1, 0, _MACHINES[machine]),
        _instruction(_RETURN, 0, 0, _KILL),
        _instruction(_LOAD, 0, 0, _NUMBER),
        _instruction(_AT_LEAST, 0, 1, _OTHER_ABI[machine]),
        _instruction(_RETURN, 0, 0, _REFUSE),
    ]
    for number in sorted(_REFUSED[machine].values()):
        lines += _answered(number, _REFUSE)
    lines += _answered(_CLONE3, _UNKNOWN)
    lines += _refused_with(_CLONE[machine], 0, _instruction(_ANY_OF, 0, 1, _NEW_NAMESPACES))
    lines += _refused_with(_PRLIMIT[machine], 0, _instruction(_EQUAL, 1, 0, 0))  # of oneself alone, which is 0
    shared = _SHARED | _ANONYMOUS
    lines += _refused_with(
        _MMAP[machine],
        3,
        _instruction(_ANY_OF, 2, 0, _HUGE_PAGES),
        _instruction(_AND, 0, 0, shared),
        _instruction(_EQUAL, 0, 1, shared),
    )
    lines.append(_instruction(_RETURN, 0, 0, _ALLOW))
    return b"".join(lines)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("lines", ctypes.c_char_p)]


def refuse_dangerous_calls() -> None:
    """From here on, for this process and all that it starts. Raises OSError, KeyError on machines not known."""
    lines = program(platform.machine())
    given = _Program(len(lines) // 8, lines)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(given), 0, 0) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")
