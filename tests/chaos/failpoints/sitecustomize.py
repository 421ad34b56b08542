"""Write down each commit, rename, sync and send of a Citewell process, and kill it at a named one.

Python loads this file at the start of every process that has its folder on PYTHONPATH. The folder
in CHAOS_FAILPOINTS holds ``sites`` (what was passed), ``armed`` (where to die) and one ``killed-…``
for each death. Without that variable nothing is changed.
"""

import asyncio
import contextvars
import functools
import importlib.util
import json
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

VARIABLE = "CHAOS_FAILPOINTS"
DEEPEST_FRAMES = 60
WRITING = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE|CREATE|ALTER|DROP)\b")
FILES = ("rename", "replace", "link", "fsync")
BETWEEN = ("pathlib", "contextlib", "os", "shutil", "tempfile")
"""Modules that may stand between Citewell and a file operation of its own."""

Site = tuple[str, str]
"""A site's name, and where it was called from."""

_nobody = object()
_above: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("above", default=())
"""The functions that handed work to the thread that runs now."""


class Failpoints:
    """The sites that this process passed, and the one where it is to die."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._passages: Counter[str] = Counter()

    def note(self, site: str, does: str) -> None:
        """Write down a site that this process passes for the first time."""
        line = json.dumps({"site": site, "does": does}) + "\n"
        with self._lock:
            if line in self._seen:
                return
            self._seen.add(line)
        handle = os.open(self._folder / "sites", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(handle, line.encode())
        os.close(handle)

    def pass_by(self, site: str, when: str) -> None:
        """Die here, if this is the passage that is armed and nobody died at it yet."""
        try:
            armed = json.loads((self._folder / "armed").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return
        for point in armed:
            if (point["site"], point["when"]) == (site, when) and self._is_due(point):
                with suppress(FileExistsError):
                    os.open(self._folder / f"killed-{point['id']}", os.O_CREAT | os.O_EXCL)
                    os.kill(os.getpid(), signal.SIGKILL)

    def _is_due(self, point: dict[str, Any]) -> bool:
        with self._lock:
            self._passages[point["id"]] += 1
            return self._passages[point["id"]] >= point["passage"]


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _frames() -> list[FrameType]:
    """Return the frames above the caller's, innermost first."""
    found: list[FrameType] = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and len(found) < DEEPEST_FRAMES:
        found.append(frame)
        frame = frame.f_back
    return found


def _is_ours(frame: FrameType) -> bool:
    module = _module(frame)
    return module.startswith("citewell.") and module != "citewell.records.session"


def _name(frame: FrameType) -> str:
    return f"{_module(frame).removeprefix('citewell.')}.{frame.f_code.co_qualname}"


def _ours(frames: list[FrameType]) -> list[str]:
    """Return Citewell's functions on the stack, and those that handed over to this thread."""
    names = [_name(frame) for frame in frames if _is_ours(frame)]
    return list(dict.fromkeys([*names, *_above.get()]))


def _cause(kind: str, frames: list[FrameType]) -> str | None:
    """Name a site by the innermost function and line, and by who called it from elsewhere."""
    inner = next((frame for frame in frames if _is_ours(frame)), None)
    names = _ours(frames)
    if inner is None or not names:
        return None
    own = names[0].rsplit(".", 2)[0]
    outer = next((name for name in names[1:] if not name.startswith(own)), "")
    return f"{kind} {names[0]}:{inner.f_lineno}" + (f" for {outer}" if outer else "")


def _watch_files(failpoints: Failpoints) -> None:
    for kind in FILES:
        setattr(os, kind, _watched_file(failpoints, kind, getattr(os, kind)))


def _watched_file(
    failpoints: Failpoints, kind: str, real: Callable[..., Any]
) -> Callable[..., Any]:
    @functools.wraps(real)
    def watched(*args: Any, **more: Any) -> Any:
        frames = _frames()
        nearest = next((f for f in frames if _module(f) not in BETWEEN), None)
        site = _cause(kind, frames) if nearest is not None and _is_ours(nearest) else None
        if site is None:
            return real(*args, **more)
        failpoints.note(site, "")
        failpoints.pass_by(site, "before")
        answer = real(*args, **more)
        failpoints.pass_by(site, "after")
        return answer

    return watched


def _watch_threads(module: ModuleType) -> None:
    real = module.to_thread

    async def to_thread(function: Callable[..., Any], /, *args: Any, **more: Any) -> Any:
        token = _above.set(tuple(_ours(_frames())))
        try:
            return await real(function, *args, **more)
        finally:
            _above.reset(token)

    module.to_thread = to_thread  # pyright: ignore


def _watch_commits(failpoints: Failpoints, module: ModuleType) -> None:
    """Note what each transaction does, and stand before and after its commit."""
    connection, transaction = module.AsyncConnection, module.AsyncTransaction
    for method in ("execute", "scalar", "scalars", "run_sync"):
        setattr(connection, method, _watched_statement(getattr(connection, method)))
    real = transaction.__aexit__

    async def leave(self: Any, kind: Any, value: Any, trace: Any) -> None:
        site = _cause("commit", _frames()) if kind is None else None
        done = {} if site is None else _done(self.connection)
        if site is None or not done:
            await real(self, kind, value, trace)
            return
        failpoints.note(site, ",".join(done))
        failpoints.pass_by(site, "before")
        await real(self, kind, value, trace)
        failpoints.pass_by(site, "after")

    transaction.__aexit__ = leave


def _watched_statement(real: Callable[..., Any]) -> Callable[..., Any]:
    async def watched(self: Any, statement: Any, *args: Any, **more: Any) -> Any:
        if callable(statement) or WRITING.search(str(statement)):
            names = [_name(frame) for frame in _frames() if _is_ours(frame)]
            records = [name for name in names if name.startswith("records.")]
            public = [name for name in records if not name.rsplit(".", 1)[1].startswith("_")]
            _done(self)[(public or records or names or ["?"])[0].rsplit(".", 1)[1]] = True
        return await real(self, statement, *args, **more)

    return watched


def _done(connection: Any) -> dict[str, bool]:
    """Return the writing functions of the transaction that runs on a connection."""
    root = connection.sync_connection.get_transaction()
    held = connection.sync_connection.__dict__.setdefault("chaos_done", {"of": _nobody})
    if held["of"] is not root:
        held.clear()
        held.update(of=root, names={})
    return held["names"]


def _watch_sends(failpoints: Failpoints, module: ModuleType) -> None:
    real = module.Producer.publish

    @functools.wraps(real)
    def publish(*args: Any, **more: Any) -> Any:
        site = _cause("send", _frames())
        if site is None:
            return real(*args, **more)
        failpoints.note(site, "")
        failpoints.pass_by(site, "before")
        answer = real(*args, **more)
        failpoints.pass_by(site, "after")
        return answer

    module.Producer.publish = publish


class _Patcher(MetaPathFinder):
    """Changes a module right after it was loaded."""

    def __init__(self, patches: dict[str, Callable[[ModuleType], None]]) -> None:
        self._patches = patches

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        patch = self._patches.pop(fullname, None)
        if patch is None:
            return None
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_patch(module: ModuleType) -> None:
            load(module)
            patch(module)

        spec.loader.exec_module = load_and_patch  # type: ignore[method-assign]
        return spec


def _begin(folder: Path) -> None:
    failpoints = Failpoints(folder)
    _watch_files(failpoints)
    _watch_threads(asyncio)
    patches = {
        "sqlalchemy.ext.asyncio.engine": functools.partial(_watch_commits, failpoints),
        "kombu.messaging": functools.partial(_watch_sends, failpoints),
    }
    sys.meta_path.insert(0, _Patcher(patches))


if VARIABLE in os.environ:
    _begin(Path(os.environ[VARIABLE]))
