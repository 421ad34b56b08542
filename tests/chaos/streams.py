"""Many streams at once, and many readers who leave: none mixed, none left behind."""

import asyncio
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
import psycopg
from sqlalchemy import make_url

from chaos.installation import open_installation
from chaos.outcome import Outcome
from chaos.stream_client import Leave, Seen, read_stream
from chaos.stream_servers import (
    HEADER,
    SENTENCES,
    TOKEN,
    own_process,
    place_of,
    question_of,
    settled,
    text_of,
    workspace_of,
)
from e2e.processes import PLAIN, wait_until
from records.databases import new_folder

MOST_RSS_BYTES = 600 * 1024**2
TEXTS_AT_ONCE = 500
PATIENT = {
    "CITEWELL_ANSWER__CHAT_MODEL": "openai:fake",
    "CITEWELL_ANSWER__DEADLINE_SECONDS": "600",
    "CITEWELL_MODEL__TIMEOUT_SECONDS": "600",
    "CITEWELL_LOG__LEVEL": "warning",
}
LEFT_SECONDS = 2.0
"""How long after the last reader left anything may still be at work for one."""
AT_ONCE = 200
MOST_EVENTS = 9
SESSIONS = 4
PASSING = {409, 503}
"""Replies in a crowd that are no fault: the session's turn, or the database, is taken."""
SSE_WATCHER = "_shutdown_watcher"
"""One task of the stream library for the whole process, from its first stream on."""
IDLE = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'
"""
TURNS = "SELECT count(*) FROM sessions WHERE turn_token IS NOT NULL"


@contextmanager
def peak_rss(pid: int) -> Iterator[list[int]]:
    """Watch a process's resident memory; the list holds what it began with, and the peak."""
    process, over = psutil.Process(pid), threading.Event()
    peak = [process.memory_info().rss] * 2

    def watch() -> None:
        while not over.wait(0.1):
            peak[1] = max(peak[1], process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def many_streams(count: int, pause: float = 0.2) -> Outcome:
    """Have so many clients ask at the same moment, each about a document of its own."""
    outcome = Outcome(f"{count:,} streams at once", times=count)
    with (
        new_folder() as folder,
        own_process("provider", "--pause", str(pause), log=folder / "provider.log") as provider,
        open_installation(
            **PATIENT,
            CITEWELL_MODEL__BASE_URL=provider["url"],
            CITEWELL_MODEL__MAX_CONCURRENT=str(min(count, 1000)),
        ) as installation,
    ):
        tokens = [place_of(number) for number in range(count)]
        running = installation.running
        documents = add_texts(running.url, tokens)
        with peak_rss(running.process.pid) as memory:
            seen = asyncio.run(_ask_all(running.url, tokens))
        for token, one in zip(tokens, seen, strict=True):
            judge_whole(outcome, one, token, documents[token])
        if memory[1] > MOST_RSS_BYTES:
            outcome.wrong.append(f"the API took {memory[1] / 2**20:.0f} MiB")
        if left := settled(provider["url"], LEFT_SECONDS):
            outcome.not_ended.append(f"{left} connections to the provider")
        outcome.accepted = len(documents)
        outcome.seconds = max(one.seconds for one in seen)
        outcome.remark = (
            f"{_spread(seen)}; API {memory[0] / 2**20:.0f} → {memory[1] / 2**20:.0f} MiB"
        )
        if outcome.faults:
            outcome.log = installation.keep_log()
    return outcome


def add_texts(url: str, tokens: Sequence[str]) -> dict[str, str]:
    """Have a document of each token; return its id."""
    with httpx.Client(base_url=url, trust_env=False, timeout=120) as client:
        for first in range(0, len(tokens), TEXTS_AT_ONCE):
            part = [
                {"text": text_of(token), "name": token}
                for token in tokens[first : first + TEXTS_AT_ONCE]
            ]
            reply = client.post("/ingest", json={"texts": part})
            assert reply.status_code == 202, reply.text
            job = f"/ingest/{reply.json()['job_id']}"
            done = wait_until(lambda job=job: _ended(client.get(job).json()), 300)
            assert done["failed"] == 0, done
        found: dict[str, str] = {}
        cursor = None
        while True:
            query = {"limit": 200} | ({"cursor": cursor} if cursor else {})
            page = client.get("/documents", params=query).json()
            found |= {item["name"].split(".")[0]: item["document_id"] for item in page["documents"]}
            cursor = page["next_cursor"]
            if cursor is None:
                return {token: found[token] for token in tokens}


def _ended(group: dict[str, Any]) -> dict[str, Any] | None:
    return None if group["status"] in {"queued", "running"} else group


async def _ask_all(url: str, tokens: Sequence[str]) -> list[Seen]:
    async def ask(token: str) -> Seen:
        return await read_stream(url, "/query/stream", {"question": question_of(token), "limit": 3})

    return await asyncio.gather(*map(ask, tokens))


def judge_whole(outcome: Outcome, seen: Seen, token: str, document_id: str | None) -> None:
    """Count a stream that is not whole as lost, and one with another's words as wrong."""
    name, done = seen.last
    if name != "done" or done["refused"]:
        why = done.get("detail") or done.get("message") or seen.error or seen.body[:200]
        outcome.lost.append(f"{seen.status} {name}: {why}")
        return
    own = text_of(token)
    right = (
        done["question"] == question_of(token)
        and len(done["sentences"]) == SENTENCES
        and all(own in " ".join(each["text"].split()) for each in done["sentences"])
        and all(each["quote"] in own for each in done["citations"])
        and len(done["citations"]) >= SENTENCES
        and seen.body.count("event: sentence") == SENTENCES
        and seen.body.count("event: meta") == 1
    )
    if not right or {each["document_id"] for each in done["citations"]} - {document_id} - {None}:
        outcome.wrong.append(f"mixed: {token} got {done['answer'][:120]!r}")


def _spread(seen: Sequence[Seen]) -> str:
    whole = sorted(one.seconds for one in seen)
    first = sorted(one.first_seconds for one in seen)
    cut = int(len(whole) * 0.95)
    return (
        f"whole p50 {statistics.median(whole):.1f} s, p95 {whole[min(cut, len(whole) - 1)]:.1f} s; "
        f"first byte p95 {first[min(cut, len(first) - 1)]:.1f} s"
    )


class Crowd:
    """Readers of many workspaces, most of whom leave in the middle."""

    def __init__(self, url: str, workspaces: int, seed: int) -> None:
        self.url = url
        self.workspaces = workspaces
        self.draw = random.Random(seed)
        self.sessions: dict[int, list[str]] = {}
        self.answers: list[tuple[int, str]] = []
        self.foreign: list[str] = []
        self.wrong: list[str] = []
        self.ends: Counter[str] = Counter()

    async def open_sessions(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=60) as client:
            for space in range(self.workspaces):
                header = {HEADER: str(workspace_of(space))}
                made = [await client.post("/session", headers=header) for _ in range(SESSIONS)]
                self.sessions[space] = [reply.json()["session_id"] for reply in made]

    async def come_and_leave(self, readers: int) -> None:
        """Have so many come, a number of them at once, and most leave."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with turns:
                await self._read(number % self.workspaces)

        await asyncio.gather(*map(one, range(readers)))

    async def speak_once_more(self) -> None:
        """Send a message in every session: its turn must be free, and the answer whole."""
        spaces = [(space, session) for space in self.sessions for session in self.sessions[space]]
        talks = [self._talk(space, session) for space, session in spaces]
        for (space, _), seen in zip(spaces, await asyncio.gather(*talks), strict=True):
            self._check(space, seen)
            if seen.last[0] != "done":
                self.wrong.append(f"after all left, a message got {seen.status} {seen.body[-300:]}")

    async def _talk(self, space: int, session: str, leave: Leave | None = None) -> Seen:
        body = {"message": question_of(place_of(space)), "session_id": session, "limit": 3}
        return await self._stream(space, "/chat/stream", body, leave)

    async def _read(self, space: int) -> None:
        draw = self.draw
        stays = draw.random() < 0.1
        leave = None if stays else Leave.draw(draw, MOST_EVENTS, 0.5)
        kind = draw.random()
        if kind < 0.45:
            seen = await self._talk(space, draw.choice(self.sessions[space]), leave)
        elif kind < 0.9 or not self.answers:
            body = {"question": question_of(place_of(space)), "limit": 3}
            seen = await self._stream(space, "/query/stream", body, leave)
        else:
            await self._listen_to_others(space)
            return
        self._check(space, seen)
        self.ends["left" if seen.left else f"{seen.status} {seen.last[0]}"] += 1
        if seen.status not in {0, 200} | PASSING or (seen.status == 0 and not seen.left):
            self.wrong.append(f"{seen.status} {seen.error} {seen.body[:200]}")
        if stays and seen.status == 200 and seen.last[0] != "done":
            self.wrong.append(f"one who stayed got {seen.last}")
        for name, data in seen.events:
            if name == "meta":
                self.answers.append((space, data["answer_id"]))

    async def _listen_to_others(self, space: int) -> None:
        """Ask for an answer that is, or was, made somewhere: another workspace's is unknown."""
        owner, answer_id = self.answers[self.draw.randrange(len(self.answers))]
        path = f"/answers/{answer_id}/events"
        seen = await self._stream(space, path, None, Leave.draw(self.draw, MOST_EVENTS, 0.5))
        self._check(space, seen)
        self.ends[f"listened {'own' if owner == space else 'other'} {seen.status}"] += 1
        if owner != space and seen.status not in {0, 404, 503}:
            self.foreign.append(f"workspace {space} was told workspace {owner}'s answer")

    async def _stream(
        self, space: int, path: str, body: dict[str, Any] | None, leave: Leave | None
    ) -> Seen:
        header = {HEADER.replace("-", "_"): str(workspace_of(space))}
        return await read_stream(self.url, path, body, leave, **header)

    def _check(self, space: int, seen: Seen) -> None:
        """Look for another workspace's word in all that came, whole events or not."""
        own = place_of(space)
        others = set(TOKEN.findall(seen.raw.decode(errors="replace"))) - {own}
        known = {place_of(number) for number in range(self.workspaces)}
        if others & known:
            self.foreign.append(f"{own} saw {sorted(others & known)}")


def leaving_readers(
    readers: int, workspaces: int, seed: int, pause: float = 0.05, concurrent: int = 50
) -> Outcome:
    """Have readers leave at random moments, and look for what is left behind."""
    outcome = Outcome(f"{readers:,} readers who leave, {workspaces} workspaces", times=readers)
    with (
        new_folder() as folder,
        own_process("provider", "--pause", str(pause), log=folder / "provider.log") as provider,
        own_process(
            "workspaces",
            "--count",
            str(workspaces),
            log=folder / "app.log",
            **PATIENT,
            CITEWELL_DATA=str(folder / "data"),
            CITEWELL_MODEL__BASE_URL=provider["url"],
            CITEWELL_MODEL__MAX_CONCURRENT=str(concurrent),
        ) as app,
    ):
        crowd = Crowd(app["url"], workspaces, seed)
        asyncio.run(crowd.open_sessions())
        quiet = _state(app["url"])
        with peak_rss(app["pid"]) as memory:
            asyncio.run(crowd.come_and_leave(readers))
            outcome.not_ended += left_behind(app, provider["url"], quiet)
            started = time.monotonic()
            asyncio.run(crowd.speak_once_more())
            outcome.seconds = time.monotonic() - started
            outcome.not_ended += left_behind(app, provider["url"], quiet)
        outcome.doubled, outcome.wrong = crowd.foreign, crowd.wrong + _bugs(folder / "app.log")
        outcome.accepted = workspaces
        ends = ", ".join(f"{count} {end}" for end, count in crowd.ends.most_common())
        outcome.remark = f"{ends}; API {memory[0] / 2**20:.0f} → {memory[1] / 2**20:.0f} MiB"
    return outcome


def left_behind(app: dict[str, Any], provider_url: str, quiet: dict[str, Any]) -> list[str]:
    """List what still works or waits for a reader who is gone."""
    deadline = time.monotonic() + LEFT_SECONDS
    open_connections = settled(provider_url, LEFT_SECONDS)
    while True:
        state = _state(app["url"])
        counts = {name: count for name, count in state.items() if name != "tasks"}
        counts |= {
            "provider's connections": open_connections,
            "idle in transaction": _count(app["database_url"], IDLE),
            "session turns": _count(app["database_url"], TURNS),
        }
        tasks = Counter(state["tasks"]) - Counter(quiet["tasks"])
        del tasks[SSE_WATCHER]
        left = [f"{count} {name}" for name, count in (counts | tasks).items() if count]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def _state(url: str) -> dict[str, Any]:
    header = {HEADER: str(UUID(int=0))}
    return httpx.get(f"{url}/chaos/state", headers=header, timeout=30, **PLAIN).json()


def _count(database_url: str, statement: str) -> int:
    url = make_url(database_url)
    parameters: dict[str, Any] = {"dbname": url.database, **url.query}
    with psycopg.connect(
        autocommit=True, user=url.username, password=url.password, **parameters
    ) as connection:
        row = connection.execute(statement).fetchone()  # pyright: ignore
    assert row is not None
    return row[0]


def _bugs(log: Path) -> list[str]:
    """Return what a process wrote of a bug: an error, or a task whose end nobody looked at."""
    marks = ("Traceback", "never retrieved", "was never awaited", "[error", "pending!")
    lines = log.read_text(errors="replace").splitlines()
    found = [line for line in lines if any(mark in line for mark in marks)]
    return [f"its log: {line[:300]}" for line in dict.fromkeys(found)]
