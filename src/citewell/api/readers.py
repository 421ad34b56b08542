"""/documents/{document_id}/readers: who may see a document."""

from typing import Annotated

from fastapi import APIRouter, Form
from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from citewell.api import schemas
from citewell.api.context import request_id
from citewell.api.deps import CleanText, DocumentIdDep, ServicesDep, WorkspaceDep
from citewell.api.patterns import ONE_READER
from citewell.domain import MOST_READERS
from citewell.errors import Unprocessable
from citewell.records.documents import get_document
from citewell.records.readers import set_readers

router = APIRouter(prefix="/documents", tags=["documents"])

MOST_READERS_CHARACTERS = 4096
Reader = Annotated[str, StringConstraints(pattern=ONE_READER)]
Readers = Annotated[list[Reader], Field(max_length=MOST_READERS)]
ReadersForm = Annotated[
    CleanText | None,
    Form(
        max_length=MOST_READERS_CHARACTERS,
        description='A JSON list of who may see the files, for instance ["group:finance"].',
    ),
]
_READERS: TypeAdapter[list[str]] = TypeAdapter(Readers)


class ReadersRequest(schemas.Request):
    """Who may see a document; null is everyone in the workspace.

    ``role:viewer``, ``role:editor`` and ``role:admin`` are those who have that role or a higher
    one, ``group:NAME`` those whose key is of that group.
    """

    readers: Readers | None


@router.put("/{document_id}/readers")
async def replace(
    services: ServicesDep,
    workspace_id: WorkspaceDep,
    document_id: DocumentIdDep,
    body: ReadersRequest,
) -> schemas.DocumentDetail:
    """Say who may see a document; from the reply on nobody else finds it, or what quotes it."""
    async with services.database.transaction(workspace_id) as connection:
        await set_readers(connection, workspace_id, {document_id: body.readers}, request_id())
        row = await get_document(connection, workspace_id, document_id)
    return schemas.DocumentDetail.model_validate(row)


def read_readers(written: str | None) -> tuple[str, ...] | None:
    """Read a form's field; None where it is not given.

    Raises:  Unprocessable – it is not a JSON list of readers.
    """
    if written is None or not written.strip():
        return None
    try:
        return tuple(_READERS.validate_json(written, strict=True))
    except ValidationError as error:
        raise Unprocessable(
            f"The field readers must be a JSON list of at most {MOST_READERS} entries such as "
            "group:finance or role:editor. Correct it and send it again."
        ) from error
