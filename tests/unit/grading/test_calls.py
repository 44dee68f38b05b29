"""The filter of system calls, run by a few lines that do what the kernel does with it, also for machines not here.

Numbers are those of the kernel's tables (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h).
"""

import struct

import pytest

from vergence.grading.sandbox.calls import program

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOWED, REFUSED, UNKNOWN, KILLED = 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38, 0x80000000


def answer(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the kernel would answer: classic BPF over `struct seccomp_data`."""
    code = [struct.unpack("HBBI", program(machine)[place : place + 8]) for place in range(0, len(program(machine)), 8)]
    words = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<iIQ6Q", number, architecture or MACHINES[machine], 0, *words)
    place, held = 0, 0
    while True:
        operation, if_true, if_false, value = code[place]
        place += 1
        match operation:
            case 0x20:
                held = struct.unpack_from("<I", data, value)[0]
            case 0x54:
                held &= value
            case 0x06:
                return int(value)
            case 0x15 | 0x35 | 0x45:
                found = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[operation]
                place += if_true if found else if_false
            case _:
                raise AssertionError(f"an instruction that is not known here: {operation:#x}")


CALLS = {  # what: the number on x86_64, on aarch64, arguments, the answer
    "read": (0, 63, (), ALLOWED),
    "write": (1, 64, (1,), ALLOWED),
    "execve": (59, 221, (), ALLOWED),
    "exit_group": (231, 94, (), ALLOWED),
    "socketpair": (53, 199, (1,), ALLOWED),
    "socket": (41, 198, (2, 1), REFUSED),
    "setsockopt": (54, 208, (), REFUSED),
    "shmget": (29, 194, (), REFUSED),
    "semget": (64, 190, (), REFUSED),
    "msgget": (68, 186, (), REFUSED),
    "memfd_create": (319, 279, (), REFUSED),
    "memfd_secret": (447, 447, (), REFUSED),
    "vmsplice": (278, 75, (), REFUSED),
    "ptrace": (101, 117, (), REFUSED),
    "unshare": (272, 97, (0x10000000,), REFUSED),
    "setns": (308, 268, (), REFUSED),
    "pidfd_getfd": (438, 438, (), REFUSED),
    "io_uring_setup": (425, 425, (), REFUSED),
    "clone3": (435, 435, (), UNKNOWN),
    "clone as fork does": (56, 220, (0x01200011,), ALLOWED),
    "clone as a thread does": (56, 220, (0x003D0F00,), ALLOWED),
    "clone with new users": (56, 220, (0x10000011,), REFUSED),
    "clone with new mounts": (56, 220, (0x00020011,), REFUSED),
    "clone with new processes": (56, 220, (0x20000011,), REFUSED),
    "clone with a new network": (56, 220, (0x40000011,), REFUSED),
    "clone with new cgroups": (56, 220, (0x02000011,), REFUSED),
    "private memory": (9, 222, (0, 4096, 3, 0x22), ALLOWED),
    "a shared file": (9, 222, (0, 4096, 3, 0x01), ALLOWED),
    "shared memory": (9, 222, (0, 4096, 3, 0x21), REFUSED),
    "shared memory, checked": (9, 222, (0, 4096, 3, 0x23), REFUSED),
    "huge pages": (9, 222, (0, 4096, 3, 0x40022), REFUSED),
    "limits of one's own": (302, 261, (0, 7), ALLOWED),
    "limits of another": (302, 261, (2, 7), REFUSED),
    "limits of another, written strangely": (302, 261, (0xFFFFFFFF00000002, 7), REFUSED),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("machine", MACHINES)
def test_calls_are_answered_as_they_should_be(machine: str, name: str) -> None:
    on_x86, on_arm, arguments, expected = CALLS[name]
    assert expected == answer(machine, on_x86 if machine == "x86_64" else on_arm, *arguments)


def test_another_set_of_numbers_is_no_way_around() -> None:
    assert REFUSED == answer("x86_64", 0x40000000 + 1)
    assert KILLED == answer("x86_64", 1, architecture=0x40000003)  # the calls of 32 bits
    assert KILLED == answer("aarch64", 1, architecture=0x40000028)
