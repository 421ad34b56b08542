"""/suggest: what begins so, for whom, and never of what is gone or hidden."""

import json
import re
from typing import Any

import pytest

from api.keyring import OWNER, bearer, make_key, make_workspace
from api.stage import Api, require_problem

TEXT = """# The Pendulum Clock

Christiaan Huygens built the pendulum clock. A pendulum clock keeps good time.

## Anchor escapement

The anchor escapement made the pendulum clock better. Robert Hooke knew the anchor escapement.

## Café Müller’s 100 % Größe_x

An heir of the clock: the anchor.
"""
QUESTION = "Who built the pendulum clock?"


async def suggest(api: Api, q: str, headers: dict[str, str] | None = None, **more: Any) -> Any:
    reply = await api.client.get("/suggest", params={"q": q, **more}, headers=headers)
    assert reply.status_code == 200, reply.text
    return reply.json()["suggestions"]


def texts(found: list[dict[str, Any]]) -> list[str]:
    return [each["text"] for each in found]


async def test_titles_sections_and_phrases_are_suggested(fresh: Api) -> None:
    added = await fresh.add("clocks.md", TEXT)
    found = await suggest(fresh, "pend")
    first = found[0]
    assert (first["text"], first["kind"]) == ("pendulum clock", "phrase")
    assert "The Pendulum Clock" in texts(found), "the word may stand anywhere"
    found = await suggest(fresh, "anchor esc")
    assert found[0] == {
        "text": "Anchor escapement", "kind": "section", "document_id": added["document_id"],
        "section": "Anchor escapement",
    }  # fmt: skip
    assert len(found) == len({text.casefold() for text in texts(found)}), "each once"
    assert texts(await suggest(fresh, "clocks")) == ["clocks.md"]


@pytest.mark.parametrize("typed", ["cafe mull", "CAFÉ", "  café\u00a0müller ", "Cafe\u0301", "groß",
                                   "GROß", "100 %", "x"])  # fmt: skip
async def test_accents_case_and_punctuation_do_not_count(fresh: Api, typed: str) -> None:
    await fresh.add("clocks.md", TEXT)
    found = texts(await suggest(fresh, typed))
    expected = [] if typed == "x" else ["Café Müller’s 100 % Größe_x"]
    assert found == expected, "one letter stands for the beginning of a text only"


@pytest.mark.parametrize("typed", ["", " ", "%", "_", "\\", "%%%", "'", "; DROP TABLE", "😀",
                                   "...", "\u202e", "שלום", "a" * 200,
                                   "\ue000", "\U0010ffff"])  # fmt: skip
async def test_any_text_may_be_typed(library: Api, typed: str) -> None:
    for each in await suggest(library, typed):
        assert typed.strip().lower()[:1] in each["text"].lower()
    if not any(char.isalnum() for char in typed):
        assert await suggest(library, typed) == []


@pytest.mark.parametrize("query", [{"q": "x" * 10_000}, {"q": "a\0"}, {}, {"q": "x", "limit": 0},
                                   {"q": "x", "limit": 51}, {"q": "x", "limit": "many"},
                                   {"q": "x", "collection": "a b"}])  # fmt: skip
async def test_wrong_wishes_are_422(library: Api, query: dict[str, Any]) -> None:
    require_problem(await library.client.get("/suggest", params=query), 422)
    unknown = {"q": "x", "collection": "nowhere"}
    require_problem(await library.client.get("/suggest", params=unknown), 404)


async def test_every_suggestion_begins_so_and_the_limit_holds(library: Api) -> None:
    for _ in "12":
        assert not (await library.ask("\x01\x02 «clock»"))["refused"]
    for typed in ("cl", "p", "time", "the", "le", "h"):
        found = await suggest(library, typed, limit=50)
        assert found, typed
        for each in found:
            words = re.findall(r"\w+", each["text"].lower())
            assert any(word.startswith(typed) for word in words), each
        assert await suggest(library, typed, limit=2) == found[:2]
        whole = [re.sub(r"^\W+", "", each["text"].lower()).startswith(typed) for each in found]
        assert whole == sorted(whole, reverse=True), "those that begin so come first"


async def test_a_collections_suggestions_are_its_own(fresh: Api) -> None:
    await fresh.client.post("/collections", json={"name": "second"})
    await fresh.add("pendulums.txt", "Nothing.")
    await fresh.add("pendant.txt", "Nothing.", collection="second")
    assert set(texts(await suggest(fresh, "pend"))) == {"pendulums.txt", "pendant.txt"}
    assert texts(await suggest(fresh, "pend", collection="second")) == ["pendant.txt"]


async def test_suggestions_follow_versions_and_deletes(fresh: Api) -> None:
    added = await fresh.add("clocks.md", TEXT)
    assert await suggest(fresh, "anchor")
    await fresh.ask(QUESTION)
    assert QUESTION in texts(await suggest(fresh, "who"))
    await fresh.add("clocks.md", "# Sundials\n\nThey need the sun.")
    assert await suggest(fresh, "anchor") == []
    assert texts(await suggest(fresh, "sund"))[0] == "Sundials"
    await fresh.client.delete(f"/documents/{added['document_id']}")
    assert await suggest(fresh, "sund") == []
    assert await suggest(fresh, "clocks") == []
    assert await suggest(fresh, "who") == [], "it rested on the document"


async def test_only_answered_questions_are_suggested_as_the_policy_allows(fresh: Api) -> None:
    await fresh.add("clocks.md", TEXT)
    assert (await fresh.ask("Who baked the sourdough bread?"))["refused"]
    assert await suggest(fresh, "who") == []
    await fresh.ask(QUESTION)
    await fresh.ask(QUESTION.upper())
    assert texts(await suggest(fresh, "who")) == [QUESTION.upper()], "once, whatever its case"
    for redact in ("questions", "all"):
        await fresh.client.put("/policy", json={"redact": redact})
        asked = f"What did Huygens build, {redact}?"
        assert not (await fresh.ask(asked))["refused"]
        assert await suggest(fresh, "what") == []
        assert await suggest(fresh, "redacted") == []


async def test_a_question_outside_of_a_session_is_its_askers(guarded: Api) -> None:
    workspace = await make_workspace(guarded)
    await upload(guarded, workspace, "clocks.md", TEXT)
    one, two = [bearer(await make_key(guarded, "viewer", workspace), workspace) for _ in "12"]
    reply = await guarded.client.post("/query", json={"question": QUESTION}, headers=one)
    assert not reply.json()["refused"]
    assert texts(await suggest(guarded, "who", one)) == [QUESTION]
    assert await suggest(guarded, "who", two) == []
    said = "What made the pendulum clock better?"
    reply = await guarded.client.post("/chat", json={"message": said}, headers=one)
    assert not reply.json()["refused"]
    for headers in (one, two):
        assert texts(await suggest(guarded, "what", headers)) == [said], "sessions are shared"
    session_id = reply.json()["session_id"]
    await guarded.client.delete(f"/chat/sessions/{session_id}", headers=one)
    assert await suggest(guarded, "what", one) == []


async def test_nothing_of_a_hidden_document_is_suggested(guarded: Api) -> None:
    workspace = await make_workspace(guarded)
    await upload(guarded, workspace, "secret.md", TEXT, readers=json.dumps(["group:finance"]))
    await upload(guarded, workspace, "open.md", "# Open pendulums\n\nA sundial.")
    seeing = bearer(await make_key(guarded, "viewer", workspace, groups=["finance"]), workspace)
    other = bearer(await make_key(guarded, "viewer", workspace), workspace)
    reply = await guarded.client.post("/chat", json={"message": QUESTION}, headers=seeing)
    assert not reply.json()["refused"]
    for typed in ("anchor", "who", "secret", "cafe"):
        assert await suggest(guarded, typed, seeing), typed
        assert await suggest(guarded, typed, other) == [], typed
    assert texts(await suggest(guarded, "pend", other)) == ["Open pendulums"]


async def test_another_workspace_is_not_suggested_and_an_archived_one_is_read(
    guarded: Api,
) -> None:
    workspace, strange = await make_workspace(guarded), await make_workspace(guarded)
    await upload(guarded, workspace, "clocks.md", TEXT)
    away = OWNER | {"X-Workspace-ID": str(strange)}
    assert await suggest(guarded, "anchor", away) == []
    here = OWNER | {"X-Workspace-ID": str(workspace)}
    reply = await guarded.client.post(
        f"/workspaces/{workspace}/archive", json={"reason": "over"}, headers=OWNER
    )
    assert reply.is_success
    assert await suggest(guarded, "anchor", here)


async def upload(api: Api, workspace: Any, name: str, data: str, **form: str) -> None:
    headers = OWNER | {"X-Workspace-ID": str(workspace)}
    reply = await api.client.post(
        "/documents/upload", files=[("files", (name, data.encode()))], data=form, headers=headers
    )
    assert reply.status_code == 202, reply.text
    await api.work()
