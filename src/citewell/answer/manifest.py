"""Write down what an answer's retrieval rested on, and compare it with one that is done again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from citewell.answer.path import Question
from citewell.domain import Candidate, Json


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What was searched for, with which numbers, and what came back, best first.

    ``generations`` counts each collection's publications and removals at that moment.
    """

    queries: tuple[str, ...]
    limit: int
    candidates: int
    dense_weight: float
    generations: Mapping[str, int]
    found: Sequence[Candidate]


@dataclass(frozen=True, slots=True)
class Replay:
    """How a retrieval that was done again compares with the first one.

    ``same`` means: the same chunks in the same order with the same scores, to the last bit.
    ``index_changed`` names the collections that changed since.
    """

    same: bool
    index_changed: tuple[str, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    rescored: tuple[str, ...]


def make_manifest(
    question: Question,
    mode: str,
    retrieval: Retrieval,
    evidence: Sequence[Candidate],
    makers: Mapping[str, str | None],
) -> Json:
    """Return the manifest as JSON; ``makers`` names models, prompts and the settings' hash."""
    policy = json.dumps(asdict(question.policy), sort_keys=True)
    scope = asdict(question.scope)
    return {
        "queries": list(retrieval.queries),
        "scope": json.loads(json.dumps(scope, default=str)),
        "limit": retrieval.limit,
        "candidates": retrieval.candidates,
        "dense_weight": retrieval.dense_weight,
        "mode": mode,
        "policy": hashlib.sha256(policy.encode()).hexdigest(),
        **makers,
        "generations": dict(retrieval.generations),
        "retrieved": scores_of(retrieval.found),
        "evidence": [str(each.chunk_id) for each in evidence],
    }


def scores_of(found: Sequence[Candidate]) -> list[Json]:
    """Return each chunk's id and scores, as a manifest holds them."""
    return [
        {"chunk_id": str(each.chunk_id), "score": each.score, "scores": dict(each.scores)}
        for each in found
    ]


def compare(manifest: Json, again: Sequence[Candidate], generations: Mapping[str, int]) -> Replay:
    """Compare a manifest with the same retrieval done now."""
    before = {str(each["chunk_id"]): each for each in manifest["retrieved"]}
    now = {str(each["chunk_id"]): each for each in scores_of(again)}
    then = manifest["generations"]
    return Replay(
        same=list(before.values()) == list(now.values()),
        index_changed=tuple(
            sorted(
                name
                for name in then.keys() | generations.keys()
                if then.get(name) != generations.get(name)
            )
        ),
        missing=tuple(key for key in before if key not in now),
        added=tuple(key for key in now if key not in before),
        rescored=tuple(key for key, each in before.items() if now.get(key, each) != each),
    )
