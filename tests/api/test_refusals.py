"""What is wrong with a request is said in sentences that say what to do, not in a validator's."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from api.stage import Api, require_problem
from citewell.api.app import create_app
from citewell.api.patterns import MEANINGS
from citewell.api.refusals import COUNTED, WORDS, tell
from citewell.settings import Settings

ID = "018f2d4e-0000-7000-8000-000000000000"
RAW = ("Input should", "pattern '", "\\", "Field required", "Extra inputs", "Value error",
       "body.no", "query.n", "literal[", "<class", "union", "input is", "pydantic")  # fmt: skip
PATH = re.compile(r"(?<![A-Z`]\s)(?<!\w)/(home|tmp|usr|work|var|root)/")

BODIES: list[tuple[str, str, Any, str]] = [
    ("POST", "/workspaces/bulk", {"action": "archive", "ids": ["l"], "reason": "x"},
     "The field ids[0] must be an id, which looks like a UUID."),
    ("POST", "/workspaces/bulk", {"action": "archive", "ids": [ID]},
     "The field reason is missing. Say why the workspaces are archived."),
    ("POST", "/workspaces/bulk", {"action": "remove", "ids": [ID]},
     "The field action must be one of archive, restore."),
    ("POST", "/workspaces/bulk", {"action": "restore", "filter": {"status": "gone"}},
     "The field filter.status must be one of active, archived, all."),
    ("POST", "/workspaces/bulk", {"action": "restore"},
     "The request body must have either ids or filter."),
    ("POST", "/workspaces", {"name": "x", "color": 1},
     "The field color is not known here. Known are name, description."),
    ("POST", "/workspaces", {}, "The field name is missing. Add it."),
    ("POST", "/workspaces", {"name": ID}, "The field name must not look like an id."),
    ("POST", "/exports", {"kind": "keys"},
     "The field kind must be one of chat_logs, audit, documents, feedback, usage."),
    ("POST", "/exports", {}, "The field kind is missing. Add it; /docs shows what it may be."),
    ("POST", "/exports", {"kind": "audit", "filters": {"from": "l"}},
     "The field filters.from must be a time such as 2026-11-01T00:00:00Z."),
    ("POST", "/exports", {"kind": "audit", "filters": {"rating": "up"}},
     ("The field filters.rating is not known here. Known are from, to, installation, action, "
      "actor, outcome, request_id.")),
    ("PUT", f"/documents/{ID}/readers", {"readers": ["everyone"]},
     ("The field readers[0] must be role:viewer, role:editor, role:admin, or group: and a group's "
      "name, such as group:finance.")),
    ("POST", "/documents/known", {"files": [{"source": "a", "sha256": "b"}]},
     "The field files[0].sha256 must be a SHA-256 in 64 lower-case hexadecimal digits."),
    ("POST", "/collections", {"name": "no\\thing"},
     ("The field name must have 1 to 63 letters a to z, digits, dots, hyphens or underlines, and "
      "begin with a letter or a digit, such as handbooks-2026.")),
    ("POST", "/search", {"query": "x", "limit": 999}, "The field limit must be at most 200."),
    ("POST", "/search", {"query": ""}, "The field query must have at least 1 character."),
    ("POST", "/search", {"query": 1, "limit": "many"},
     "The field query must be a text. The field limit must be a whole number."),
    ("POST", "/search", [], "The request body must be an object."),
    ("POST", "/query", {"question": "x", "budget": {"seconds": 0}},
     "The field budget.seconds must be more than 0."),
    ("POST", "/keys", {"name": "x", "role": "king"},
     "The field role must be one of viewer, editor, admin, owner."),
    ("POST", "/keys", {"name": "x", "expires_at": "2020-01-01"},
     "The time expires_at lies in the past. Name a later time."),
    ("POST", "/ingest/", {"texts": [{"name": "x"}]}, "The field texts[0].text is missing. Add it."),
    ("POST", "/ingest/", {"texts": []}, "The field texts must have at least 1 entry."),
    ("POST", "/ingest/", {"texts": ["a"], "tests": []},
     "The field tests is not known here. Known are texts, collection, metadata, readers."),
    ("PUT", "/policy", {"delivery": "word"},
     "The field delivery must be one of sentence, token."),
    ("PUT", "/policy", {"scope": " "},
     "The field scope must say what questions may be about, or be null."),
    ("PUT", "/quotas", {"documents": -1}, "The field documents must be at least 0."),
    ("POST", f"/answers/{ID}/feedback", {"rating": "fine"},
     "The field rating must be one of up, down."),
    ("POST", "/webhooks", {}, "The field url is missing. Add it."),
    ("POST", "/tasks/calculate/add", {"x": "a", "y": 1}, "The field x must be a number."),
]  # fmt: skip
QUERIES = [
    ("/workspaces?status=gone", "The query parameter status must be one of active, archived, all."),
    ("/audit?from=l", "The query parameter from must be a time such as 2026-11-01T00:00:00Z."),
    ("/usage?from=l", "The query parameter from must be a date such as 2026-11-01."),
    ("/usage?from=2026-02-01&to=2026-01-01",
     "The days from and to must be at most 366 days apart, the earlier first."),
    ("/documents?limit=0", "The query parameter limit must be at least 1."),
    ("/audit?limit=x", "The query parameter limit must be a whole number."),
    ("/audit?installation=maybe", "The query parameter installation must be true or false."),
    ("/audit?foo=1", ("The query parameter foo is not known here. Known are installation, "
     "limit, cursor, action, actor, outcome, request_id, target, from, to.")),
    ("/me?x=1", "The query parameter x is not known here. Leave it out."),
]  # fmt: skip


def require_sentences(detail: str) -> None:
    assert detail[0].isupper(), detail
    assert detail.endswith("."), detail
    assert not [raw for raw in RAW if raw in detail], detail
    assert not PATH.search(detail), detail


@pytest.mark.parametrize(("method", "path", "body", "said"), BODIES)
async def test_a_wrong_body_is_told_in_sentences(
    api: Api, method: str, path: str, body: Any, said: str
) -> None:
    problem = require_problem(await api.client.request(method, path, json=body), 422, "invalid")
    require_sentences(problem["detail"])
    assert said in problem["detail"]


@pytest.mark.parametrize(("path", "said"), QUERIES)
async def test_a_wrong_query_is_told_in_sentences(api: Api, path: str, said: str) -> None:
    problem = require_problem(await api.client.get(path), 422, "invalid")
    require_sentences(problem["detail"])
    assert problem["detail"] == said


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), re.sub(r"\{\w+\}", ID, path), operation


async def test_no_address_answers_rubbish_in_the_words_of_a_validator(api: Api) -> None:
    refused = 0
    for method, path, operation in operations(api.app.openapi()):
        if path.startswith("/v1/") or path == "/auth/oidc/callback":
            continue
        send = partial(api.client.request, method, path)
        replies = [await send(params={"nosuch": "l"})]
        if "requestBody" in operation:
            for body in ([], {}, {"no_such_field": 1}, {"": 1}, "x", None):
                replies += [await send(json=body)]
            typed = {"Content-Type": "application/json"}
            for content in (b"{", b'{"name": "\xff"}'):
                replies += [await send(content=content, headers=typed)]
            files = {"files": "no file", "metadata": "{"}
            replies += [await send(data=files)]
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query":
                query = {parameter["name"]: "no/thing"}
                replies += [await send(params=query)]
        for reply in replies:
            if reply.is_error:
                require_sentences(reply.json()["detail"])
                refused += reply.status_code == 422
    assert refused > 200


def test_every_pattern_has_its_meaning_in_words() -> None:
    def patterns(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if isinstance(part.get("pattern"), str):
                yield part["pattern"]
            part = list(part.values())
        if isinstance(part, list):
            for each in part:
                yield from patterns(each)

    schema = create_app(Settings()).openapi()
    ours = {
        pattern
        for pattern in patterns(schema)
        if not pattern.startswith("^(?!^[-+.]*$)")  # of decimal numbers, which pydantic writes
    }
    assert ours
    assert ours <= MEANINGS.keys()


def test_every_error_becomes_a_sentence() -> None:
    context = {
        "gt": 1,
        "ge": 1,
        "lt": 1,
        "le": 1,
        "multiple_of": 2,
        "pattern": "a",
        "min_length": 1,
    }
    for kind in (*WORDS, *COUNTED, "something_new"):
        said = tell([{"type": kind, "loc": ("body", "x"), "msg": "raw", "ctx": context}])
        require_sentences(said)
        assert said.startswith("The field x must ")


def test_a_place_is_named_as_the_caller_wrote_it() -> None:
    problem = {"type": "string_type", "msg": "raw"}
    body = {"input": [{"list[str]": 1}]}
    loc = ("body", "input", "list[str]", 0, "NewText", "list[str]")
    assert tell([problem | {"loc": loc}], body) == "The field input[0].list[str] must be a text."
    loc = ("body", "\\/etc/passwd\n" * 20)
    assert "\n" not in tell([problem | {"loc": loc}], {loc[1]: 1})
    assert "/" not in tell([problem | {"loc": loc}], {loc[1]: 1})
