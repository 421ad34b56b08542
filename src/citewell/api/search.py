"""/search: find chunks by meaning and by words, and say why."""

from fastapi import APIRouter
from fastapi.responses import Response

from citewell.answer.explain import explain
from citewell.answer.search import SearchResult
from citewell.api.answer_stream import observe
from citewell.api.deps import ServicesDep, WorkspaceDep
from citewell.api.filters import read_scope
from citewell.api.search_schemas import Explanation, Found, Highlight, SearchReply, SearchRequest
from citewell.domain import WorkspaceId
from citewell.records.highlights import find_highlights, find_stems
from citewell.wiring import Services

router = APIRouter(tags=["questions"])


@router.post("/search", response_model=SearchReply)
async def search(
    services: ServicesDep, workspace_id: WorkspaceDep, body: SearchRequest
) -> Response:
    """Find the chunks that fit a query best, by meaning and by words; no answer is written."""
    scope = await read_scope(services, workspace_id, body.collection, body.filters)
    found = await services.answers.search(
        workspace_id, body.query, scope, body.limit, min_similarity=body.min_similarity
    )
    observe(found.timings_ms)
    results = [Found.model_validate(item) for item in found.candidates]
    if results and (body.highlight or body.explain):
        await _describe(services, workspace_id, body, found, results)
    reply = SearchReply(results=results, timings_ms=found.timings_ms)
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
