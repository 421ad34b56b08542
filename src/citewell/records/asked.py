"""A question's terms: its words in every language of the scope, its identifiers and its phrases.

A word is one term however many stems the languages make of it: its idf is that of all of them
together, so that a stem which no chunk holds does not count as rare.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from citewell.domain import WorkspaceId
from citewell.domain.languages import DEFAULT_LANGUAGE, SIMPLE
from citewell.records.reading import Reader
from citewell.records.scope import SearchSpace
from citewell.records.statements import text
from citewell.records.words import identifiers, is_code, phrases, searchable

MOST_IDENTIFIERS, MOST_PHRASES = 16, 8


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A stem or identifier: its place in the vectors, its key in each collection, its frequency."""

    text: str
    position: int
    keys: tuple[int, ...]
    frequency: int


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the question with its stems; ``name`` is the english one."""

    name: str
    lexemes: tuple[Lexeme, ...]
    idf: float

    @property
    def frequency(self) -> int:
        """How many chunks hold it, at most."""
        return sum(lexeme.frequency for lexeme in self.lexemes)


@dataclass(frozen=True, slots=True)
class Code:
    """An identifier that names one thing, and the words that it is made of."""

    lexeme: Lexeme
    idf: float
    pieces: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question asks for.

    ``codes`` are no ``words``. ``patterns`` are those of its phrases, and ``held`` the keys that a
    chunk with all phrases has: one set for each collection and language, none where the phrases
    are made of words that are not indexed.
    """

    words: tuple[Word, ...]
    codes: tuple[Code, ...]
    patterns: tuple[str, ...]
    held: tuple[frozenset[int], ...]

    @property
    def term_idf(self) -> dict[str, float]:
        """The idf of each word, and of those that identifiers are made of, by its english stem."""
        idf = {word.name: word.idf for word in self.words}
        for code in self.codes:
            for piece in code.pieces:
                idf.setdefault(piece.name, piece.idf)
            if not code.pieces:
                idf[code.lexeme.text] = code.idf
        return idf


READ = """
SELECT w.lexeme, citewell_term_position(w.lexeme), w.places, array_agg(k.key ORDER BY c.number),
    sum(coalesce((SELECT chunk_frequency FROM lexemes l WHERE l.workspace_id = :workspace
        AND l.collection_id = c.id AND l.key = k.key), 0))
FROM ({words}) w
CROSS JOIN unnest(CAST(:collections AS uuid[])) WITH ORDINALITY AS c (id, number)
CROSS JOIN LATERAL (SELECT citewell_term_key(c.id, w.lexeme) AS key OFFSET 0) k
GROUP BY w.lexeme, w.places
"""
IN_ENGLISH = READ.format(
    words="""
    SELECT lexeme, NULL AS places
    FROM unnest(tsvector_to_array(to_tsvector('english', :question))) AS e (lexeme)"""
)
PLACED = """
    SELECT lexeme, array_agg(place) AS places FROM (
        SELECT w.lexeme, (l.number << 40) + (t.number << 20) + p AS place
        FROM unnest(CAST(:texts AS text[])) WITH ORDINALITY AS t (words, number)
        CROSS JOIN unnest(CAST(:languages AS text[])) WITH ORDINALITY AS l (language, number)
        CROSS JOIN LATERAL unnest(citewell_terms(l.language, t.words, '')) AS w (lexeme, places)
        CROSS JOIN LATERAL unnest(w.places) AS p{more}
    ) AS placed GROUP BY lexeme"""
NAMES = """
        UNION ALL SELECT w.lexeme, (t.number << 20) + p
        FROM unnest(CAST(:texts AS text[])) WITH ORDINALITY AS t (words, number)
        CROSS JOIN LATERAL unnest(to_tsvector('english', t.words)) AS w (lexeme, places)
        CROSS JOIN LATERAL unnest(w.places) AS p"""
EXACT = """
        UNION ALL SELECT lexeme, 0 FROM unnest(CAST(:identifiers AS text[])) AS i (lexeme)"""

Slot = tuple[int, int]
"""A word's place: which of the texts, and where in it."""


async def read_asked(
    connection: Reader, workspace_id: WorkspaceId, question: str, space: SearchSpace
) -> Asked:
    """Read a question's terms and their statistics in one statement.

    Cost:    as many analyses of the question as the scope has languages; one in most cases.
    """
    exact = list(identifiers(question))[:MOST_IDENTIFIERS]
    codes = [each for each in exact if is_code(each)]
    quoted = phrases(question)[:MOST_PHRASES]
    texts = [_without(question, codes), *codes, *(phrase.text for phrase in quoted)]
    named = space.languages != (DEFAULT_LANGUAGE,) or not question.isascii()
    if not (named or exact or quoted):
        return await _read_english(connection, workspace_id, question, space)
    rows = await connection.execute(
        text(
            READ.format(
                words=PLACED.format(more=(NAMES if named else "") + (EXACT if exact else ""))
            )
        ),
        {
            "workspace": workspace_id,
            "texts": [searchable(each) for each in texts],
            "languages": list(space.languages),
            "collections": space.collection_ids,
            "identifiers": exact,
        },
    )
    lexemes: dict[str, Lexeme] = {}
    slots: defaultdict[Slot, dict[int, str]] = defaultdict(dict)
    for lexeme, position, places, keys, frequency in rows:
        lexemes[lexeme] = Lexeme(lexeme, position, tuple(keys), int(frequency))
        for place in places:
            if place:
                slots[(place >> 20) & 0xFFFFF, place & 0xFFFFF][place >> 40] = lexeme
    _drop_function_words(slots, space.languages)
    parts = [
        _words({slot: own for slot, own in slots.items() if slot[0] == number}, lexemes, space)
        for number in range(1, len(texts) + 1)
    ]
    others = [lexemes[each] for each in exact if each not in codes]
    return Asked(
        (*parts[0], *_missing(others, parts[0], space)),
        tuple(_code(lexemes[code], parts[number], space) for number, code in enumerate(codes, 1)),
        tuple(phrase.pattern for phrase in quoted),
        _held(slots, lexemes, len(codes) + 2, space),
    )


async def _read_english(
    connection: Reader, workspace_id: WorkspaceId, question: str, space: SearchSpace
) -> Asked:
    """Read the plain words of a question where all chunks are english: each stem is a word."""
    rows = await connection.execute(
        text(IN_ENGLISH),
        {
            "workspace": workspace_id,
            "question": searchable(question),
            "collections": space.collection_ids,
        },
    )
    lexemes = [Lexeme(row[0], row[1], tuple(row[3]), int(row[4])) for row in rows]
    return Asked(tuple(_word(each.text, [each], space) for each in lexemes), (), (), ())


def _without(question: str, codes: Sequence[str]) -> str:
    """Return the question without its codes."""
    if not codes:
        return question
    rest = question
    for code in sorted(codes, key=len, reverse=True):
        written = re.escape(code).replace(r"\-", "[-\u2010\u2011\u2012\u2013\u2212]")
        rest = re.sub(
            rf"(?<!\w){written.replace('§', '§+ ?')}(?!\w)", " ", rest, flags=re.IGNORECASE
        )
    return rest


def _drop_function_words(slots: dict[Slot, dict[int, str]], languages: Sequence[str]) -> None:
    """Drop for every language what the question's own one drops: that which drops most.

    English "the" is rare among German chunks, and would count as the word to look for.
    """
    if len(languages) == 1:
        return
    asked = {slot: own for slot, own in slots.items() if slot[0] == 1 and any(own)}
    dropped = {
        number: [slot for slot, own in asked.items() if number not in own]
        for number, language in enumerate(languages, 1)
        if language != SIMPLE
    }
    ranked = sorted(dropped.values(), key=len, reverse=True)
    if not ranked or (len(ranked) > 1 and len(ranked[0]) == len(ranked[1])):
        return
    for slot in ranked[0]:
        del slots[slot]


def _words(
    slots: Mapping[Slot, Mapping[int, str]], lexemes: Mapping[str, Lexeme], space: SearchSpace
) -> list[Word]:
    """Join the stems that stand at one place into words; those that share a stem are one."""
    groups: list[tuple[set[str], str]] = []
    for _, own in sorted(slots.items()):
        stems = {stem for language, stem in own.items() if language}
        if not stems:
            continue
        name = own.get(0) or own[min(number for number in own if number)]
        for group in [group for group in groups if group[0] & stems]:
            groups.remove(group)
            stems |= group[0]
            name = group[1]
        groups.append((stems, name))
    return [_word(name, [lexemes[stem] for stem in sorted(stems)], space) for stems, name in groups]


def _word(name: str, lexemes: Sequence[Lexeme], space: SearchSpace) -> Word:
    frequency = min(sum(lexeme.frequency for lexeme in lexemes), space.term_base)
    return Word(name, tuple(lexemes), idf_of(frequency, space.term_base))


def _code(lexeme: Lexeme, pieces: Iterable[Word], space: SearchSpace) -> Code:
    others = tuple(piece for piece in pieces if lexeme not in piece.lexemes)
    return Code(lexeme, idf_of(lexeme.frequency, space.term_base), others)


def _missing(exact: Sequence[Lexeme], words: Sequence[Word], space: SearchSpace) -> list[Word]:
    known = {lexeme for word in words for lexeme in word.lexemes}
    return [_word(each.text, [each], space) for each in exact if each not in known]


def _held(
    slots: Mapping[Slot, Mapping[int, str]],
    lexemes: Mapping[str, Lexeme],
    first: int,
    space: SearchSpace,
) -> tuple[frozenset[int], ...]:
    """Return the keys of the texts from ``first`` on, for each collection and language."""
    own = [by_language for slot, by_language in slots.items() if slot[0] >= first]
    found: dict[frozenset[int], None] = {}
    for number in range(1, len(space.languages) + 1):
        stems = [by_language[number] for by_language in own if number in by_language]
        for place in range(len(space.collection_ids)):
            if stems:
                found[frozenset(lexemes[stem].keys[place] for stem in stems)] = None
    return tuple(found)


def idf_of(frequency: int, chunk_count: int) -> float:
    """Return how much a term tells that so many of the chunks hold."""
    missing = max(chunk_count - frequency, 0)
    return math.log(1 + (missing + 0.5) / (frequency + 0.5))
