"""Real servers in folders of their own; everything that a test leaves running is a failure."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedded_servers import servers_of, start_holder

from citewell import embedded
from citewell.settings import Settings


def _new_folder() -> Path:
    """Make a folder that every user may pass, in memory where there is room: initdb syncs a lot."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 * 1024**3
    folder = Path(tempfile.mkdtemp(prefix="cw-", dir=memory if roomy else None))
    folder.chmod(0o711)
    return folder


@pytest.fixture
def base() -> Iterator[Path]:
    folder = _new_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def made() -> Iterator[Path]:
    """A data folder whose cluster is made; tests get copies of it, which is faster than initdb."""
    folder = _new_folder()
    with embedded.start(Settings(data=folder / "data")):
        pass
    yield folder / "data"
    embedded.remove_data(folder / "data")
    folder.rmdir()


@pytest.fixture
def data(base: Path, made: Path) -> Iterator[Path]:
    """A data folder that was started before."""
    subprocess.run(["cp", "-a", str(made), str(base / "data")], check=True)
    yield from _checked(base / "data")


@pytest.fixture
def fresh(base: Path) -> Iterator[Path]:
    """A data folder that is not there yet."""
    yield from _checked(base / "data")


def _checked(folder: Path) -> Iterator[Path]:
    yield folder
    leftover = servers_of(folder)
    embedded.remove_data(folder)
    assert not folder.exists()
    assert leftover == []


@pytest.fixture
def holder(data: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the data folder, its servers answering."""
    process = start_holder(data)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("postgresql+psycopg://")
    yield process
    if process.poll() is None:
        os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=10)
