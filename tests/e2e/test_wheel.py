"""What is in the wheel is enough: it is built, installed alone, and used from another folder."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from citewell import embedded
from citewell.cli.demo import find_examples
from e2e.processes import EXAMPLES, PROJECT, Program, environment
from records.databases import new_folder

pytestmark = pytest.mark.timeout(240)


def _run(*command: str, cwd: Path) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _uv() -> str | None:
    return shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))


def _install(wheel: Path, folder: Path) -> str:
    """Install the wheel alone into an environment of its own; return the environment's Python."""
    environment, python = str(folder / "venv"), str(folder / "venv" / "bin" / "python")
    only = ("install", "--no-deps", "--no-index")
    if uv := _uv():
        _run(uv, "venv", "--offline", "--python", sys.executable, environment, cwd=folder)
        _run(uv, "pip", *only, "--offline", "--python", python, str(wheel), cwd=folder)
    else:
        _run(sys.executable, "-m", "venv", environment, cwd=folder)
        _run(python, "-m", "pip", *only, str(wheel), cwd=folder)
    return python


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built in a copy of the checkout so that nothing is written beside the sources."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy2(PROJECT / name, source / name)
    for name in ("src", "examples"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / name, source / name, ignore=ignored)
    uv = _uv()
    build = [uv, "build"] if uv else [sys.executable, "-m", "build", "--outdir", "dist"]
    _run(*build, "--wheel", cwd=source)
    (made,) = (source / "dist").glob("citewell-*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Iterator[Program]:
    """The wheel in a fresh environment, whose dependencies are those of this one.

    Installing every dependency anew takes minutes; a path file lends them instead. It lends no
    Citewell: path files inside of a lent folder are not read.
    """
    with new_folder() as folder:
        python = _install(wheel, folder)
        find = "import sysconfig; print(sysconfig.get_path('purelib'))"
        own = Path(_run(python, "-c", find, cwd=folder).strip())
        lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (own / "lent.pth").write_text("\n".join(sorted(lent)) + "\n")
        yield Program(folder / "data", str(folder / "venv" / "bin" / "citewell"))
        embedded.remove_data(folder / "data")


def test_what_the_wheel_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        text = next(name for name in names if name.endswith("entry_points.txt"))
        assert b"citewell = citewell.cli:main" in archive.read(text)
    tracked = {
        "citewell/" + path.relative_to(PROJECT / "src" / "citewell").as_posix()
        for path in (PROJECT / "src" / "citewell").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    examples = {f"citewell/examples/{path.name}" for path in (PROJECT / "examples").iterdir()}
    assert tracked <= names
    assert examples <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"citewell"}


def test_the_installed_one_is_used(installed: Program) -> None:
    python = str(Path(installed.command).parent / "python")
    where = _run(python, "-c", "import citewell; print(citewell.__file__)", cwd=installed.folder)
    assert where.startswith(str(installed.folder))
    shown = subprocess.run([installed.command, "--help"], cwd=os.sep, env=environment(),
                           capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    assert shown.returncode == 0
    assert "demo" in shown.stdout


def test_its_demo_does_everything_once_and_leaves_nothing(
    installed: Program, tmp_path: Path
) -> None:
    """It starts the servers and a worker, reads every example, and answers from them."""
    assert list(installed.folder.glob("venv/lib/*/site-packages/citewell/examples/book.html"))
    with tempfile.TemporaryDirectory() as folder:  # of its own: other tests run demos meanwhile
        done = subprocess.run(
            [installed.command, "demo"], cwd=tmp_path, env=environment(TMPDIR=folder),
            capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip
        left = list(Path(folder).glob("citewell-demo-*"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "demo: 6 answered, 1 refused, every citation exact"
    assert re.search(r"\[§4\.2\] book\.html", done.stdout)
    assert "Traceback" not in done.stderr
    assert left == []
    assert list(tmp_path.iterdir()) == []


def test_a_checkouts_demo_takes_its_examples() -> None:
    assert find_examples() == EXAMPLES
