"""Read a conversation into a question with its history, its scope and its rules."""

from collections.abc import Sequence
from dataclasses import replace

from citewell.answer.path import Question
from citewell.api.filters import read_filters
from citewell.api.openai.errors import ParameterError, UnknownModel
from citewell.api.openai.wire import ChatMessage, ChatRequest, CitewellOptions
from citewell.domain import Allowance, Message, WorkspaceId
from citewell.errors import NotFound
from citewell.records.policy import merge_policy, read_rules
from citewell.records.quotas import check_day
from citewell.wiring import Services

EVERYTHING = "citewell"
"""The model that looks in all collections; a collection of that name is only in it."""


async def read_question(
    services: Services, workspace_id: WorkspaceId, body: ChatRequest
) -> Question:
    """Return what is asked.

    Raises:  UnknownModel – no such collection.  ParameterError – there is no question, or it is too
             long.  Unprocessable – a filter is not understood.  QuotaExceeded – the day's tokens or
             money are used up.
    """
    settings = services.settings
    options = body.citewell or CitewellOptions.model_validate({})
    text, history = split(body.messages)
    longest = settings.answer.max_question_characters
    if len(text) > longest:
        raise ParameterError(
            "messages",
            f"The question is longer than {longest} characters. Ask it more shortly, or upload the "
            "text as a document.",
            code="context_length_exceeded",
        )
    scope = read_filters(options.filters)
    collection = None if body.model == EVERYTHING else body.model
    try:
        async with services.database.transaction(workspace_id) as connection:
            own, collection_id = await read_rules(connection, workspace_id, collection)
            await check_day(connection, workspace_id, collection_id)
    except NotFound as error:
        raise UnknownModel from error
    policy = merge_policy(settings.answer, own)
    kept = settings.session.max_history
    return Question(
        workspace_id=workspace_id,
        text=text,
        scope=replace(scope, collection_id=collection_id),
        limit=options.limit or settings.answer.max_evidence,
        mode=options.mode or policy.mode,
        policy=policy,
        allowance=Allowance(settings.answer.deadline_seconds, settings.answer.max_cost_usd),
        history=tuple(history[-kept:]) if kept else (),
    )


def split(messages: Sequence[ChatMessage]) -> tuple[str, list[Message]]:
    """Return the last user message, and what user and assistant said before it.

    Raises:  ParameterError – the user says nothing.
    """
    spoken = [each for each in messages if each.role in {"user", "assistant"}]
    while spoken and spoken[-1].role != "user":
        spoken.pop()
    if not spoken:
        raise ParameterError("messages", "There is no user message. Put the question into one.")
    history = [
        Message("user" if each.role == "user" else "assistant", each.content)
        for each in spoken[:-1]
        if each.content
    ]
    return spoken[-1].content or "", history
