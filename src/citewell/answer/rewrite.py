"""Make a question of a conversation stand alone, and ask it in more ways than one."""

import json
import re
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, Field

from citewell.answer.follow_up import carry_over
from citewell.answer.prompts.rewrite import PARAPHRASES, PASSAGE, STANDALONE
from citewell.domain import Message, Rewriting, Usage, WorkspaceId
from citewell.ports import LanguageModel, ModelCall

MOST_MESSAGES, MOST_MESSAGE_CHARACTERS = 8, 600
"""What of a conversation the model reads: enough for what "it" is, and no more."""

MOST_QUERIES, MOST_QUERY_CHARACTERS = 3, 300
MOST_PASSAGE_CHARACTERS = 800
"""About as many as an embedder's window of 256 tokens takes."""

LONGEST = 3
"""A standalone question this many times as long as what was asked is no question any more."""

_LABEL = re.compile(r"^(?:standalone|rewritten)?\s*(?:question|frage)\s*:\s*", re.IGNORECASE)
_MARKS = ("?", "？")
_NUMBER = re.compile(r"\d+")
_ASKING = re.compile(
    r"(?:what|why|how|who|whom|whose|when|where|which|is|are|was|were|do|does|did|has|have|had|can"
    r"|could|may|must|should|would|will|tell|list|name|explain|describe"
    r"|define|compare|summari[sz]e|give|show|find|was|wie|wer|wen|wem|wessen|wo"
    r"|wann|warum|weshalb|wieso|wozu|womit|welche[rsnm]?|ist|sind|war|waren|hat|haben|kann|darf"
    r"|muss|soll|nenne|erkläre|beschreibe|vergleiche|zeige)\b",
    re.IGNORECASE,
)


class Paraphrases(BaseModel):
    """Other ways to search for the answer to a question."""

    queries: list[str] = Field(description="Up to three other wordings, one line each.")


async def make_standalone(
    workspace_id: WorkspaceId,
    question: str,
    history: Sequence[Message],
    language_model: LanguageModel | None,
    deadline_seconds: float,
) -> tuple[str, Usage]:
    """Return the question so that it is understood without the history.

    Holds:   a question without history is returned as it is; what the model writes is taken only
             where it looks like that question, else words are carried over by rule.
    Cost:    at most one call of the model.
    Raises:  ProviderError – the model failed.
    """
    carried = carry_over(question, history)
    if language_model is None or not history:
        return carried, Usage()
    recent = [
        {"role": each.role, "content": each.content[:MOST_MESSAGE_CHARACTERS]}
        for each in history[-MOST_MESSAGES:]
    ]
    asked = _last_question(history)
    most = LONGEST * (len(question) + len(asked))
    call = _call(
        workspace_id,
        STANDALONE,
        {"conversation": recent, "last_question": question},
        most,
        deadline_seconds,
    )
    reply, usage = await _read(language_model, call, most)
    written = _LABEL.sub("", reply.strip()).strip("\"'“”„` ")
    return (written if _is_that_question(written, question, most) else carried), usage


async def rewrite(
    workspace_id: WorkspaceId,
    question: str,
    how: Rewriting,
    language_model: LanguageModel,
    deadline_seconds: float,
) -> tuple[tuple[str, ...], Usage]:
    """Return the question, which stays first, and further queries for the same.

    ``multi-query`` adds up to three other wordings, ``hyde`` a passage that an answer could be in
    (Gao et al., Precise Zero-Shot Dense Retrieval without Relevance Labels, ACL 2023). They are
    only searched with: no answer rests on them.

    Cost:    one call of the model.
    Raises:  ProviderError – the model failed.
    """
    asked = {"question": question}
    if how == "multi-query":
        most = MOST_QUERIES * MOST_QUERY_CHARACTERS
        call = _call(workspace_id, PARAPHRASES, asked, most, deadline_seconds)
        found, usage = await language_model.extract(call, Paraphrases)
        return _distinct(question, found.queries), usage
    if how == "hyde":
        call = _call(workspace_id, PASSAGE, asked, MOST_PASSAGE_CHARACTERS, deadline_seconds)
        reply, usage = await _read(language_model, call, MOST_PASSAGE_CHARACTERS)
        passage = " ".join(reply[:MOST_PASSAGE_CHARACTERS].split())
        return ((question, passage) if passage else (question,)), usage
    return (question,), Usage()


def _call(
    workspace_id: WorkspaceId,
    prompt: str,
    data: Mapping[str, object],
    most_characters: int,
    deadline_seconds: float,
) -> ModelCall:
    """Ask with the untrusted texts as JSON, so that none can pose as the prompt.

    A token is three characters at least, in the languages that write with letters; where it is not,
    the reply ends early and the check of it decides.
    """
    return ModelCall(
        workspace_id,
        (Message("system", prompt), Message("user", json.dumps(data, ensure_ascii=False))),
        max_output_tokens=most_characters // 3 + 32,
        deadline_seconds=deadline_seconds,
    )


async def _read(model: LanguageModel, call: ModelCall, most: int) -> tuple[str, Usage]:
    """Read the reply; one that runs on is read to its end for its usage, but not kept."""
    text, usage = "", Usage()
    pieces = model.stream(call)
    try:
        async for piece in pieces:
            if isinstance(piece, Usage):
                usage += piece
            elif len(text) <= most:
                text += piece
    finally:
        await pieces.aclose()
    return text, usage


def _last_question(history: Sequence[Message]) -> str:
    return next((each.content for each in reversed(history) if each.role == "user"), "")


def _is_that_question(written: str, question: str, most: int) -> bool:
    """Say whether a reply can be the question: one line, not too long, asking, with its numbers."""
    if not written or len(written) > most or len(written.splitlines()) > 1:
        return False
    if not set(_NUMBER.findall(question)) <= set(_NUMBER.findall(written)):
        return False
    if written.endswith(_MARKS):
        return True
    return not question.rstrip().endswith(_MARKS) and _ASKING.match(written) is not None


def _distinct(question: str, queries: Sequence[str]) -> tuple[str, ...]:
    """Return the question and up to three other queries that differ from it and one another."""
    found = {question.casefold(): question}
    for query in queries:
        line = " ".join(query.split())[:MOST_QUERY_CHARACTERS]
        if len(found) <= MOST_QUERIES and any(character.isalnum() for character in line):
            found.setdefault(line.casefold(), line)
    return tuple(found.values())
