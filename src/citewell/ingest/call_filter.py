"""A filter of system calls (seccomp) under which a process can start threads, but no process.

It closes as well what neither Landlock nor a network namespace does: sockets in the file system,
signals to other processes, and changes of files that are not made by opening them. A file's mode
stays open to change: Kreuzberg sets that of the library that it unpacks.
"""

import ctypes
import os
import platform
import struct
from dataclasses import dataclass

_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_NOT_PERMITTED, _NO_SUCH_CALL = 1, 38
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_CALL, _MACHINE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24
_THREAD = 0x00010000
_CLONE3 = 435
_OTHER_TABLE = 0x40000000
_NO_STREAM = 0b1110
"""Bits of a socket's type that a stream of bytes does not have."""

_EVERYWHERE = (
    *(424, 434, 438),  # pidfd_send_signal, pidfd_open, pidfd_getfd
    *(425, 426, 427),  # io_uring_setup, _enter, _register: calls that no filter sees
    *(428, 429, 430, 431, 432, 433, 442),  # open_tree, move_mount, fsopen … fspick, mount_setattr
    *(463, 466),  # setxattrat, removexattrat
)


@dataclass(frozen=True, slots=True)
class _Machine:
    """A kind of processor: its number in the kernel, and the numbers of its calls.

    ``own`` are calls whose first argument names a process: this one may be named, no other.
    """

    number: int
    clone: int
    socketpair: int
    own: tuple[int, ...]
    forbidden: tuple[int, ...]


_MACHINES = {
    "x86_64": _Machine(
        number=0xC000003E,
        clone=56,
        socketpair=53,
        own=(62, 234, 302),  # kill, tgkill, prlimit64 (0 there is this process, too)
        forbidden=(
            *(57, 58, 59, 322),  # fork, vfork, execve, execveat
            *(41, 42),  # socket, connect
            *(200, 129, 297),  # tkill, rt_sigqueueinfo, rt_tgsigqueueinfo
            *(101, 310, 311, 141),  # ptrace, process_vm_readv, process_vm_writev, setpriority
            76,  # truncate
            *(92, 93, 94, 260),  # chown, fchown, lchown, fchownat
            *(132, 235, 261, 280),  # utime, utimes, futimesat, utimensat
            *(188, 189, 190, 197, 198, 199),  # setxattr …, removexattr …
            *(272, 308, 165, 166, 155),  # unshare, setns, mount, umount2, pivot_root
            *(321, 298, 323, 248, 249, 250),  # bpf, perf_event_open, userfaultfd, keys
        ),
    ),
    "aarch64": _Machine(
        number=0xC00000B7,
        clone=220,
        socketpair=199,
        own=(129, 131, 261),
        forbidden=(
            *(221, 281),
            *(198, 203),
            *(130, 138, 240),
            *(117, 270, 271, 140),
            45,
            *(55, 54),
            88,
            *(5, 6, 7, 14, 15, 16),
            *(97, 268, 40, 39, 41),
            *(280, 241, 282, 217, 218, 219),
        ),
    ),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def forbid_processes(libc: ctypes.CDLL) -> bool:
    """Refuse fork, exec and clone (but for threads) from now on, also to root; say if that holds.

    Refused are also new sockets (but for pairs), signals to others, and changes of a file's length,
    owner or times by its path: with them a parser would reach a server's socket, end its
    worker or empty a file, whatever Landlock says.
    Holds:   libraries are told that clone3 does not exist, and take clone, whose flags can be seen.
    """
    known = _MACHINES.get(platform.machine())
    if known is None:
        return False
    instructions = _instructions(known, os.getpid())
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    program = _Program(len(instructions), code)
    return libc.prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) == 0


def _instructions(machine: _Machine, process: int) -> list[tuple[int, int, int, int]]:
    """Return the program as (operation, steps if true, steps if false, value)."""
    no, unknown = _REFUSE | _NOT_PERMITTED, _REFUSE | _NO_SUCH_CALL
    program = [
        (_LOAD, 0, 0, _MACHINE), (_IF_EQUAL, 1, 0, machine.number), (_RETURN, 0, 0, no),
        (_LOAD, 0, 0, _CALL), (_IF_AT_LEAST, 0, 1, _OTHER_TABLE), (_RETURN, 0, 0, no),
        (_IF_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, unknown),
    ]  # fmt: skip
    for call in (*machine.forbidden, *_EVERYWHERE):
        program += [(_IF_EQUAL, 0, 1, call), (_RETURN, 0, 0, no)]
    kill, *others = machine.own
    program += [
        (_IF_EQUAL, 0, 4, kill), (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_IF_EQUAL, 0, 1, process), (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, no),
    ]  # fmt: skip
    for call in others:
        program += [
            (_IF_EQUAL, 0, 5, call), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_IF_EQUAL, 1, 0, process),
            (_IF_EQUAL, 0, 1, 0), (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, no),
        ]  # fmt: skip
    return [
        *program,
        (_IF_EQUAL, 0, 4, machine.socketpair), (_LOAD, 0, 0, _SECOND_ARGUMENT),
        (_IF_ANY_BIT, 0, 1, _NO_STREAM), (_RETURN, 0, 0, no), (_RETURN, 0, 0, _ALLOW),
        (_IF_EQUAL, 0, 3, machine.clone), (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_IF_ANY_BIT, 1, 0, _THREAD), (_RETURN, 0, 0, no),
        (_RETURN, 0, 0, _ALLOW),
    ]  # fmt: skip
