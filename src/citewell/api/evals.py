"""/evals: measure a question set on the workspace's documents, compare runs, guard the policy."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response

from citewell.api import eval_schemas as wire
from citewell.api.context import request_id
from citewell.api.deps import (
    CleanText,
    CursorQuery,
    LimitQuery,
    ServicesDep,
    WorkspaceDep,
    known_uuid,
)
from citewell.api.once import Accepted, AttemptDep, do_once
from citewell.domain import EvalId, JobId, Json, WorkspaceId
from citewell.errors import Conflict, InputError, Unprocessable
from citewell.evals.compare import compare
from citewell.evals.datasets import EvalQuestion, hash_questions, parse_questions
from citewell.evals.metrics import in_order
from citewell.evals.run import rows_by_key
from citewell.records import eval_guards
from citewell.records.audit import add_audit
from citewell.records.collections import get_collection_id
from citewell.records.evals import (
    EvalRow,
    NewEval,
    add_eval,
    get_eval,
    list_evals,
    list_questions,
    list_trend,
    read_results,
    remove_eval,
)
from citewell.records.session import Connection

router = APIRouter(prefix="/evals", tags=["evaluation"])


def eval_id(eval_id: Annotated[str, Path(description="The evaluation's id.")]) -> EvalId:
    """Read an evaluation's id; a malformed one is unknown."""
    return EvalId(known_uuid(eval_id))


EvalIdDep = Annotated[EvalId, Depends(eval_id)]
NameQuery = Annotated[CleanText | None, Query(max_length=200, description="Runs of this name.")]


@router.post("", status_code=202, response_model=wire.Eval)
async def start(
    services: ServicesDep, workspace_id: WorkspaceDep, attempt: AttemptDep, body: wire.NewEval
) -> Response:
    """Have a dataset's questions searched and answered, and measured; a worker does it."""
    questions = read_questions(body.questions)
    new = NewEval(
        name=body.name,
        dataset_sha256=hash_questions(questions),
        collection=body.collection,
        retrieval_only=body.retrieval_only,
        questions=[each.to_json() for each in questions],
    )

    async def effect(connection: Connection) -> Accepted:
        if new.collection is not None:
            await get_collection_id(connection, workspace_id, new.collection)
        made = await add_eval(connection, workspace_id, new, request_id())
        await add_audit(connection, workspace_id, "eval.add", str(made), request_id())
        row = await get_eval(connection, workspace_id, made)
        return Accepted(_wire(row), [JobId(made)], f"/evals/{made}", task="evaluate")

    content = [new.dataset_sha256, new.name, new.collection, new.retrieval_only]
    reply, _ = await do_once(services, workspace_id, attempt, content, 202, effect)
    return reply


@router.get("")
async def list_all(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> wire.EvalPage:
    """List runs, newest first."""
    async with services.database.transaction(workspace_id) as connection:
        page = await list_evals(connection, workspace_id, limit, cursor)
    return wire.EvalPage(evals=[_wire(row) for row in page.items], next_cursor=page.next_cursor)


@router.get("/diff")
async def diff(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    a: Annotated[str, Query(description="The run before.")],
    b: Annotated[str, Query(description="The run after.")],
) -> wire.Diff:
    """Compare two runs, question by question: what is better, worse, or no different."""
    runs: list[EvalRow] = []
    results: list[list[Json]] = []
    async with services.database.transaction(workspace_id) as connection:
        for each in (a, b):
            row = await get_eval(connection, workspace_id, EvalId(known_uuid(each)))
            if row.finished_at is None:
                raise Conflict("One of the evaluations has not ended, or has failed. Look at it.")
            runs.append(row)
            results.append(await read_results(connection, workspace_id, row.eval_id))
    before, after = map(rows_by_key, results)
    found = await asyncio.to_thread(compare, before, after)
    return wire.Diff(
        a=runs[0].eval_id,
        b=runs[1].eval_id,
        same_dataset=runs[0].dataset_sha256 == runs[1].dataset_sha256,
        shared=len(before.keys() & after.keys()),
        settings_changed=_differing(runs[0].settings, runs[1].settings),
        differences=[wire.Difference.model_validate(each) for each in found],
    )


@router.get("/trend")
async def trend(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    dataset_sha256: Annotated[
        CleanText | None, Query(max_length=64, description="Runs of this dataset.")
    ] = None,
    name: NameQuery = None,
    limit: LimitQuery = 50,
) -> wire.Trend:
    """Return the last runs of a dataset, oldest first; of the newest run's, if none is named."""
    async with services.database.transaction(workspace_id) as connection:
        rows = await list_trend(connection, workspace_id, dataset_sha256, name, limit)
    dataset = rows[-1].dataset_sha256 if rows else dataset_sha256
    return wire.Trend(dataset_sha256=dataset, evals=[_wire(row) for row in rows])


@router.get("/guard")
async def read_guard(services: ServicesDep, workspace_id: WorkspaceDep) -> wire.Guard:
    """Return what changes of the workspace's policy are tried on."""
    async with services.database.transaction(workspace_id) as connection:
        return _wire_guard(await eval_guards.get_guard(connection, workspace_id))


@router.put("/guard")
async def set_guard(
    services: ServicesDep, workspace_id: WorkspaceDep, body: wire.NewGuard
) -> wire.Guard:
    """Have each change of the policy tried on a dataset first; what makes it worse is refused."""
    questions = read_questions(body.questions)
    async with services.database.transaction(workspace_id) as connection:
        if body.collection is not None:
            await get_collection_id(connection, workspace_id, body.collection)
        await eval_guards.set_guard(
            connection,
            workspace_id,
            hash_questions(questions),
            body.collection,
            body.tolerance,
            [each.to_json() for each in questions],
        )
        await _audit_guard(connection, workspace_id, "set")
        return _wire_guard(await eval_guards.get_guard(connection, workspace_id))


@router.delete("/guard", status_code=204)
async def remove_guard(services: ServicesDep, workspace_id: WorkspaceDep) -> Response:
    """Let the policy be changed untried again."""
    async with services.database.transaction(workspace_id) as connection:
        await eval_guards.remove_guard(connection, workspace_id)
        await _audit_guard(connection, workspace_id, "delete")
    return Response(status_code=204)


@router.get("/{eval_id}")
async def get_one(
    services: ServicesDep, workspace_id: WorkspaceDep, eval_id: EvalIdDep
) -> wire.Eval:
    """Return one run: how far it is, and what it came to."""
    async with services.database.transaction(workspace_id) as connection:
        return _wire(await get_eval(connection, workspace_id, eval_id))


@router.get("/{eval_id}/questions")
async def get_questions(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    eval_id: EvalIdDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> wire.QuestionPage:
    """List a run's questions in their order, each with its own figures."""
    async with services.database.transaction(workspace_id) as connection:
        page = await list_questions(connection, workspace_id, eval_id, limit, cursor)
    return wire.QuestionPage.model_validate(
        {"questions": page.items, "next_cursor": page.next_cursor}
    )


@router.delete("/{eval_id}", status_code=204)
async def delete(services: ServicesDep, workspace_id: WorkspaceDep, eval_id: EvalIdDep) -> Response:
    """Delete a run with its figures; one that is open is ended."""
    async with services.database.transaction(workspace_id) as connection:
        await remove_eval(connection, workspace_id, eval_id)
        await add_audit(connection, workspace_id, "eval.delete", str(eval_id), request_id())
    return Response(status_code=204)


def read_questions(lines: list[Json]) -> list[EvalQuestion]:
    """Check a dataset's lines.

    Raises:  Unprocessable – one is not right; the message has its number.
    """
    try:
        return parse_questions(enumerate(lines, 1))
    except InputError as error:
        raise Unprocessable(error.message) from error


async def _audit_guard(connection: Connection, workspace_id: WorkspaceId, action: str) -> None:
    await add_audit(
        connection, workspace_id, f"eval.guard.{action}", str(workspace_id), request_id()
    )


def _wire(row: EvalRow) -> wire.Eval:
    fields = {name: getattr(row, name) for name in wire.Eval.model_fields if name != "share"}
    figures = {**row.figures, "metrics": in_order(row.figures.get("metrics", {}))}
    return wire.Eval.model_validate({**fields, "figures": figures, "share": _share(row)})


def _share(row: EvalRow) -> float:
    if row.status == "succeeded":
        return 1.0
    done = row.progress.get("done")
    return done / row.question_count if row.status == "running" and done else 0.0


def _wire_guard(guard: eval_guards.Guard) -> wire.Guard:
    return wire.Guard(
        dataset_sha256=guard.dataset_sha256,
        question_count=len(guard.questions),
        collection=guard.collection,
        tolerance=guard.tolerance,
        created_by=guard.created_by,
        created_at=guard.created_at,
    )


def _differing(before: Json, after: Json) -> list[str]:
    """Return the names of what differs: makers.embedder, policy.mode."""
    flat: list[dict[str, Any]] = [
        {
            f"{group}.{name}": value
            for group, fields in each.items()
            for name, value in fields.items()
        }
        for each in (before, after)
    ]
    names = flat[0].keys() | flat[1].keys()
    return sorted(name for name in names if flat[0].get(name) != flat[1].get(name))
