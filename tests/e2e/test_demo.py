"""``citewell demo`` does everything once and leaves nothing."""

import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from e2e.processes import COMMAND, Program, environment


@pytest.mark.timeout(180)
def test_the_demo(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:  # of its own: other tests run demos meanwhile
        done = subprocess.run(
            [COMMAND, "demo"], cwd=tmp_path, env=environment(TMPDIR=folder), capture_output=True,
            text=True, timeout=150, check=False,
        )  # fmt: skip
        left = list(Path(folder).glob("citewell-demo-*"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "demo: 6 answered, 1 refused, every citation exact"
    assert re.search(r"\[§4\.2\] book\.html", done.stdout)
    assert "Traceback" not in done.stderr
    assert left == []
    assert list(tmp_path.iterdir()) == []


def test_examples_that_are_not_there_are_one_sentence(tmp_path: Path) -> None:
    done = Program(tmp_path / "data").call("ingest", str(tmp_path / "none"))
    assert done.returncode == 1
    assert done.stderr.startswith("citewell: There is no file or folder")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()
