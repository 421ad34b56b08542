"""The question's words in what was found: which stems a chunk holds, and where they stand."""

import unicodedata
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import ChunkId, WorkspaceId
from citewell.records.statements import text
from citewell.records.words import searchable

MOST_HIGHLIGHTS = 100
"""Spans of one text; a reader needs no more, and a word may stand in it at every place."""
BEGIN, END = "\ue000", "\ue001"
"""Marks around a word. ``searchable`` leaves no such character in a text."""
Span = tuple[int, int]


class _JoinsBefore(dict[str, bool]):
    """Says of a character whether normalising may join it with the one before it."""

    def __missing__(self, char: str) -> bool:
        first = unicodedata.normalize("NFKD", char)[0]
        vowel_or_final = "\u1160" <= first <= "\u11ff"  # of a Hangul syllable
        joins = vowel_or_final or unicodedata.category(first)[0] == "M"
        self[char] = joins
        return joins


_joins_before = _JoinsBefore()


async def find_stems(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    chunk_ids: Sequence[ChunkId],
    stems: Sequence[str],
) -> dict[ChunkId, list[str]]:
    """Return those of the stems that each chunk is searched by, its title and section included."""
    rows = await connection.execute(
        text(
            "SELECT t.chunk_id, array_agg(s.stem ORDER BY s.stem) FROM chunk_terms t "
            "CROSS JOIN unnest(CAST(:stems AS text[])) AS s (stem) "
            "WHERE t.workspace_id = :workspace AND t.chunk_id = ANY(CAST(:ids AS uuid[])) "
            "AND citewell_term_key(t.collection_id, s.stem) = ANY(t.keys) GROUP BY t.chunk_id"
        ),
        {"workspace": workspace_id, "ids": list(chunk_ids), "stems": list(stems)},
    )
    return {ChunkId(row[0]): row[1] for row in rows}


async def find_highlights(
    connection: AsyncConnection, texts: Sequence[str], stems: Sequence[str]
) -> list[list[Span]]:
    """Return where words with these stems stand in each text: ``text[start:end]`` is the word.

    Holds:   the words are those that PostgreSQL's parser finds for the lexical leg; spans are in
             order, apart from one another, and at most ``MOST_HIGHLIGHTS``.
    """
    if not stems or not texts:
        return [[] for _ in texts]
    parts = [_aligned(each) for each in texts]
    rows = await connection.scalars(
        text(
            "SELECT ts_headline('english', body, CAST(:stems AS tsquery), :how) "
            "FROM unnest(CAST(:bodies AS text[])) WITH ORDINALITY AS t (body, place) ORDER BY place"
        ),
        {
            "stems": " | ".join(_quoted(stem) for stem in stems),
            "how": f"HighlightAll=true, StartSel={BEGIN}, StopSel={END}",
            "bodies": [body for body, _ in parts],
        },
    )
    return [
        _spans(body, marked, places) for (body, places), marked in zip(parts, rows, strict=True)
    ]


def _aligned(text: str) -> tuple[str, Sequence[Span]]:
    """Return a text as the parser reads it, and for each character of that the span it is from.

    What normalising may join is kept together: a letter with its accents, a syllable.
    """
    if text.isascii():
        return text, [(place, place + 1) for place in range(len(text))]
    starts = [n for n, char in enumerate(text) if n == 0 or not _joins_before[char]]
    parts: list[str] = []
    places: list[Span] = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        part = searchable(text[start:end])
        parts.append(part)
        places += [(start, end)] * len(part)
    return "".join(parts), places


def _spans(body: str, marked: str, places: Sequence[Span]) -> list[Span]:
    """Read the marks of a text into spans of the original one."""
    if marked.replace(BEGIN, "").replace(END, "") != body:
        return []  # nothing is better than a wrong place
    spans: list[Span] = []
    lead, *pieces = marked.split(BEGIN)
    at = len(lead)
    for piece in pieces:
        word, _, rest = piece.partition(END)
        start, end = places[at][0], places[at + len(word) - 1][1]
        at += len(word) + len(rest)
        if spans and start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((start, end))
    return spans[:MOST_HIGHLIGHTS]


def _quoted(stem: str) -> str:
    """Write a stem as an operand of a tsquery."""
    return "'" + stem.replace("\\", "\\\\").replace("'", "''") + "'"
