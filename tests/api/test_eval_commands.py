"""citewell eval show, report and dataset, against a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from api.scripted import served
from api.stage import Api
from citewell.cli.app import app
from citewell.errors import CitewellError, InputError
from citewell.evals.datasets import read_dataset
from citewell.records.answers import remove_old_answers

CLOCKS = "# Clocks\n\nThe pendulum clock was designed in 1656 by Christiaan Huygens.\n"
TEA = "# Tea\n\nGreen tea is brewed with water at 80 degrees for two minutes.\n"
WHEN = "When was the pendulum clock designed?"
HOT = "At which temperature is green tea brewed?"
CUP = "Who won the football cup in Brazil?"
QUESTIONS: list[dict[str, Any]] = [
    {"id": "when", "question": WHEN, "document": "clocks.md", "phrases": ["1656"]},
    {"id": "tea", "question": HOT, "document": "tea.md", "quote": "water at 80 degrees"},
    {"id": "not", "question": CUP, "answerable": False},
]


class Run(Protocol):
    """Runs a command and returns what it printed, on both streams or on stdout alone."""

    async def __call__(self, *words: str, stdout: bool = False) -> str: ...


@pytest.fixture
async def run(fresh: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Run]:
    """Run commands beside a server that has two documents."""
    await fresh.add("clocks.md", CLOCKS)
    await fresh.add("tea.md", TEA)
    async with served(fresh) as client:
        monkeypatch.setenv("CITEWELL_URL", str(client.base_url))

        async def command(*words: str, stdout: bool = False) -> str:
            done = await asyncio.to_thread(CliRunner().invoke, app, ["eval", *words])
            if isinstance(done.exception, CitewellError):
                raise done.exception
            assert done.exit_code == 0, done.output
            return done.stdout if stdout else done.output

        yield command


async def evaluate(api: Api, *, works: bool = True, **body: Any) -> str:
    """Make a run of the questions, and have it worked off; return its id."""
    reply = await api.client.post("/evals", json={"questions": QUESTIONS, **body})
    assert reply.status_code == 202, reply.text
    if works:
        assert await api.work() == 1
    return reply.json()["eval_id"]


async def test_a_run_is_shown_with_its_figures(fresh: Api, run: Run) -> None:
    made = await evaluate(fresh, name="nightly [x]")
    shown = await run("show", made)
    assert f"nightly [x] {made}" in shown
    assert "3 questions · succeeded" in shown
    lines = {line.split()[0]: line.split() for line in shown.splitlines() if line.split()}
    assert lines["ndcg_at_10"][1] == "1.0000"
    assert lines["ndcg_at_10"][-1] == "2", "only answerable questions have a rank"
    assert lines["refusal_accuracy"][-1] == "3"
    assert "answer_ms p50 " in shown
    assert "cost" not in shown, "quoting costs nothing"
    assert "failed" not in shown


async def test_a_run_is_given_as_json_with_its_questions(fresh: Api, run: Run) -> None:
    made = await evaluate(fresh, retrieval_only=True)
    shown = json.loads(await run("show", made, "--json", stdout=True))
    assert (shown["eval_id"], shown["status"]) == (made, "succeeded")
    assert [each["expected"]["id"] for each in shown["questions"]] == ["when", "tea", "not"]
    assert shown["questions"][0]["result"]["metrics"]["mrr"] == 1.0
    assert "answer_contains" not in shown["figures"]["metrics"]


async def test_a_run_that_is_not_there_is_told(run: Run, tmp_path: Path) -> None:
    for words in (("show",), ("report", "-o", str(tmp_path / "x.html"))):
        with pytest.raises(InputError, match="There is no evaluation"):
            await run(words[0], str(uuid4()), *words[1:])
    assert not (tmp_path / "x.html").exists()


class Tags(HTMLParser):
    """Collects a page's elements and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


async def test_a_report_is_one_page_that_loads_nothing(
    fresh: Api, run: Run, tmp_path: Path
) -> None:
    made = await evaluate(fresh, name="<b>nightly</b>")
    file = tmp_path / "report.html"
    assert await run("report", made, "-o", str(file), stdout=True) == ""
    html = file.read_text(encoding="utf-8")
    assert (await run("report", made, stdout=True)).strip() == html.strip()
    page = Tags()
    page.feed(html)
    names = {tag for tag, _ in page.tags}
    assert "svg" in names
    assert not names & {"script", "link", "iframe", "img", "b"}
    for _, attributes in page.tags:
        assert not {"src", "href", "onload"} & attributes.keys()
    assert "<b>nightly</b>" in page.words, "a name is shown as it was written"
    assert all(each["question"] in page.words for each in QUESTIONS)
    for word in ("ndcg_at_10", "refusal_accuracy"):
        assert word in page.words
    with pytest.raises(InputError, match="cannot be written"):
        await run("report", made, "-o", str(tmp_path))


async def test_a_run_that_has_not_ended_has_no_report(fresh: Api, run: Run, tmp_path: Path) -> None:
    made = await evaluate(fresh, works=False)
    assert "pending" in await run("show", made)
    with pytest.raises(InputError, match="has not ended yet"):
        await run("report", made, "-o", str(tmp_path / "early.html"))
    assert not (tmp_path / "early.html").exists()


async def test_a_dataset_is_made_of_feedback(fresh: Api, run: Run, tmp_path: Path) -> None:
    answers = {question: await fresh.ask(question) for question in (WHEN, HOT, CUP)}
    gone = await fresh.ask("Who designed the pendulum clock?")
    ratings = [(answers[WHEN], "up", None), (answers[CUP], "up", None), (gone, "up", "Yes."),
               (answers[HOT], "down", "It is 70 degrees – ask Jö.")]  # fmt: skip
    for answer, rating, comment in ratings:
        body = {"rating": rating} | ({} if comment is None else {"comment": comment})
        path = f"/answers/{answer['answer_id']}/feedback"
        reply = await fresh.client.post(path, json=body)
        assert reply.is_success, reply.text
    async with fresh.services.database.system_transaction() as connection:
        old = "UPDATE answers SET created_at = now() - interval '9 days' WHERE id = :id"
        await connection.execute(text(old), {"id": gone["answer_id"]})
        assert await remove_old_answers(connection, 8) == 1
    file = tmp_path / "liked.jsonl"
    said = await run("dataset", "--from", "feedback", "-o", str(file))
    assert said.startswith("2 questions in ")
    assert "2 to be looked at in " in said
    liked = {line["question"]: line for line in read_lines(file)}
    assert liked.keys() == {WHEN, CUP}
    assert liked[CUP]["answerable"] is False
    assert "expected" not in liked[CUP]
    cited = {
        (each["document_name"], each["quote"]) for each in answers[WHEN]["citations"]
    }  # fmt: skip
    assert {(e["document"], e["quote"]) for e in liked[WHEN]["expected"]} == cited != set()
    review = {line["question"]: line for line in read_lines(tmp_path / "liked.review.jsonl")}
    assert review.keys() == {HOT, gone["question"]}
    assert (review[HOT]["rating"], review[HOT]["comment"]) == ("down", "It is 70 degrees – ask Jö.")
    assert review[HOT]["answer"] == answers[HOT]["answer"]
    assert {each["document"] for each in review[HOT]["expected"]} == {"tea.md"}
    assert review[gone["question"]]["answer"] is None, "it is no longer kept"
    # What was made can be evaluated as it is, and says what was liked.
    questions = [each.to_json() for each in read_dataset(file)]
    made = await evaluate(fresh, questions=questions)
    metrics = (await fresh.client.get(f"/evals/{made}")).json()["figures"]["metrics"]
    assert metrics["citation_recall"]["mean"] == 1.0
    assert metrics["refusal_accuracy"]["mean"] == 1.0


async def test_without_feedback_a_dataset_is_empty(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "none.jsonl"
    assert (await run("dataset", "--from", "feedback", "-o", str(file))).startswith("0 questions")
    assert file.read_text() == ""
    assert not (tmp_path / "none.review.jsonl").exists()


async def test_a_wrong_source_or_file_is_told(run: Run, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["eval", "dataset", "--from", "dreams", "-o", "x.jsonl"])
    assert done.exit_code == 2
    assert "chat-logs or feedback" in done.output
    with pytest.raises(InputError, match="cannot be written"):
        await run("dataset", "--from", "feedback", "-o", str(tmp_path))


def read_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
