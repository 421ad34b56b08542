"""What Citewell needs from technology: each Protocol has at least two real or possible makers."""

from citewell.ports.egress import (
    Egress,
    RemoteReply,
)
from citewell.ports.files import (
    BlobStore,
    Parser,
)
from citewell.ports.identity import (
    Identity,
    IdentityProvider,
    SignInSecrets,
)
from citewell.ports.jobs import (
    Diagnostics,
    Queue,
    TaskState,
    Workflow,
    task_name,
)
from citewell.ports.limits import (
    Limiter,
    Place,
    Room,
    Window,
)
from citewell.ports.models import (
    ChatModel,
    Embedder,
    LanguageModel,
    ModelCall,
    Purpose,
    Reranker,
    Vectors,
    WritingTask,
)
from citewell.ports.retrieval import (
    ChunkIndex,
    IndexReading,
    VectorStore,
)

__all__ = [
    "BlobStore",
    "ChatModel",
    "ChunkIndex",
    "Diagnostics",
    "Egress",
    "Embedder",
    "Identity",
    "IdentityProvider",
    "IndexReading",
    "LanguageModel",
    "Limiter",
    "ModelCall",
    "Parser",
    "Place",
    "Purpose",
    "Queue",
    "RemoteReply",
    "Reranker",
    "Room",
    "SignInSecrets",
    "TaskState",
    "VectorStore",
    "Vectors",
    "Window",
    "Workflow",
    "WritingTask",
    "task_name",
]
