"""/search, /query, /query/stream: found, cited exactly, refused with a reason."""

import json
from typing import Any

import pytest

from api.stage import EXAMPLES, Api, read_events, require_problem

QUESTIONS: list[dict[str, Any]] = [
    json.loads(line)
    for line in (EXAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()
]
DEMO = [item for item in QUESTIONS if item["demo"]]
CLOCK = "When was the first working pendulum clock designed, and by whom?"
BREAD = "How long should sourdough bread rise before it is baked?"
ANSWER_FIELDS = {"answer", "citations", "sources", "refused", "reason", "mode", "timings_ms",
                 "usage", "answer_id"}  # fmt: skip
CITATION_FIELDS = {"marker", "document_id", "document_name", "version_id", "chunk_id", "start",
                   "end", "quote", "page", "section"}  # fmt: skip
RESULT_FIELDS = {"document_id", "document_name", "chunk_id", "score", "text", "start", "end",
                 "page", "section", "metadata"}  # fmt: skip


@pytest.mark.parametrize("item", DEMO, ids=[item["id"] for item in DEMO])
async def test_the_demo_questions(library: Api, item: dict[str, Any]) -> None:
    answer = await library.ask(item["question"])
    assert set(answer) >= ANSWER_FIELDS
    assert answer["refused"] is not item["answerable"]
    if not item["answerable"]:
        assert (answer["answer"], answer["citations"]) == ("", [])
        assert answer["reason"]
        assert answer["message"]
        return
    quotes = " ".join(" ".join(citation["quote"].split()) for citation in answer["citations"])
    assert [phrase for phrase in item["phrases"] if phrase not in quotes] == []
    assert item["document"] in {citation["document_name"] for citation in answer["citations"]}
    if item["section"]:
        assert item["section"] in {citation["section"] for citation in answer["citations"]}
    if item["page"]:
        assert item["page"] in {citation["page"] for citation in answer["citations"]}


async def test_every_citation_of_every_question_is_exact(library: Api) -> None:
    answered = 0
    for item in QUESTIONS:
        answer = await library.ask(item["question"])
        answered += not answer["refused"]
        await library.check_citations(answer)
        assert bool(answer["citations"]) is not answer["refused"]
        sources = {source["chunk_id"] for source in answer["sources"]}
        for citation in answer["citations"]:
            assert set(citation) >= CITATION_FIELDS
            assert citation["marker"] in answer["answer"]
            assert citation["chunk_id"] in sources
            assert " ".join(citation["quote"].split()) in " ".join(answer["answer"].split())
    assert answered >= 30


async def test_the_question_may_stand_in_the_address(library: Api) -> None:
    expected = await library.ask(CLOCK)
    reply = await library.client.post("/query", params={"q": CLOCK})
    assert reply.status_code == 200
    assert reply.json()["answer"] == expected["answer"]
    reply = await library.client.post("/query", params={"q": CLOCK, "mode": "standard"})
    assert reply.json()["mode"] == "standard"
    for joined in ("/query?mode=crag+structured", "/query?mode=structured%2Bcrag"):
        reply = await library.client.post(joined, json={"question": "?"})
        assert reply.json()["mode"] == "crag+structured"
    both = await library.client.post("/query", params={"q": BREAD}, json={"question": CLOCK})
    assert both.json()["question"] == CLOCK


async def test_an_answer_can_be_looked_up(library: Api) -> None:
    answer = await library.ask(CLOCK)
    reply = await library.client.get(f"/answers/{answer['answer_id']}")
    assert reply.status_code == 200
    assert reply.json() == answer


async def test_a_stream_tells_the_same_as_the_whole_answer(library: Api) -> None:
    whole = await library.ask(CLOCK)
    reply = await library.client.post("/query/stream", json={"question": CLOCK})
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = read_events(reply.text)
    names = [name for name, _ in events]
    assert names[:2] == ["meta", "evidence"]
    assert names[-1] == "done"
    assert set(names[2:-2]) == {"sentence", "citation"}
    assert names[-2] == "usage"
    done = events[-1][1]
    assert set(done) == set(whole)
    changing = {"answer_id", "timings_ms"}
    assert {k: v for k, v in done.items() if k not in changing} == {
        k: v for k, v in whole.items() if k not in changing
    }
    assert events[0][1]["answer_id"] == done["answer_id"]
    assert events[1][1]["sources"] == done["sources"]
    assert " ".join(data["text"] for name, data in events if name == "sentence") == done["answer"]
    stored = (await library.client.get(f"/answers/{done['answer_id']}")).json()
    assert stored == done


async def test_a_refused_stream_says_so(library: Api) -> None:
    reply = await library.client.post("/query/stream", params={"q": "?!"})
    events = read_events(reply.text)
    assert [name for name, _ in events] == ["meta", "refused", "usage", "done"]
    assert events[1][1]["reason"] == events[3][1]["reason"] == "empty_question"
    reply = await library.client.post("/query/stream", json={"question": BREAD})
    names = [name for name, _ in read_events(reply.text)]
    ending = ["refused", "usage", "done"]
    assert names in (["meta", *ending], ["meta", "evidence", *ending])


@pytest.mark.parametrize("path", ["/query", "/query/stream"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"question": "x", "mode": "deep"}', 422),
        ('{"question": "x", "limit": 0}', 422),
        ('{"question": "x", "limit": 51}', 422),
        ('{"question": "x", "session_id": "abc"}', 422),
        ('{"question": "x", "typo": 1}', 422),
        ('{"question": 5}', 422),
        ('{"question": ["x"]}', 422),
        ('{"question": "a\\u0000b"}', 422),
        ('{"question": "a\\ud800b"}', 422),
        ('{"question": "x", "collection": "nowhere"}', 404),
        ('{"question": "x", "collection": "a\\u0000"}', 422),
        ('{"question": "x", "filters": []}', 422),
        ('{"question": "x", "filters": {"document_id": "x"}}', 422),
        ('{"question": "x", "filters": {"document_id": 5}}', 422),
        ('{"question": "x", "filters": {"document_name": [1]}}', 422),
        ('{"question": "x", "filters": {"document_name": "a\\u0000"}}', 422),
        ('{"question": "x", "filters": {"document_name": "a\\ud800"}}', 422),
        ('{"question": "x", "filters": {"metadata": "x"}}', 422),
        ('{"question": "x", "filters": {"metadata": {"a": "\\u0000"}}}', 422),
        ('{"question": "x", "filters": {"metadata": {"a": "\\ud800"}}}', 422),
        ('{"question": "x", "filters": {"a\\u0000": 1}}', 422),
        ('{"question": "x", "filters": {"a\\ud800": 1}}', 422),
        ('{"question": "x", "filters": {"a": NaN}}', 422),
        ('{"question": "x", "filters": {"a": 1e999}}', 422),
        ("{", 422),
        ("[]", 422),
        ('"x"', 422),
    ],
)
async def test_bad_questions_are_refused_before_the_stream(
    library: Api, path: str, body: str, status: int
) -> None:
    reply = await library.client.post(
        path, content=body.encode(), headers={"content-type": "application/json"}
    )
    require_problem(reply, status)


@pytest.mark.parametrize("path", ["/query", "/query/stream"])
async def test_a_very_long_question_is_refused(library: Api, path: str) -> None:
    for length in (4001, 50_000):
        reply = await library.client.post(path, json={"question": "clock " * (length // 6 + 1)})
        require_problem(reply, (413, 422))
    assert (await library.ask("clock " * 666))["timings_ms"]["total"] > 0


async def test_a_question_in_the_address_is_checked_too(library: Api) -> None:
    require_problem(await library.client.post("/query", params={"q": "a\x00b"}), 422)
    require_problem(await library.client.post("/query", params={"q": "x", "mode": "deep"}), 422)
    require_problem(await library.client.post("/query?q=%ED%A0%80%FF" + "x" * 5000), (413, 422))
    assert (await library.client.post("/query?q=%ED%A0%80%FF")).status_code == 200
    nothing = await library.client.post("/query")
    assert (nothing.status_code, nothing.json()["reason"]) == (200, "empty_question")


@pytest.mark.parametrize("question", ["", "   ", "?", "…—“”", "\u200b", "😀"])
async def test_a_question_without_words_is_refused_not_an_error(
    library: Api, question: str
) -> None:
    answer = await library.ask(question)
    assert answer["refused"]
    assert answer["reason"] == "empty_question"


@pytest.mark.parametrize("question", ["'; DROP TABLE chunks; --", "clock & | ! <-> :*", "\\", "%s",
                                      "日本語の時計は？", "a" * 3999, "clock\u202eclock",
                                      "<script>alert(1)</script>", "\x01\x02 clock"])  # fmt: skip
async def test_any_text_may_be_asked(library: Api, question: str) -> None:
    answer = await library.ask(question)
    await library.check_citations(answer)
    stream = await library.client.post("/query/stream", json={"question": question})
    assert read_events(stream.text)[-1][0] == "done"


async def test_search_finds_and_says_where(library: Api) -> None:
    reply = await library.client.post("/search", json={"query": "pendulum clock", "limit": 5})
    assert reply.status_code == 200
    found = reply.json()
    assert set(found) == {"results", "timings_ms", "skipped"}
    assert found["timings_ms"]["total"] > 0
    results = found["results"]
    assert len(results) == 5
    assert all(set(item) >= RESULT_FIELDS for item in results)
    scores = [item["score"] for item in results]
    assert scores == sorted(scores, reverse=True)
    assert "pendulum" in results[0]["text"].lower()
    for item in results:
        text = (await library.client.get(f"/documents/{item['document_id']}/text")).text
        assert text[item["start"] : item["end"]] == item["text"]


@pytest.mark.parametrize(
    "body",
    [{}, {"query": ""}, {"query": "x", "limit": 0}, {"query": "x", "limit": 201},
     {"query": "x" * 4001}, {"query": None}, {"query": "a\x00"}, {"query": "x", "typo": 1},
     {"query": "x", "filters": {"document_id": "x"}}, {"query": "x", "filters": "x"},
     {"query": "a\ud800"}, {"query": "x", "filters": {"a": "\udfff"}}],
)  # fmt: skip
async def test_bad_searches_are_422(library: Api, body: dict[str, Any]) -> None:
    reply = await library.client.post(
        "/search", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    require_problem(reply, 422)


async def test_filters_narrow_the_search(fresh: Api) -> None:
    await fresh.client.post("/collections", json={"name": "second"})
    one = await fresh.add(
        "one.txt", "The pendulum clock of Huygens.", metadata='{"year": 1656, "by": {"name": "CH"}}'
    )
    two = await fresh.add("two.txt", "The pendulum clock of nobody.", metadata='{"year": 1700}')
    three = await fresh.add("three.txt", "The pendulum clock, a third.", collection="second")
    by_id = {document["document_id"]: document["name"] for document in (one, two, three)}

    async def names(**body: Any) -> set[str]:
        reply = await fresh.client.post("/search", json={"query": "pendulum clock", **body})
        assert reply.status_code == 200, reply.text
        return {by_id[item["document_id"]] for item in reply.json()["results"]}

    assert await names() == {"one.txt", "two.txt", "three.txt"}
    assert await names(collection="second") == {"three.txt"}
    assert await names(filters={"document_id": one["document_id"]}) == {"one.txt"}
    assert await names(filters={"document_id": [one["document_id"], three["document_id"]]}) == {
        "one.txt", "three.txt",
    }  # fmt: skip
    assert await names(filters={"document_name": "two.txt"}) == {"two.txt"}
    assert await names(filters={"metadata": {"year": 1656}}) == {"one.txt"}
    assert await names(filters={"year": [1656, 1700]}) == {"one.txt", "two.txt"}
    assert await names(filters={"by": {"name": "CH"}}) == {"one.txt"}
    assert await names(filters={"year": 1656, "document_name": "two.txt"}) == set()
    assert await names(filters={"year": None}) == set()
    assert await names(filters={}) == {"one.txt", "two.txt", "three.txt"}
    assert await names(collection="second", filters={"year": 1656}) == set()
    refused = await fresh.ask("Who made the pendulum clock?", filters={"year": 1})
    assert (refused["refused"], refused["reason"]) == (True, "nothing_retrieved")


async def test_an_empty_workspace_refuses(fresh: Api) -> None:
    answer = await fresh.ask(CLOCK)
    assert (answer["refused"], answer["reason"], answer["sources"]) == (
        True,
        "nothing_retrieved",
        [],
    )
    found = await fresh.client.post("/search", json={"query": "clock"})
    assert found.json()["results"] == []


async def test_offsets_count_code_points(fresh: Api) -> None:
    text = (
        "😀𝔄 café 日本. " * 20 + "\n\nThe zymurgist 😀 brews ale in Leiden. " + "More 𝔄 text. " * 30
    )
    await fresh.add("astral.txt", text)
    answer = await fresh.ask("Where does the zymurgist brew ale?")
    assert not answer["refused"]
    await fresh.check_citations(answer)
    assert "Leiden" in answer["citations"][0]["quote"]


async def test_what_cannot_be_read_is_told_in_sentences(library: Api) -> None:
    broken = await library.client.post("/query", content=b'{"question": ')
    headers = {"Content-Type": "application/json"}
    typed = await library.client.post("/query", content=b'{"question": ', headers=headers)
    assert require_problem(broken, 422, "invalid")["detail"]
    said = "The request body is not JSON. Correct it; a quote or a comma may be missing."
    assert require_problem(typed, 422, "invalid")["detail"] == said
    blank = await library.client.put("/policy", json={"scope": " "})
    detail = require_problem(blank, 422, "invalid")["detail"]
    assert detail.startswith("The field scope must say")
