"""A worker's pulse is heard however many connections the API has open."""

import fcntl
import os
import resource

import pytest

from citewell.cli.supervisor import _read_all  # pyright: ignore[reportPrivateUsage]

MANY = 1100
"""More than select() can name."""


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= MANY, reason="few files may be open here"
)
def test_a_pulse_is_heard_beyond_a_thousand_open_files() -> None:
    read_end, write_end = os.pipe()
    high = fcntl.fcntl(read_end, fcntl.F_DUPFD, MANY)
    try:
        os.set_blocking(high, False)
        assert _read_all(high) == b""
        os.write(write_end, b"..")
        assert _read_all(high) == b".."
    finally:
        for pipe in (high, read_end, write_end):
            os.close(pipe)
