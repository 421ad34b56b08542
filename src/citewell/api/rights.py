"""Which role each address needs: the whole table, so that an auditor reads it at a glance."""

from dataclasses import dataclass
from typing import Literal

from citewell.domain import Role

Place = Literal["open", "workspace", "named", "any", "installation"]
"""open: nobody is asked who they are. workspace: the role counts in the request's workspace. named:
in the workspace whose id is in the address, as ``workspace_id``. any: every valid credential will
do. installation: only owners."""


@dataclass(frozen=True, slots=True)
class Right:
    """What a request must have: a role, and, where it ``writes``, a workspace that is not archived.

    ``asks`` marks questions, and ``streams`` replies that stay open: both have limits of their own.
    """

    place: Place
    role: Role = "viewer"
    writes: bool = False
    asks: bool = False
    streams: bool = False


OPEN = Right("open")
ANY = Right("any")
UNKNOWN = Right("any")
"""Of an address that is not in the table: who is known is told that there is none."""
OWNER = Right("installation", "owner")
READ = Right("workspace")
FOLLOW = Right("workspace", streams=True)
ASK = Right("workspace", asks=True)
LISTEN = Right("workspace", asks=True, streams=True)
TALK = Right("workspace", writes=True, asks=True)
TALK_LIVE = Right("workspace", writes=True, asks=True, streams=True)
SPEAK = Right("workspace", writes=True)
EDIT = Right("workspace", "editor", writes=True)
LOOK_AFTER = Right("workspace", "admin")
RULE = Right("workspace", "admin", writes=True)
SEE = Right("named")
CHANGE = Right("named", "admin", writes=True)
PUT_AWAY = Right("named", "admin")
REMOVE = Right("named", "owner")
GRANT = Right("workspace", "owner", writes=True)

RIGHTS: dict[str, Right] = {
    "GET /": OPEN,
    "GET /docs": OPEN,
    "GET /openapi.json": OPEN,
    "GET /swagger/swagger-ui-bundle.js": OPEN,
    "GET /swagger/swagger-ui.css": OPEN,
    "GET /swagger/favicon-32x32.png": OPEN,
    "GET /health": OPEN,
    "GET /ready": OPEN,
    "GET /metrics": OWNER,
    "GET /me": ANY,
    "POST /documents/upload": EDIT,
    "POST /documents/known": EDIT,
    "GET /documents": READ,
    "GET /documents/{document_id}": READ,
    "DELETE /documents/{document_id}": EDIT,
    "GET /documents/{document_id}/text": READ,
    "GET /documents/{document_id}/versions": READ,
    "GET /documents/{document_id}/chunks": READ,
    "PUT /documents/{document_id}/readers": EDIT,
    "POST /documents/{document_id}/reindex": EDIT,
    "POST /ingest/": EDIT,
    "POST /ingest": EDIT,
    "GET /ingest/{job_id}": READ,
    "POST /rag/pipeline": EDIT,
    "GET /collections": READ,
    "POST /collections": EDIT,
    "DELETE /collections/{name}": RULE,
    "POST /collections/{name}/reindex": EDIT,
    "GET /jobs": READ,
    "GET /jobs/{job_id}": READ,
    "GET /jobs/{job_id}/events": FOLLOW,
    "POST /jobs/{job_id}/cancel": EDIT,
    "POST /jobs/{job_id}/retry": EDIT,
    "GET /webhooks": LOOK_AFTER,
    "POST /webhooks": RULE,
    "DELETE /webhooks/{webhook_id}": RULE,
    "GET /webhooks/{webhook_id}/deliveries": LOOK_AFTER,
    "POST /webhooks/{webhook_id}/test": RULE,
    "POST /tasks/calculate/add": OWNER,
    "POST /tasks/calculate/divide": OWNER,
    "POST /tasks/workflow/chain": OWNER,
    "POST /tasks/workflow/parallel": OWNER,
    "POST /tasks/process": OWNER,
    "GET /tasks/status/{task_id}": OWNER,
    "GET /tasks/info": OWNER,
    "POST /search": ASK,
    "GET /suggest": READ,
    "POST /query": ASK,
    "POST /query/stream": LISTEN,
    "GET /answers/{answer_id}": READ,
    "GET /answers/{answer_id}/events": FOLLOW,
    "POST /answers/{answer_id}/replay": ASK,
    "POST /answers/{answer_id}/verify": READ,
    "POST /answers/{answer_id}/feedback": SPEAK,
    "DELETE /answers/{answer_id}/feedback": SPEAK,
    "GET /feedback": READ,
    "GET /feedback/export": LOOK_AFTER,
    "POST /rag/query": ASK,
    "POST /rag/query/sync": ASK,
    "GET /result/{task_id}": READ,
    "POST /chat": TALK,
    "POST /chat/stream": TALK_LIVE,
    "POST /session": SPEAK,
    "POST /chat/sessions": SPEAK,
    "GET /chat/sessions": READ,
    "GET /chat/sessions/{session_id}": READ,
    "PATCH /chat/sessions/{session_id}": SPEAK,
    "DELETE /chat/sessions/{session_id}": SPEAK,
    "GET /chat/sessions/{session_id}/history": READ,
    "DELETE /session/{session_id}": SPEAK,
    "GET /workspaces": ANY,
    "POST /workspaces": OWNER,
    "POST /workspaces/bulk": OWNER,
    "GET /workspaces/purges": OWNER,
    "GET /workspaces/{workspace_id}": SEE,
    "PATCH /workspaces/{workspace_id}": CHANGE,
    "DELETE /workspaces/{workspace_id}": REMOVE,
    "POST /workspaces/{workspace_id}/archive": PUT_AWAY,
    "POST /workspaces/{workspace_id}/restore": PUT_AWAY,
    "GET /policy": READ,
    "PUT /policy": RULE,
    "GET /usage": LOOK_AFTER,
    "GET /quotas": READ,
    "PUT /quotas": GRANT,
    "GET /collections/{name}/quota": READ,
    "PUT /collections/{name}/quota": RULE,
    "GET /keys": LOOK_AFTER,
    "POST /keys": RULE,
    "GET /keys/{key_id}": LOOK_AFTER,
    "DELETE /keys/{key_id}": LOOK_AFTER,
    "POST /keys/{key_id}/rotate": LOOK_AFTER,
    "GET /audit": LOOK_AFTER,
    "GET /chat-logs": LOOK_AFTER,
    "GET /chat-logs/{answer_id}": LOOK_AFTER,
    "GET /exports": LOOK_AFTER,
    "POST /exports": LOOK_AFTER,
    "GET /exports/{export_id}": LOOK_AFTER,
    "DELETE /exports/{export_id}": LOOK_AFTER,
    "GET /exports/{export_id}/download": LOOK_AFTER,
    "POST /exports/{export_id}/retry": LOOK_AFTER,
    "GET /evals": READ,
    "POST /evals": EDIT,
    "GET /evals/diff": READ,
    "GET /evals/trend": READ,
    "GET /evals/guard": READ,
    "PUT /evals/guard": RULE,
    "DELETE /evals/guard": RULE,
    "GET /evals/{eval_id}": READ,
    "DELETE /evals/{eval_id}": RULE,
    "GET /evals/{eval_id}/questions": READ,
    "POST /auth/login": OPEN,
    "POST /auth/logout": ANY,
    "GET /auth/csrf": ANY,
    "GET /auth/oidc/login": OPEN,
    "GET /auth/oidc/callback": OPEN,
    "GET /v1/models": READ,
    "GET /v1/models/{model_id:path}": READ,
    "POST /v1/chat/completions": ASK,
    "POST /v1/embeddings": ASK,
}
