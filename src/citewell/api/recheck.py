"""/answers/{answer_id}/verify: check a stored answer against the documents as they are now."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import TypeAdapter

from citewell.answer.cite import Citer
from citewell.api import schemas
from citewell.api.deps import AnswerIdDep, ServicesDep, WorkspaceDep
from citewell.domain import (
    Candidate,
    ChunkId,
    DocumentId,
    DraftSentence,
    Quote,
    VersionId,
    WorkspaceId,
)
from citewell.errors import Conflict
from citewell.ports import Embedder
from citewell.records.answers import get_answer
from citewell.records.recheck import CitedSpan, SpanState, read_spans
from citewell.wiring import Services

router = APIRouter(tags=["questions"])

Status = Literal["valid", "source_changed", "moved", "source_removed", "broken"]
HOLDING = frozenset({"valid", "moved"})


class Moved(schemas.Wire):
    """Where the document's active version has the same quote."""

    version_id: UUID
    start: int
    end: int


class CheckedCitation(schemas.Citation):
    """A stored citation, and whether it still holds.

    ``source_changed``: a newer version is active and has the quote nowhere; ``moved``: it has it,
    at ``moved_to``; ``broken``: the cited version has another text there.
    """

    status: Status
    moved_to: Moved | None = None


class CheckedSentence(schemas.Wire):
    """A stored sentence checked anew; ``checked`` is false where its sources' text is gone."""

    text: str
    checked: bool
    problems: list[str]


class Verification(schemas.Wire):
    """Whether a stored answer still holds: every citation is valid or moved, every sentence sound.

    ``sentences`` is empty for answers that were stored without them.
    """

    answer_id: UUID
    valid: bool
    citations: list[CheckedCitation]
    sentences: list[CheckedSentence]


class _StoredSentence(schemas.Wire):
    """A sentence as any version stored it."""

    text: str
    citations: list[schemas.Citation]


@dataclass(frozen=True, slots=True)
class _Stored:
    """What of a stored answer is checked again."""

    citations: list[schemas.Citation]
    sources: list[schemas.Result]
    sentences: list[tuple[str, list[schemas.Citation]]]


_CITATIONS = TypeAdapter(list[schemas.Citation])
_SENTENCES = TypeAdapter(list[_StoredSentence])
_SOURCES = TypeAdapter(list[schemas.Result])


@router.post("/answers/{answer_id}/verify", response_model=Verification)
async def verify(
    services: ServicesDep, workspace_id: WorkspaceDep, answer_id: AnswerIdDep
) -> Verification:
    """Check a stored answer again: its quotes, its sources' versions, and its sentences."""
    async with services.database.transaction(workspace_id) as connection:
        result = await get_answer(connection, workspace_id, answer_id)
    if result.get("redaction") == "all":
        raise Conflict(
            "The workspace's policy kept no text of this answer, so there is nothing to check. "
            "Ask the question again."
        )
    stored = _read(result)
    states, texts = await _look(services, workspace_id, stored)
    citations = [
        _checked(citation, state) for citation, state in zip(stored.citations, states, strict=True)
    ]
    evidence = _evidence(stored.sources, texts)
    sentences = [
        await _check_again(sentence, cited, evidence, services.embedder)
        for sentence, cited in stored.sentences
    ]
    holds = all(each.status in HOLDING for each in citations)
    sound = not any(each.problems for each in sentences)
    return Verification(
        answer_id=answer_id, valid=holds and sound, citations=citations, sentences=sentences
    )


def _read(result: dict[str, Any]) -> _Stored:
    """Read a stored answer, of this version or of an earlier one without sentences."""
    written = _SENTENCES.validate_python(result.get("sentences") or [])
    sentences = [(each.text, each.citations) for each in written]
    stored = result.get("citations")
    if stored is None:
        citations = [citation for _, cited in sentences for citation in cited]
    else:
        citations = _CITATIONS.validate_python(stored)
    return _Stored(citations, _SOURCES.validate_python(result.get("sources") or []), sentences)


async def _look(
    services: Services, workspace_id: WorkspaceId, stored: _Stored
) -> tuple[list[SpanState], list[str | None]]:
    """Return what is now at each citation, and the text of each source in its own version."""
    cited = [_span(each, each.quote) for each in stored.citations]
    sources = [_span(each, "") for each in stored.sources]
    async with services.database.transaction(workspace_id) as connection:
        states = await read_spans(connection, workspace_id, [*cited, *sources])
    return states[: len(cited)], [state.text for state in states[len(cited) :]]


def _span(place: schemas.Citation | schemas.Result, quote: str) -> CitedSpan:
    return CitedSpan(
        DocumentId(place.document_id), VersionId(place.version_id), place.start, place.end, quote
    )


def _checked(citation: schemas.Citation, state: SpanState) -> CheckedCitation:
    """Judge a citation by what is at its place now."""
    moved = None
    if state.moved_to is not None and state.active_version_id is not None:
        moved = Moved(
            version_id=state.active_version_id,
            start=state.moved_to,
            end=state.moved_to + len(citation.quote),
        )
    return CheckedCitation(**citation.model_dump(), status=_status(citation, state), moved_to=moved)


def _status(citation: schemas.Citation, state: SpanState) -> Status:
    if not state.document_exists:
        return "source_removed"
    if state.text is not None and state.text != citation.quote:
        return "broken"
    if state.active_version_id == citation.version_id:
        return "valid" if state.text is not None else "broken"
    return "source_changed" if state.moved_to is None else "moved"


def _evidence(
    sources: Sequence[schemas.Result], texts: Sequence[str | None]
) -> dict[UUID, Candidate]:
    """Return by chunk the sources whose text is still there, as it was."""
    return {
        source.chunk_id: Candidate(
            chunk_id=ChunkId(source.chunk_id),
            document_id=DocumentId(source.document_id),
            document_name=source.document_name,
            document_title=source.document_title or "",
            version_id=VersionId(source.version_id),
            ordinal=0,
            text=text,
            start=source.start,
            end=source.end,
            page=source.page,
            section_number=None,
            section_title=source.section_title,
            section_path=tuple(source.section_path),
            anchor=source.anchor,
            metadata={},
        )
        for source, text in zip(sources, texts, strict=True)
        if text is not None and len(text) == source.end - source.start
    }


async def _check_again(
    text: str,
    cited: Sequence[schemas.Citation],
    evidence: dict[UUID, Candidate],
    embedder: Embedder,
) -> CheckedSentence:
    """Check one sentence as it was checked before a reader saw it."""
    chunks = list(dict.fromkeys(each.chunk_id for each in cited))
    if not cited or not all(chunk in evidence for chunk in chunks):
        return CheckedSentence(text=text, checked=False, problems=[])
    order = [*chunks, *(chunk for chunk in evidence if chunk not in chunks)]
    citer = Citer([evidence[chunk] for chunk in order], embedder)
    bare = _without_markers(text, cited)
    exact = tuple(Quote(chunks.index(each.chunk_id), each.start, each.end) for each in cited)
    whole = tuple(
        Quote(at, evidence[chunk].start, evidence[chunk].end) for at, chunk in enumerate(chunks)
    )
    quotes = exact if bare.split() == " ".join(each.quote for each in cited).split() else whole
    again = await citer.cite(DraftSentence(bare, quotes))
    return CheckedSentence(text=text, checked=True, problems=list(again.problems))


def _without_markers(text: str, cited: Sequence[schemas.Citation]) -> str:
    """Return the sentence as it was written, without the markers at its end."""
    markers = " ".join(dict.fromkeys(each.marker for each in cited))
    return text.removesuffix(markers).rstrip()
