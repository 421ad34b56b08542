"""Write down what an answer's retrieval rested on, and compare it with one that is done again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from citewell.answer.path import QuestionPath
from citewell.answer.search import Search, SearchResult
from citewell.domain import Candidate, CollectionId, DocumentId, Json, Scope, filter_from_json


@dataclass(frozen=True, slots=True)
class Replay:
    """How a retrieval that was done again compares with the first one.

    ``same`` means: the same chunks in the same order with the same scores, to the last bit.
    ``index_changed`` names the collections that changed since, ``makers_changed`` what else did:
    a model, the prompts, the settings. ``missing``, ``added`` and ``rescored`` are chunk ids.
    """

    same: bool
    index_changed: tuple[str, ...]
    makers_changed: tuple[str, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    rescored: tuple[str, ...]


def make_manifest(path: QuestionPath, mode: str, makers: Mapping[str, str | None]) -> Json:
    """Return the manifest as JSON, empty when nothing was searched.

    ``makers`` names the models, and the hashes of the prompts and the settings.
    """
    if path.found is None:
        return {}
    wanted = path.found.wanted
    policy = json.dumps(asdict(path.question.policy), sort_keys=True)
    return {
        "queries": list(wanted.queries),
        "scope": json.loads(json.dumps(asdict(wanted.scope), default=str)),
        "limit": wanted.limit,
        "candidates": wanted.candidates,
        "dense_weight": wanted.dense_weight,
        "collapse_duplicates": wanted.collapse_duplicates,
        "mode": mode,
        "policy": hashlib.sha256(policy.encode()).hexdigest(),
        "makers": dict(makers),
        "generations": dict(path.found.generations),
        "retrieved": scores_of(path.found.candidates),
        "evidence": [str(each.chunk_id) for each in path.evidence],
    }


def read_search(manifest: Json) -> Search:
    """Return the search that a manifest tells of, to be done again."""
    scope = manifest["scope"]
    documents, names = scope["document_ids"], scope["document_names"]
    collection = scope["collection_id"]
    return Search(
        queries=tuple(manifest["queries"]),
        scope=Scope(
            collection_id=None if collection is None else CollectionId(UUID(collection)),
            document_ids=None
            if documents is None
            else tuple(DocumentId(UUID(each)) for each in documents),
            document_names=None if names is None else tuple(names),
            metadata=scope["metadata"],
            where=tuple(filter_from_json(each) for each in scope.get("where", ())),
        ),
        limit=manifest["limit"],
        candidates=manifest["candidates"],
        dense_weight=manifest["dense_weight"],
        # An answer of before this was kept did not collapse them.
        collapse_duplicates=manifest.get("collapse_duplicates", False),
    )


def scores_of(found: Sequence[Candidate]) -> list[Json]:
    """Return each chunk's id and scores, as a manifest holds them."""
    return [
        {"chunk_id": str(each.chunk_id), "score": each.score, "scores": dict(each.scores)}
        for each in found
    ]


def compare(manifest: Json, again: SearchResult, makers: Mapping[str, str | None]) -> Replay:
    """Compare a manifest with the same search done now, by the makers of now."""
    before = {each["chunk_id"]: each for each in manifest["retrieved"]}
    now = {each["chunk_id"]: each for each in scores_of(again.candidates)}
    return Replay(
        same=list(before.values()) == list(now.values()),
        index_changed=_differing(manifest["generations"], again.generations),
        makers_changed=_differing(manifest["makers"], makers),
        missing=tuple(key for key in before if key not in now),
        added=tuple(key for key in now if key not in before),
        rescored=tuple(key for key, each in before.items() if now.get(key, each) != each),
    )


def _differing(then: Mapping[str, object], now: Mapping[str, object]) -> tuple[str, ...]:
    """Return the names whose values differ, or that stand on one side only."""
    return tuple(sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key)))
