"""POST /answers/{id}/verify: a stored answer against the documents as they are now."""

import json
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from api.stage import Api, require_problem
from citewell.domain import PUBLIC_WORKSPACE

TEXT = (
    "The night clock of the tower was built by Anna Weber in 1612. It struck only the hours. "
    "A second clock was added in 1688 and moved to the north wall later."
)
QUESTION = "Who built the night clock of the tower?"


async def answer_about(api: Api, name: str, body: str = TEXT) -> dict[str, Any]:
    """Index a text and ask about it; return the answer with its citation of the first sentence."""
    document = await api.add(name, body)
    answer = await api.ask(QUESTION, filters={"document_id": document["document_id"]})
    assert not answer["refused"]
    assert "Anna Weber" in answer["citations"][0]["quote"]
    return answer


async def verify(api: Api, answer: dict[str, Any]) -> dict[str, Any]:
    reply = await api.client.post(f"/answers/{answer['answer_id']}/verify")
    assert reply.status_code == 200, reply.text
    checked = reply.json()
    assert checked["answer_id"] == answer["answer_id"]
    return checked


async def store(api: Api, answer: dict[str, Any], **changes: Any) -> None:
    """Change what is stored of an answer, as no request can."""
    async with api.services.database.transaction(PUBLIC_WORKSPACE) as connection:
        await connection.execute(
            text("UPDATE answers SET result = result || CAST(:new AS jsonb) WHERE id = :id"),
            {"new": json.dumps(changes), "id": answer["answer_id"]},
        )


def statuses(checked: dict[str, Any]) -> list[str]:
    return [citation["status"] for citation in checked["citations"]]


async def test_an_untouched_answer_is_valid(fresh: Api) -> None:
    answer = await answer_about(fresh, "tower.txt")
    checked = await verify(fresh, answer)
    assert checked["valid"] is True
    assert set(statuses(checked)) == {"valid"}
    shown = [
        {key: value for key, value in each.items() if key not in {"status", "moved_to"}}
        for each in checked["citations"]
    ]
    assert shown == answer["citations"]
    assert all(each["moved_to"] is None for each in checked["citations"])


async def test_a_quote_that_moved_is_found_in_the_new_version(fresh: Api) -> None:
    answer = await answer_about(fresh, "tower.txt")
    opening = "\U0001f570 A new opening was written. "
    document = await fresh.add("tower.txt", opening + TEXT)
    checked = await verify(fresh, answer)
    assert set(statuses(checked)) == {"moved"}
    assert checked["valid"] is True
    for citation in checked["citations"]:
        place = citation["moved_to"]
        assert place["version_id"] == document["version_id"] != citation["version_id"]
        reply = await fresh.client.get(f"/documents/{citation['document_id']}/text")
        assert reply.text[place["start"] : place["end"]] == citation["quote"]


async def test_a_quote_that_is_gone_from_the_new_version_says_so(fresh: Api) -> None:
    answer = await answer_about(fresh, "tower.txt")
    await fresh.add("tower.txt", TEXT.replace("1612", "1621").replace("struck", "rang"))
    checked = await verify(fresh, answer)
    assert "source_changed" in statuses(checked)
    assert checked["citations"][0]["moved_to"] is None
    assert checked["valid"] is False


async def test_a_removed_document_says_so(fresh: Api) -> None:
    answer = await answer_about(fresh, "tower.txt")
    for citation in answer["citations"]:
        citation["document_id"] = citation["version_id"] = str(uuid4())
    await store(fresh, answer, citations=answer["citations"])
    checked = await verify(fresh, answer)
    assert set(statuses(checked)) == {"source_removed"}
    assert checked["valid"] is False


@pytest.mark.parametrize("shift", [1, -1, 10_000])
async def test_a_span_that_does_not_hold_its_quote_is_broken(fresh: Api, shift: int) -> None:
    answer = await answer_about(fresh, "tower.txt", "Of towers. " + TEXT)
    first = answer["citations"][0]
    first["start"], first["end"] = first["start"] + shift, first["end"] + shift
    await store(fresh, answer, citations=answer["citations"])
    checked = await verify(fresh, answer)
    assert statuses(checked)[0] == "broken"
    assert checked["valid"] is False


async def test_sentences_are_checked_again(fresh: Api) -> None:
    answer = await answer_about(fresh, "tower.txt")
    cited = [answer["citations"][0]]
    marker = cited[0]["marker"]
    written = {
        "quoted": f"{cited[0]['quote']} {marker}",
        "true": f"Anna Weber built the tower's night clock in 1612. {marker}",
        "false": f"Anna Weber built the tower's night clock in 1613. {marker}",
    }
    sentences = [{"text": each, "citations": cited, "problems": []} for each in written.values()]
    await store(fresh, answer, sentences=sentences, citations=cited)
    checked = await verify(fresh, answer)
    assert [each["text"] for each in checked["sentences"]] == list(written.values())
    assert all(each["checked"] for each in checked["sentences"])
    quoted, true, false = (each["problems"] for each in checked["sentences"])
    assert (quoted, true) == ([], [])
    assert false == ["date_not_in_source"]
    assert set(statuses(checked)) == {"valid"}
    assert checked["valid"] is False
    await store(fresh, answer, sentences=sentences[:2])
    assert (await verify(fresh, answer))["valid"] is True


async def test_a_sentence_whose_sources_are_gone_is_not_checked(fresh: Api) -> None:
    answer = await answer_about(fresh, "tower.txt")
    sentence = {"text": "Anna Weber built it.", "citations": answer["citations"][:1]}
    await store(fresh, answer, sources=[], sentences=[sentence])
    checked = await verify(fresh, answer)
    assert checked["sentences"] == [
        {"text": "Anna Weber built it.", "checked": False, "problems": []}
    ]


async def test_an_answer_stored_without_sentences_is_checked_by_its_citations(fresh: Api) -> None:
    answer = await answer_about(fresh, "tower.txt")
    async with fresh.services.database.transaction(PUBLIC_WORKSPACE) as connection:
        await connection.execute(
            text("UPDATE answers SET result = result - 'sentences' WHERE id = :id"),
            {"id": answer["answer_id"]},
        )
    checked = await verify(fresh, answer)
    assert (checked["valid"], checked["sentences"]) == (True, [])
    assert checked["citations"]


async def test_a_refusal_has_nothing_that_could_be_wrong(fresh: Api) -> None:
    answer = await fresh.ask("?!")
    assert await verify(fresh, answer) == {
        "answer_id": answer["answer_id"], "valid": True, "citations": [], "sentences": [],
    }  # fmt: skip


async def test_an_unknown_answer_is_not_found(fresh: Api) -> None:
    for unknown in (uuid4(), "x"):
        reply = await fresh.client.post(f"/answers/{unknown}/verify")
        require_problem(reply, 404, "not_found")
