"""What the parser process takes from itself before it opens a file: memory, network, the disk.

Each measure is tried and reported; none is needed for the others. Linux has them all, macOS the
resource limits only.
"""

import ctypes
import os
import resource
import signal
import sys
import threading
from pathlib import Path

from citewell.ingest.call_filter import forbid_processes

MEBIBYTE = 1024 * 1024
_ADDRESS_ROOM_BYTES = 512 * MEBIBYTE
_OPEN_FILES = 128
_NEW_USER, _NEW_NET, _NEW_IPC = 0x10000000, 0x40000000, 0x08000000
_DIE_WITH_PARENT, _NO_NEW_PRIVILEGES = 1, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EVERY_RIGHT = (1 << 13) - 1
_READ = 0b1100
_READ_FILE, _WRITE_FILE = 1 << 2, 1 << 1
_SYSTEM_FOLDERS = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/usr/share/zoneinfo",
)


def confine(memory_bytes: int, max_written_bytes: int, max_threads: int, folder: str) -> list[str]:
    """Apply every limit that the system grants and return what it refused, as sentences."""
    refused = _limit_resources(memory_bytes, max_written_bytes)
    if sys.platform != "linux":
        return [*refused, "This system has no namespaces: parsers are not cut off the network."]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if not libc.unshare(_NEW_USER | _NEW_NET | _NEW_IPC):
        _limit_threads(max_threads)
    elif libc.unshare(_NEW_NET | _NEW_IPC):
        refused.append(
            "The system refused a network namespace: parsers are not cut off the network. Allow "
            "unprivileged user namespaces, or run workers without network access."
        )
    if not _restrict_files(libc, folder):
        refused.append("The system has no Landlock: parsers can read this user's files.")
    if not forbid_processes(libc):
        refused.append("The system refused a filter of its calls: parsers can start processes.")
    return refused


def allow_cpu(seconds: int) -> None:
    """Let this process use that many more seconds of CPU, and die with SIGXCPU after them."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _set_limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + seconds + 1, hard=False)


def _limit_threads(most: int) -> None:
    """Limit processes and threads; kernels before 5.14 count all of this user's, so it is tried."""
    before = resource.getrlimit(resource.RLIMIT_NPROC)
    _set_limit(resource.RLIMIT_NPROC, most, hard=False)
    try:
        tried = threading.Thread(target=int)
        tried.start()
        tried.join()
    except RuntimeError:
        resource.setrlimit(resource.RLIMIT_NPROC, before)
    else:
        _set_limit(resource.RLIMIT_NPROC, most)


def _limit_resources(memory_bytes: int, max_written_bytes: int) -> list[str]:
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: max_written_bytes,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_DATA: memory_bytes,
        resource.RLIMIT_AS: memory_bytes + _ADDRESS_ROOM_BYTES,
    }
    names = {resource.RLIMIT_DATA: "data", resource.RLIMIT_AS: "address space"}
    refused = [kind for kind, value in wanted.items() if not _set_limit(kind, value)]
    if resource.RLIMIT_DATA in refused and resource.RLIMIT_AS in refused:
        return ["The system refused memory limits: a parser may use more memory than set."]
    return [f"The system refused the {names[kind]} limit." for kind in refused if kind in names]


def _set_limit(kind: int, value: int, *, hard: bool = True) -> bool:
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        value = min(value, most)
    try:
        resource.setrlimit(kind, (value, value if hard else most))
    except (ValueError, OSError):
        return False
    return True


class _RulesetAttribute(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathAttribute(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def _restrict_files(libc: ctypes.CDLL, folder: str) -> bool:
    """Leave only the Python installation readable and only the own folder writable (Landlock)."""
    attribute = _RulesetAttribute(_EVERY_RIGHT)
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(attribute), ctypes.sizeof(attribute), 0)
    if ruleset < 0:
        return False
    rules = dict.fromkeys(_readable_folders(), _READ)
    rules |= {"/etc/ld.so.cache": _READ_FILE, "/dev/urandom": _READ_FILE}
    rules |= {"/dev/null": _READ_FILE | _WRITE_FILE, folder: _EVERY_RIGHT & ~1}
    for path, rights in rules.items():
        _add_rule(libc, ruleset, path, rights)
    restricted = libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return restricted


def _add_rule(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rule = _PathAttribute(rights, handle)
    libc.syscall(_ADD_RULE, ruleset, 1, ctypes.byref(rule), 0)
    os.close(handle)


def _readable_folders() -> set[str]:
    """Return the folders that imports and shared libraries come from; never a home or the root."""
    libraries = {str(Path(prefix) / "lib") for prefix in (sys.prefix, sys.base_prefix)}
    packages = {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    return {*libraries, *packages, *_SYSTEM_FOLDERS, str(Path(__file__).parents[1])}
