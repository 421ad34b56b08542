"""The memory settings on machines from 2 GB to 64 GB."""

import pytest

from citewell.embedded.memory import (
    GIBIBYTE,
    MEBIBYTE,
    memory_bytes,
    postgres_memory,
    valkey_memory,
)


def _megabytes(fitted: dict[str, str], name: str) -> int:
    assert fitted[name].endswith("MB")
    return int(fitted[name].removesuffix("MB"))


@pytest.mark.parametrize("gibibytes", [0.5, 2, 4, 8, 16, 64, 512])
def test_settings_fit(gibibytes: float) -> None:
    total = int(gibibytes * GIBIBYTE)
    fitted = postgres_memory(total, pool=10)
    shared = _megabytes(fitted, "shared_buffers")
    assert 128 <= shared <= 4096
    assert shared * 4 <= total // MEBIBYTE
    assert 4 <= _megabytes(fitted, "work_mem") <= 64
    assert 64 <= _megabytes(fitted, "maintenance_work_mem") <= 1024
    assert _megabytes(fitted, "effective_cache_size") >= shared
    assert 512 <= _megabytes(fitted, "max_wal_size") <= 4096
    assert 64 * MEBIBYTE <= valkey_memory(total) <= 512 * MEBIBYTE


def test_connections_follow_the_pool() -> None:
    assert postgres_memory(2 * GIBIBYTE, pool=10)["max_connections"] == "50"
    assert postgres_memory(16 * GIBIBYTE, pool=10)["max_connections"] == "100"
    assert postgres_memory(16 * GIBIBYTE, pool=200)["max_connections"] == "620"


def test_this_machine_has_memory() -> None:
    assert 256 * MEBIBYTE <= memory_bytes() < 1024 * 1024 * GIBIBYTE
