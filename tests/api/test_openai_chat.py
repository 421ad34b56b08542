"""/v1/models and /v1/chat/completions, driven by the official client over real HTTP."""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import structlog
from openai import (
    APIError,
    AsyncOpenAI,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OpenAI,
    PermissionDeniedError,
)

from api.served import ScriptedModel, serve
from api.stage import Api
from citewell.domain import DraftSentence, Usage
from citewell.errors import ProviderError, Unavailable
from citewell.ports import WritingTask

CLOCK = "When was the first working pendulum clock designed, and by whom?"
BREAD = "How long should sourdough bread rise before it is baked?"
DOCS = Path(__file__).parents[2] / "docs"
KEY = "sk-secret-of-the-caller"
ERROR_FIELDS = {"message", "type", "param", "code"}


@pytest.fixture(scope="module")
async def address(library: Api) -> AsyncIterator[str]:
    async with serve(library.app) as url:
        yield url


@pytest.fixture(scope="module")
async def client(address: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as opened:
        yield opened


@pytest.fixture
def use_model(library: Api) -> Iterator[Callable[..., None]]:
    """Answer with another chat model, and perhaps another index, during one test."""
    state = library.app.state
    services = state.services

    def use(model: Any, **changes: Any) -> None:
        answers = replace(services.answers, chat_model=model, **changes)
        state.services = replace(services, answers=answers)

    yield use
    state.services = services


def ask(question: str, **more: Any) -> dict[str, Any]:
    return {"model": "citewell", "messages": [{"role": "user", "content": question}], **more}


async def read_stream(client: AsyncOpenAI, **body: Any) -> list[Any]:
    return [chunk async for chunk in await client.chat.completions.create(**body, stream=True)]


async def test_each_collection_is_a_model(client: AsyncOpenAI, library: Api) -> None:
    listed = [model async for model in client.models.list()]
    collections = (await library.client.get("/collections")).json()["collections"]
    assert [model.id for model in listed] == ["citewell", *(row["name"] for row in collections)]
    assert "default" in {model.id for model in listed}
    for model in listed:
        assert (model.object, model.owned_by) == ("model", "citewell")
        assert abs(model.created - time.time()) < 3600
        assert await client.models.retrieve(model.id) == model
    embedder = await client.models.retrieve(library.services.embedder.name)
    assert embedder.id not in {model.id for model in listed}


@pytest.mark.parametrize("name", ["nowhere", "gpt-4o", "openai/gpt-4o", "a\0b"])
async def test_an_unknown_model_is_not_found(client: AsyncOpenAI, name: str) -> None:
    with pytest.raises(NotFoundError) as found:
        await client.models.retrieve(name)
    assert (found.value.code, found.value.param) == ("model_not_found", "model")


async def test_an_answer_has_its_citations_as_annotations(
    client: AsyncOpenAI, library: Api, address: str
) -> None:
    expected = await library.ask(CLOCK)
    reply = await client.chat.completions.create(**ask(CLOCK))
    assert reply.object == "chat.completion"
    assert reply.model == "citewell"
    (choice,) = reply.choices
    assert (choice.finish_reason, choice.message.role) == ("stop", "assistant")
    assert choice.message.content == expected["answer"]
    assert choice.message.refusal is None
    exact = reply.model_extra["citewell"]  # type: ignore[index]
    assert (exact["refused"], exact["reason"]) == (False, None)
    assert exact["citations"] == expected["citations"]
    assert reply.id == f"chatcmpl-{UUID(exact['answer_id']).hex}"
    assert reply.usage is not None
    assert reply.usage.total_tokens == sum(
        expected["usage"][name] for name in ("input_tokens", "output_tokens")
    )
    annotations = choice.message.annotations
    assert annotations
    assert len(annotations) == len(exact["citations"])
    for annotation, citation in zip(annotations, exact["citations"], strict=True):
        place = annotation.url_citation
        sentence = choice.message.content[place.start_index : place.end_index]
        assert sentence.endswith("]")
        assert citation["marker"] in sentence
        assert " ".join(citation["quote"].split()) in " ".join(sentence.split())
        assert place.title == citation["document_name"]
        url, _, fragment = place.url.partition("#char=")
        assert url.startswith(f"{address}/documents/")
        start, end = map(int, fragment.split(","))
        async with httpx.AsyncClient() as reader:
            text = (await reader.get(url)).text
        assert text[start:end] == citation["quote"]


async def test_an_answer_can_be_looked_up(client: AsyncOpenAI, library: Api) -> None:
    reply = await client.chat.completions.create(**ask(CLOCK))
    answer_id = reply.model_extra["citewell"]["answer_id"]  # type: ignore[index]
    stored = (await library.client.get(f"/answers/{answer_id}")).json()
    assert stored["answer"] == reply.choices[0].message.content


async def test_a_refusal_is_content_too(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(**ask("?!"))
    (choice,) = reply.choices
    assert choice.finish_reason == "stop"
    assert choice.message.refusal
    assert choice.message.content == choice.message.refusal
    assert choice.message.annotations == []
    exact = reply.model_extra["citewell"]  # type: ignore[index]
    assert (exact["refused"], exact["reason"], exact["citations"]) == (True, "empty_question", [])


@pytest.mark.parametrize("question", [CLOCK, BREAD, "?!", "What is a leap second?"])
async def test_a_stream_is_the_same_answer_in_pieces(client: AsyncOpenAI, question: str) -> None:
    whole = await client.chat.completions.create(**ask(question))
    chunks = await read_stream(client, **ask(question), stream_options={"include_usage": True})
    assert {(chunk.object, chunk.model, chunk.id, chunk.created) for chunk in chunks} == {
        ("chat.completion.chunk", "citewell", chunks[0].id, chunks[0].created)
    }
    first, *pieces, last, usage = chunks
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    message = whole.choices[0].message
    assert "".join(chunk.choices[0].delta.content for chunk in pieces) == message.content
    refusals = [chunk.choices[0].delta.refusal for chunk in pieces]
    assert next(filter(None, refusals), None) == message.refusal
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [
        *[None] * (len(chunks) - 2),
        "stop",
    ]
    annotations = last.choices[0].delta.model_extra.get("annotations", [])
    assert annotations == [each.model_dump() for each in message.annotations or []]
    changing = {"answer_id"}
    exact, expected = last.model_extra["citewell"], whole.model_extra["citewell"]  # type: ignore[index]
    assert {k: v for k, v in exact.items() if k not in changing} == {
        k: v for k, v in expected.items() if k not in changing
    }
    assert usage.choices == []
    assert usage.usage == whole.usage
    assert {chunk.usage for chunk in chunks[:-1]} == {None}


async def test_one_chunk_a_sentence_and_done_at_the_end(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as plain:
        reply = await plain.post("/v1/chat/completions", json=ask(CLOCK, stream=True))
    assert reply.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in reply.text.split("\n") if line and not line.startswith(":")]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line[6:]) for line in lines[:-1]]
    assert all("usage" not in chunk for chunk in chunks)
    assert all(len(chunk["choices"]) == 1 for chunk in chunks)
    exact = chunks[-1]["citewell"]
    sentences = [chunk["choices"][0]["delta"]["content"] for chunk in chunks[1:-1]]
    annotations = chunks[-1]["choices"][0]["delta"]["annotations"]
    places = {
        (each["url_citation"]["start_index"], each["url_citation"]["end_index"])
        for each in annotations
    }
    text = "".join(sentences)
    assert len(sentences) == len(places)
    assert {text[start:end] for start, end in places} == {each.strip() for each in sentences}
    assert exact["refused"] is False


async def test_the_synchronous_client_works_too(address: str) -> None:
    def drive() -> tuple[str, str, list[str], list[float]]:
        with OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as client:
            whole = client.chat.completions.create(**ask(CLOCK))
            with client.chat.completions.create(**ask(CLOCK), stream=True) as stream:
                pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
            with client.chat.completions.stream(**ask(CLOCK)) as managed:
                final = managed.get_final_completion().choices[0].message.content
            assert final == whole.choices[0].message.content
            models = [model.id for model in client.models.list()]
            vector = client.embeddings.create(model="citewell", input="a clock").data[0].embedding
            return whole.choices[0].message.content or "", "".join(pieces), models, vector

    content, streamed, models, vector = await asyncio.to_thread(drive)
    assert content == streamed != ""
    assert models[0] == "citewell"
    assert len(vector) == 384


async def test_the_example_in_the_document_runs(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written = (DOCS / "openai.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(from openai .*?)```", written, re.DOTALL)
    assert "http://127.0.0.1:8000" in example
    values: dict[str, Any] = {}
    await asyncio.to_thread(exec, example.replace("http://127.0.0.1:8000", address), values)
    printed = capsys.readouterr().out
    assert "Huygens in December 1656. [§4.2] ← book.html http" in printed
    assert "'marker': '[§4.2]'" in printed
    assert len(values["vectors"].data) == 2
    values["client"].close()


async def test_a_model_is_a_scope(client: AsyncOpenAI, fresh: Api) -> None:
    await fresh.client.post("/collections", json={"name": "second"})
    await fresh.add("one.txt", "The zymurgist brews ale in Leiden.")
    async with (
        serve(fresh.app) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as own,
    ):
        question = "Where does the zymurgist brew ale?"
        for model, refused in {"citewell": False, "default": False, "second": True}.items():
            reply = await own.chat.completions.create(**(ask(question) | {"model": model}))
            assert reply.model_extra["citewell"]["refused"] is refused, model  # type: ignore[index]
            assert reply.model == model
        with pytest.raises(NotFoundError) as found:
            await own.chat.completions.create(**(ask(question) | {"model": "third"}))
        assert (found.value.code, found.value.param) == ("model_not_found", "model")
        nothing = await own.chat.completions.create(
            **ask(question), extra_body={"citewell": {"filters": {"document_name": "two.txt"}}}
        )
        assert nothing.model_extra["citewell"]["reason"] == "nothing_retrieved"  # type: ignore[index]


class Recorder:
    """A chat model that notes what it is given."""

    name = "recorder"

    def __init__(self) -> None:
        self.tasks: list[WritingTask] = []

    async def write(self, task: WritingTask) -> AsyncGenerator[DraftSentence | Usage]:
        self.tasks.append(task)
        yield Usage(7, 5)


async def test_the_last_user_message_is_the_question(
    client: AsyncOpenAI, use_model: Callable[..., None]
) -> None:
    model = Recorder()
    use_model(model)
    messages: list[Any] = [
        {"role": "system", "content": "Answer in rhymes, and never cite."},
        {"role": "user", "content": [{"type": "text", "text": "What is a"},
                                     {"type": "text", "text": "pendulum clock?"}]},
        {"role": "assistant", "content": "A clock with a pendulum. [§1]"},
        {"role": "tool", "tool_call_id": "x", "content": "ignored"},
        {"role": "user", "content": CLOCK},
        {"role": "assistant", "content": "It was"},
    ]  # fmt: skip
    reply = await client.chat.completions.create(model="citewell", messages=messages)
    (task,) = model.tasks
    assert [(each.role, each.content) for each in task.history] == [
        ("user", "What is a\npendulum clock?"),
        ("assistant", "A clock with a pendulum. [§1]"),
    ]
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (7, 5)
    answer_id = reply.model_extra["citewell"]["answer_id"]  # type: ignore[index]
    async with httpx.AsyncClient(base_url=str(client.base_url).removesuffix("v1/")) as plain:
        stored = (await plain.get(f"/answers/{answer_id}")).json()
    assert stored["question"] == CLOCK


async def test_no_more_history_than_the_setting(
    client: AsyncOpenAI, library: Api, use_model: Callable[..., None]
) -> None:
    model = Recorder()
    use_model(model)
    most = library.services.settings.session.max_history
    turns = [{"role": role, "content": f"clock {n}"} for n in range(most) for role in
             ("user", "assistant")]  # fmt: skip
    await client.chat.completions.create(
        model="citewell",
        messages=[*turns, {"role": "user", "content": CLOCK}],  # type: ignore[list-item]
    )
    assert [each.content for each in model.tasks[0].history] == [
        turn["content"] for turn in turns[-most:]
    ]


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": 0.7, "top_p": 0.1, "max_tokens": 1, "seed": 3, "stop": ["."], "user": "x"},
        {"n": 1, "presence_penalty": 1.0, "logit_bias": {"5": 1}, "metadata": {"a": "b"}},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"},
        {"response_format": {"type": "text"}, "modalities": ["text"], "logprobs": False},
        {"extra_body": {"anything": {"at": ["all"]}}},
    ],
)
async def test_parameters_without_an_effect_are_taken(
    client: AsyncOpenAI, parameters: dict[str, Any]
) -> None:
    plain = await client.chat.completions.create(**ask(CLOCK))
    reply = await client.chat.completions.create(**ask(CLOCK), **parameters)
    assert reply.choices[0].message == plain.choices[0].message


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"n": 2}, "n"),
        ({"n": 0}, "n"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"function_call": {"name": "f"}}, "function_call"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": "json"}, "response_format"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [PICTURE]}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "a\0b"}]}, "messages[0].content"),
        ({"messages": [{"role": "poet", "content": "x"}]}, "messages[0].role"),
        ({"messages": ["x"] * 500}, "messages[0]"),
        ({"messages": [{"role": "user", "content": "x"}] * 1001}, "messages"),
        ({"stream_options": 5}, "stream_options"),
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"model": "a\0"}, "model"),
        ({"citewell": {"limit": 0}}, "citewell.limit"),
        ({"citewell": {"typo": 1}}, "citewell.typo"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_bad_parameter_is_named(
    client: AsyncOpenAI, change: dict[str, Any], param: str, stream: bool
) -> None:
    with pytest.raises(BadRequestError) as found:
        await client.post(
            "/chat/completions", body=ask(CLOCK, stream=stream) | change, cast_to=object
        )
    error = found.value
    assert (error.param, error.type, error.code) == (
        param,
        "invalid_request_error",
        "invalid_value",
    )
    assert isinstance(error.body, dict)
    assert set(error.body) == ERROR_FIELDS


@pytest.mark.parametrize("change", [{"citewell": {"mode": "deep"}},
                                    {"citewell": {"filters": {"document_id": "x"}}}])  # fmt: skip
async def test_what_the_api_calls_422_is_400_here(
    client: AsyncOpenAI, change: dict[str, Any]
) -> None:
    with pytest.raises(BadRequestError) as found:
        await client.chat.completions.create(**ask(CLOCK), extra_body=change)
    assert found.value.type == "invalid_request_error"


async def test_a_question_that_is_too_long(client: AsyncOpenAI, library: Api) -> None:
    longest = library.services.settings.answer.max_question_characters
    with pytest.raises(BadRequestError) as found:
        await client.chat.completions.create(**ask("x" * (longest + 1)))
    assert (found.value.code, found.value.param) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "status", "code"),
    [
        ("POST", "/v1/chat/completions", b"{", {}, 400, "invalid_value"),
        ("POST", "/v1/chat/completions", b"[]", {}, 400, "invalid_value"),
        ("POST", "/v1/chat/completions", b"", {}, 400, "invalid_value"),
        ("POST", "/v1/chat/completions", b"[" * 200_000, {}, 400, "bad_request"),
        ("GET", "/v1/chat/completions", b"", {}, 405, "method_not_allowed"),
        ("GET", "/v1/threads", b"", {}, 404, "not_found"),
        ("POST", "/v1", b"", {}, 404, "not_found"),
        ("GET", "/v1/models", b"", {"host": "evil.example"}, 400, "unknown_host"),
        ("GET", "/v1/models", b"", {"origin": "https://evil.example"}, 403, "foreign_origin"),
    ],
)
async def test_errors_of_the_door_have_the_shape_too(
    address: str, method: str, path: str, content: bytes, headers: dict[str, str], status: int,
    code: str,
) -> None:  # fmt: skip
    async with httpx.AsyncClient(base_url=address) as plain:
        reply = await plain.request(
            method, path, content=content, headers={"content-type": "application/json", **headers}
        )
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"]
    (error,) = reply.json().values()
    assert set(error) == ERROR_FIELDS
    assert error["code"] == code
    assert error["message"]


async def test_other_paths_keep_their_problems(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as plain:
        for path in ("/nowhere", "/v10/models"):
            reply = await plain.get(path)
            assert reply.headers["content-type"] == "application/problem+json"


async def test_a_foreign_page_raises_its_class(client: AsyncOpenAI) -> None:
    with pytest.raises(PermissionDeniedError) as found:
        await client.models.list(extra_headers={"origin": "https://evil.example"})
    assert found.value.type == "permission_error"


class BrokenIndex:
    """A chunk index whose server does not answer."""

    def read(self, *_: Any) -> Any:
        raise Unavailable


@pytest.mark.parametrize("stream", [False, True])
async def test_a_search_that_fails_is_a_status_even_for_a_stream(
    client: AsyncOpenAI, library: Api, use_model: Callable[..., None], stream: bool
) -> None:
    use_model(library.services.answers.chat_model, index=BrokenIndex())
    with pytest.raises(InternalServerError) as found:
        await client.chat.completions.create(**ask(CLOCK), stream=stream)
    assert (found.value.status_code, found.value.code) == (503, "unavailable")
    assert found.value.type == "server_error"
    assert found.value.response.headers["retry-after"]


def failing(error: Exception) -> Callable[[], AsyncGenerator[Any]]:
    async def fail() -> AsyncGenerator[Any]:
        raise error
        yield

    return fail


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ProviderError(), 502, "provider_failed"),
        (RuntimeError("a secret"), 500, "internal"),
    ],
)
async def test_a_failure_in_the_middle(
    client: AsyncOpenAI, use_model: Callable[..., None], error: Exception, status: int, code: str
) -> None:
    use_model(ScriptedModel(failing(error)))
    with pytest.raises(InternalServerError) as whole:
        await client.chat.completions.create(**ask(CLOCK))
    assert (whole.value.status_code, whole.value.code) == (status, code)
    stream = await client.chat.completions.create(**ask(CLOCK), stream=True)
    assert (await anext(stream)).choices[0].delta.role == "assistant"
    assert (await anext(stream)).choices[0].delta.content
    with pytest.raises(APIError) as streamed:
        await anext(stream)
    assert streamed.value.code == code
    for found in (whole.value, streamed.value):
        assert "a secret" not in str(found.body)


async def aislice(lines: AsyncIterator[str], most: int) -> AsyncIterator[str]:
    for _ in range(most):
        yield await anext(lines)


async def never() -> AsyncGenerator[Any]:
    await asyncio.sleep(60)
    yield


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_the_work_within_a_second(
    address: str, use_model: Callable[..., None], stream: bool
) -> None:
    model = ScriptedModel(never)
    use_model(model)
    async with httpx.AsyncClient(base_url=address, timeout=30) as plain:
        if stream:
            body = ask(CLOCK, stream=True)
            async with plain.stream("POST", "/v1/chat/completions", json=body) as reply:
                data = [line async for line in aislice(reply.aiter_lines(), 3)]
                assert json.loads(data[2][6:])["choices"][0]["delta"]["content"]
                assert not model.closed.is_set()
        else:
            with pytest.raises(httpx.ReadTimeout):
                await plain.post("/v1/chat/completions", json=ask(CLOCK), timeout=0.7)
    left = time.monotonic()
    await asyncio.wait_for(model.closed.wait(), 5)
    assert time.monotonic() - left < 1


async def test_the_key_is_taken_and_never_logged(
    address: str, use_model: Callable[..., None]
) -> None:
    use_model(ScriptedModel(failing(RuntimeError("bug"))))
    before = structlog.get_config()
    lines: list[dict[str, Any]] = []

    def note(_: Any, __: str, line: Any) -> Any:
        lines.append(dict(line))
        raise structlog.DropEvent

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(0),
        processors=[structlog.processors.format_exc_info, note],
    )
    try:
        headers = {"authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=address, headers=headers) as plain:
            assert (await plain.get("/v1/models")).status_code == 200
            assert (await plain.post("/v1/chat/completions", json=ask(CLOCK))).status_code == 500
            assert (await plain.post("/v1/chat/completions", json={})).status_code == 400
    finally:
        structlog.configure(**before)
    assert [line["status"] for line in lines if line["event"] == "request"] == [200, 500, 400]
    assert KEY not in repr(lines)
