"""Fit the servers' memory to the machine, or to the part of it that a container may use."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

MEBIBYTE = 1024 * 1024
GIBIBYTE = 1024 * MEBIBYTE


def _limit_files() -> Iterator[Path]:
    """Yield the files that may hold a memory limit of this process, cgroup v2 and v1."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, inner = line.split(":", 2)
        if controllers == "":
            root, name = Path("/sys/fs/cgroup"), "memory.max"
        elif "memory" in controllers.split(","):
            root, name = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
        else:
            continue
        folder = root / inner.lstrip("/")
        while folder.is_relative_to(root):
            yield folder / name
            folder = folder.parent


def memory_bytes() -> int:
    """Return the memory that this process may use: the machine's, or less by a cgroup limit."""
    limits = [int(psutil.virtual_memory().total)]
    for path in _limit_files():
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):
            continue
    return max(min(limits), 256 * MEBIBYTE)


def _clamp(size_bytes: int, low_mebibytes: int, high_mebibytes: int) -> int:
    return max(low_mebibytes, min(size_bytes // MEBIBYTE, high_mebibytes))


def postgres_memory(memory_bytes: int, pool: int) -> dict[str, str]:
    """Return PostgreSQL's settings for a machine that also runs the API, workers and models.

    Units:   whole MB, as PostgreSQL writes them; ``pool`` is the connections of one process.
    """
    maintenance = _clamp(memory_bytes // 32, 64, 1024)
    fitted = {
        "shared_buffers": f"{_clamp(memory_bytes // 8, 128, 4096)}MB",
        "effective_cache_size": f"{_clamp(memory_bytes // 2, 256, 32 * 1024)}MB",
        "work_mem": f"{_clamp(memory_bytes // 512, 4, 64)}MB",
        "maintenance_work_mem": f"{maintenance}MB",
        "max_wal_size": f"{_clamp(memory_bytes // 8, 512, 4096)}MB",
        "max_connections": str(max(50 if memory_bytes < 4 * GIBIBYTE else 100, 3 * pool + 20)),
    }
    if _small_shared_memory(maintenance * MEBIBYTE):
        # A container's /dev/shm is often 64 MB; parallel HNSW builds would fail in it.
        fitted["dynamic_shared_memory_type"] = "mmap"
    return fitted


def _small_shared_memory(need_bytes: int) -> bool:
    try:
        shared = os.statvfs("/dev/shm")  # noqa: S108 - only its size is read
    except OSError:
        return False
    return shared.f_bavail * shared.f_frsize < need_bytes


def valkey_memory(memory_bytes: int) -> int:
    """Return Valkey's ``maxmemory`` in bytes; it holds hints only, so little is enough."""
    return _clamp(memory_bytes // 32, 64, 512) * MEBIBYTE
