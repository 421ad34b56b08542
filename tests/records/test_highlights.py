"""Highlights are exact places in any text, and the words that the lexical leg matches."""

import random
import re
import sys
import unicodedata
from itertools import pairwise

import pytest
from sqlalchemy import text

from citewell.records.highlights import MOST_HIGHLIGHTS, _aligned, find_highlights
from citewell.records.session import Database
from citewell.records.words import searchable
from records.rows import A

TEXTS = [
    "Two clocks; one clock’s “clock” (CLOCKING).",
    "ﬁnding the ﬁnder: we ﬁnd a ﬁne ﬁle",
    "Cafe\u0301 au lait, café, CAFÉS and cafe",
    "e-mail long-case clock/clocks http://clock.example/clock?find=1 clock@example.org",
    "한국어 \u1112\u1161\u11ab\u1100\u116e\u11a8 시계 clock",
    "ｃｌｏｃｋ Ⅷ ½ clock™ ㎏ clock² ſind",
    "😀clock😀 𝔠𝔩𝔬𝔠𝔨 👨‍👩‍👧 clock\u200bclock clock\u00adclock",
    "<b>clock</b> &amp; <script>find</script> \x01clock\x02",
    "ساعة clock \u202eclock\u202c שעון",
    "\ue000clock\ue001 clock \ufdfa",
    "",
    "clock " * 300,
]
STEMS = ["clock", "find", "café", "cafe", "long-cas", "case", "it's", "back\\slash", "시계"]


async def stems_of(database: Database, word: str) -> list[str]:
    async with database.transaction(A) as connection:
        found = await connection.scalar(
            text("SELECT tsvector_to_array(to_tsvector('english', :word))"),
            {"word": searchable(word)},
        )
    return list(found or [])


async def test_highlights_are_words_with_the_questions_stems(database: Database) -> None:
    async with database.transaction(A) as connection:
        found = await find_highlights(connection, TEXTS, STEMS)
    shown = [
        [given[start:end] for start, end in spans]
        for given, spans in zip(TEXTS, found, strict=True)
    ]
    assert shown[0] == ["clocks", "clock", "clock", "CLOCKING"]
    assert shown[1] == ["ﬁnding", "ﬁnd"]
    assert shown[2] == ["Cafe\u0301", "café", "CAFÉS", "cafe"]
    assert shown[4][-1] == "clock"
    assert "시계" in shown[4]
    assert shown[5] == ["ｃｌｏｃｋ"]
    assert shown[6][0] == "clock"
    assert "𝔠𝔩𝔬𝔠𝔨" in shown[6]
    assert shown[7][0] == "clock"
    assert shown[8] == ["clock", "clock"]
    assert shown[9][:2] == ["clock", "clock"]
    assert shown[10] == []
    assert len(shown[11]) == MOST_HIGHLIGHTS
    for words in shown:
        for word in words:
            assert set(await stems_of(database, word)) & set(STEMS), word


async def test_spans_are_in_order_and_apart(database: Database) -> None:
    drawn = random.Random(4)
    pieces = ["clock", "clocks", "ﬁnd", "é", "e\u0301", " ", "-", "’", "\u0301", "😀",
              "ᄒ", "ᅡ", "ᆫ", "ﾞ", "ｶ", "<", ">", "&", "/", ".", "\n", "1", "½", "\u200d", "ا",
              "\u064b", "क", "ि"]  # fmt: skip
    texts = ["".join(drawn.choices(pieces, k=drawn.randint(0, 60))) for _ in range(300)]
    async with database.transaction(A) as connection:
        found = await find_highlights(connection, texts, STEMS)
    assert sum(map(len, found)) > 100
    for given, spans in zip(texts, found, strict=True):
        places = [place for span in spans for place in span]
        assert places == sorted(places)
        assert all(start < end <= len(given) for start, end in spans)
        assert all(first[1] < second[0] for first, second in pairwise(spans))
        # What is plainly a word of the question is found where it stands.
        for plain in re.finditer(r"(?<![^ \n])clocks?(?![^ \n])", given):
            assert plain.span() in spans or len(spans) == MOST_HIGHLIGHTS


async def test_no_stem_and_no_text_is_no_highlight(database: Database) -> None:
    async with database.transaction(A) as connection:
        assert await find_highlights(connection, ["clock"], []) == [[]]
        assert await find_highlights(connection, [], ["clock"]) == []


def test_a_text_in_parts_is_read_as_the_whole_is() -> None:
    chars = [chr(n) for n in range(1, sys.maxunicode + 1) if not 0xD800 <= n < 0xE000]
    drawn = random.Random(8)
    marks = [c for c in chars if unicodedata.combining(c) or "\u1100" <= c < "\u1200"]
    for first in range(0, len(chars), 500):
        part = "".join(chars[first : first + 500])
        mixed = "".join(c + drawn.choice(["", "", drawn.choice(marks), "a"]) for c in part)
        for given in (part, mixed):
            read, places = _aligned(given)
            assert read == searchable(given)
            assert len(places) == len(read)
    for _ in range(2_000):
        given = "".join(drawn.choices(chars, k=20)) + "".join(drawn.choices(marks, k=5))
        assert _aligned(given)[0] == searchable(given)


@pytest.mark.parametrize(("given", "word", "place"), [
    ("xﬁy", "fi", (1, 2)), ("e\u0301a", "é", (0, 2)), ("½", "1 2", (0, 1)),
])  # fmt: skip
def test_a_place_covers_all_that_a_character_is_from(
    given: str, word: str, place: tuple[int, int]
) -> None:
    read, places = _aligned(given)
    at = read.replace("⁄", " ").index(word)
    assert {places[n] for n in range(at, at + len(word))} == {place}
