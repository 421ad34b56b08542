"""Suggestions as somebody types: titles, headings, repeated phrases, questions that were answered.

Each stands once for every word that it has, by a key that begins with that word: a prefix of any
word is a range of one index. A document's rows go with it or with its version, a question's with
its answer; row-level security hides those that rest on a hidden document.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from citewell.domain import Answer, CollectionId, DocumentId, WorkspaceId
from citewell.records.answer_form import Telling
from citewell.records.session import current_visitor
from citewell.records.statements import text

Kind = Literal["title", "section", "phrase", "question"]
MOST_PHRASES = 12
CANDIDATE_PHRASES = 60
READ_CHARACTERS = 20_000
"""Of a document's text, where its phrases are looked for: some 5 ms."""
LONGEST_WORD = 40
_TOKEN = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]|\n\s*\n")
LONGEST_QUESTION = 200
SHORT_CHARACTERS = 2
"""A prefix shorter than this stands for the beginning of a whole text only, by an index of those:
too many words begin with a letter."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A text that begins as somebody typed, or one of its words does.

    ``document_id`` and ``section`` are known where one document alone has it.
    """

    text: str
    kind: Kind
    document_id: DocumentId | None
    section: str | None


DOCUMENTS = """
WITH gone AS (
    DELETE FROM suggestions WHERE workspace_id = :workspace
    AND document_id = ANY(CAST(:documents AS uuid[]))
), read AS (
    SELECT d.id, d.collection_id, d.name, v.id AS version_id, v.title
    FROM documents d JOIN versions v
        ON v.workspace_id = d.workspace_id AND v.id = d.active_version_id
    WHERE d.workspace_id = :workspace AND d.id = ANY(CAST(:documents AS uuid[]))
), phrases AS MATERIALIZED (
    SELECT * FROM unnest(CAST(:owners AS uuid[]), CAST(:phrases AS text[]),
        CAST(:uses AS integer[]), CAST(:firsts AS text[]), CAST(:lasts AS text[]))
        WITH ORDINALITY AS p (document_id, phrase, uses, first, last, place)
), function_words AS MATERIALIZED (
    SELECT word FROM (SELECT first AS word FROM phrases UNION SELECT last FROM phrases) AS ends
    WHERE '{}' IN (ts_lexize('english_stem', word), ts_lexize('german_stem', word),
        ts_lexize('french_stem', word), ts_lexize('spanish_stem', word))
), named AS (
    SELECT r.id, r.collection_id, 'title' AS kind, left(t.text, 200) AS text, 1 AS uses,
        NULL AS section
    FROM read r CROSS JOIN LATERAL (SELECT r.name UNION
        SELECT r.title WHERE NOT starts_with(r.name, r.title)) AS t (text)
    UNION ALL
    SELECT r.id, r.collection_id, 'section', left(s.title, 200), count(*),
        min(coalesce(s.number, s.title))
    FROM read r JOIN sections s ON s.workspace_id = :workspace AND s.version_id = r.version_id
        AND s.ordinal < 1000
    GROUP BY 1, 2, 4
    UNION ALL
    SELECT id, collection_id, 'phrase', phrase, uses, NULL FROM (
        SELECT r.id, r.collection_id, p.phrase, p.uses,
            row_number() OVER (PARTITION BY r.id ORDER BY p.place) AS place
        FROM read r JOIN phrases p ON p.document_id = r.id
        WHERE p.first NOT IN (SELECT word FROM function_words)
        AND p.last NOT IN (SELECT word FROM function_words)) AS ranked
    WHERE place <= :most
)
INSERT INTO suggestions
    (workspace_id, collection_id, document_id, kind, text, key, place, uses, section)
SELECT :workspace, n.collection_id, n.id, n.kind, n.text, k.key, k.place, n.uses, n.section
FROM named n CROSS JOIN LATERAL citewell_suggestion_keys(n.text) AS k
"""


async def suggest_documents(
    connection: AsyncConnection, workspace_id: WorkspaceId, document_ids: Sequence[DocumentId]
) -> None:
    """Suggest what these documents' active versions hold, in place of what was suggested before."""
    rows = await connection.execute(
        text(
            "SELECT d.id, left(v.text, :characters) AS text FROM documents d JOIN versions v "
            "ON v.workspace_id = d.workspace_id AND v.id = d.active_version_id "
            "WHERE d.workspace_id = :workspace AND d.id = ANY(CAST(:documents AS uuid[])) "
            "AND v.text IS NOT NULL"
        ),
        {
            "workspace": workspace_id,
            "documents": list(document_ids),
            "characters": READ_CHARACTERS,
        },
    )
    found = [(row.id, *each) for row in rows for each in repeated_phrases(row.text)]
    await connection.execute(
        text(DOCUMENTS),
        {
            "workspace": workspace_id,
            "documents": list(document_ids),
            "most": MOST_PHRASES,
            "owners": [each[0] for each in found],
            "phrases": [each[1] for each in found],
            "uses": [each[2] for each in found],
            "firsts": [each[1].lower().split()[0] for each in found],
            "lasts": [each[1].lower().split()[-1] for each in found],
        },
    )


def repeated_phrases(body: str) -> list[tuple[str, int]]:
    """Return the runs of two and three words that a text repeats, and how often, best first.

    Holds:   no punctuation stands inside, and no number and no very short word at an end. Function
             words are not known here; PostgreSQL leaves out what begins or ends with one.
    """
    runs: list[str] = []
    before: list[tuple[str, bool]] = []
    for token in _TOKEN.findall(body):
        if not token[0].isalnum():
            before.clear()
            continue
        ends = _may_end(token)
        if ends and before:
            if before[-1][1]:
                runs.append(f"{before[-1][0]} {token}")
            if len(before) == 2 and before[0][1]:
                runs.append(f"{before[0][0]} {before[1][0]} {token}")
        before = [*before[-1:], (token, ends)]
    folded = [run.lower() for run in runs]
    often = [each for each in Counter(folded).items() if each[1] > 1]
    often.sort(key=lambda each: (-each[1], -len(each[0]), each[0]))
    forms: dict[str, Counter[str]] = {run: Counter() for run, _ in often[:CANDIDATE_PHRASES]}
    for run, form in zip(folded, runs, strict=True):
        if run in forms:
            forms[run][form] += 1
    return [(forms[run].most_common(1)[0][0], count) for run, count in often[:CANDIDATE_PHRASES]]


def _may_end(word: str) -> bool:
    return 3 <= len(word) <= LONGEST_WORD and word[0].isalpha() and not word[-1].isdigit()


QUESTION = """
INSERT INTO suggestions
    (workspace_id, collection_id, answer_id, kind, text, key, place, principal_id, shared)
SELECT :workspace, CAST(:collection AS uuid), :answer, 'question', CAST(:question AS text), key,
    place, CAST(:principal AS uuid), :shared
FROM citewell_suggestion_keys(CAST(:question AS text))
"""


async def suggest_question(
    connection: AsyncConnection, workspace_id: WorkspaceId, answer: Answer, telling: Telling
) -> None:
    """Suggest a question that was answered, to who asked it, and to all where its session is.

    Holds:   a session's history is open to everyone in the workspace; a question outside of any is
             its asker's.
    """
    question = " ".join(answer.question.split())
    if answer.refused or telling.status != "complete" or len(question) > LONGEST_QUESTION:
        return
    scope = answer.manifest.get("scope", {})
    await connection.execute(
        text(QUESTION),
        {
            "workspace": workspace_id,
            "collection": scope.get("collection_id"),
            "answer": answer.answer_id,
            "question": question,
            "principal": current_visitor().principal_id,
            "shared": answer.session_id is not None,
        },
    )


FIND = """
WITH typed AS MATERIALIZED (SELECT citewell_folded(CAST(:typed AS text)) COLLATE "C" AS prefix),
found AS (
    SELECT s.kind, s.text, min(s.place) = 1 AS whole, max(s.uses) AS uses, s.document_id,
        min(s.section) AS section
    FROM suggestions s WHERE s.workspace_id = :workspace
    AND s.key >= (SELECT prefix FROM typed) AND s.key < (SELECT prefix || chr(1114111) FROM typed)
    AND {places} AND (CAST(:collection AS uuid) IS NULL OR s.collection_id = :collection)
    AND (s.shared OR s.principal_id IS NOT DISTINCT FROM CAST(:principal AS uuid))
    AND (SELECT prefix <> '' FROM typed)
    GROUP BY s.kind, s.text, s.document_id, s.answer_id
)
SELECT text, kind, CASE WHEN count(*) = 1 THEN (array_agg(document_id))[1] END AS document_id,
    CASE WHEN count(*) = 1 THEN min(section) END AS section
FROM found GROUP BY kind, text
ORDER BY bool_or(whole) DESC, count(*) DESC, sum(uses) DESC,
    array_position(ARRAY['title', 'section', 'question', 'phrase'], kind), length(text),
    text COLLATE "C" LIMIT :most
"""


async def find_suggestions(
    connection: AsyncConnection,
    workspace_id: WorkspaceId,
    typed: str,
    collection_id: CollectionId | None,
    limit: int,
) -> list[Suggestion]:
    """Return what begins as somebody typed, best first: whole texts, then those with such a word.

    Among each of these, what more documents have, or more questions, comes first. Of texts that
    differ by case alone there is one: a title or a heading rather than a phrase, since it leads
    somewhere.
    """
    letters = sum(char.isalnum() for char in unicodedata.normalize("NFKD", typed))
    places = "s.place = 1" if letters < SHORT_CHARACTERS else "true"
    rows = await connection.execute(
        text(FIND.format(places=places)),
        {
            "workspace": workspace_id,
            "typed": typed,
            "collection": collection_id,
            "principal": current_visitor().principal_id,
            "most": 4 * limit,
        },
    )
    found: dict[str, Suggestion] = {}
    for row in rows:
        same = " ".join(row.text.casefold().split())
        if same not in found or (found[same].kind == "phrase" and row.document_id is not None):
            found[same] = Suggestion(*row)
    return list(found.values())[:limit]
