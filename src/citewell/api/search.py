"""/search: find chunks by meaning and by words, and say why. /suggest: help somebody type."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from citewell.answer.explain import explain
from citewell.answer.search import SearchResult
from citewell.api.answer_stream import observe
from citewell.api.deps import CleanText, CollectionName, ServicesDep, WorkspaceDep
from citewell.api.filters import read_scope
from citewell.api.schemas import Skipped
from citewell.api.search_schemas import (
    Duplicate,
    Explanation,
    Found,
    Highlight,
    SearchReply,
    SearchRequest,
    Suggestion,
    Suggestions,
)
from citewell.domain import ChunkId, WorkspaceId
from citewell.records.collections import get_collection_id
from citewell.records.highlights import find_highlights, find_stems
from citewell.records.suggestions import find_suggestions
from citewell.wiring import Services

router = APIRouter(tags=["questions"])


@router.post("/search", response_model=SearchReply)
async def search(
    services: ServicesDep, workspace_id: WorkspaceDep, body: SearchRequest
) -> Response:
    """Find the chunks that fit a query best, by meaning and by words; no answer is written."""
    scope = await read_scope(services, workspace_id, body.collection, body.filters)
    found = await services.answers.search(
        workspace_id,
        body.query,
        scope,
        body.limit,
        min_similarity=body.min_similarity,
        collapse_duplicates=body.collapse_duplicates,
        anew=body.explain,
    )
    observe(found.timings_ms)
    results = [Found.model_validate(item) for item in found.candidates]
    for result in results:
        copies = found.duplicates.get(ChunkId(result.chunk_id), ())
        result.duplicates = [Duplicate.model_validate(each) for each in copies]
    if results and (body.highlight or body.explain):
        await _describe(services, workspace_id, body, found, results)
    reply = SearchReply(
        results=results,
        timings_ms=found.timings_ms,
        skipped=[Skipped.model_validate(each) for each in found.skipped],
    )
    return Response(reply.model_dump_json(), media_type="application/json")


async def _describe(
    services: Services,
    workspace_id: WorkspaceId,
    body: SearchRequest,
    found: SearchResult,
    results: list[Found],
) -> None:
    """Add to results what was asked for beside them."""
    stems = list(found.term_idf)
    async with services.database.transaction(workspace_id) as connection:
        if body.highlight:
            texts = [each.text for each in results]
            places = await find_highlights(connection, texts, stems)
            for result, spans in zip(results, places, strict=True):
                result.highlights = [Highlight(start=start, end=end) for start, end in spans]
        if body.explain:
            ids = [each.chunk_id for each in found.candidates]
            held = await find_stems(connection, workspace_id, ids, stems)
            for result, said in zip(results, explain(found, held), strict=True):
                result.explain = Explanation.model_validate(said)


@router.get("/suggest", response_model=Suggestions)
async def suggest(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    q: Annotated[CleanText, Query(max_length=200, description="What was typed until now.")],
    limit: Annotated[int, Query(ge=1, le=50, description="Most suggestions.")] = 8,
    collection: Annotated[CollectionName | None, Query(description="Only from this one.")] = None,
) -> Response:
    """Suggest titles, headings, phrases and answered questions with a word that begins so."""
    async with services.database.transaction(workspace_id) as connection:
        collection_id = None
        if collection is not None:
            collection_id = await get_collection_id(connection, workspace_id, collection)
        found = await find_suggestions(connection, workspace_id, q, collection_id, limit)
    reply = Suggestions(suggestions=[Suggestion.model_validate(each) for each in found])
    return Response(reply.model_dump_json(), media_type="application/json")
