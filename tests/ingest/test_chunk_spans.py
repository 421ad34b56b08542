"""Chunks: exact spans inside of one section, even in size, never over the window."""

import re
import time
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from citewell.domain import Chunk, Chunking, ParsedDocument
from citewell.ingest.chunk import CONTEXT_TOKENS, WordCosts, chunk
from citewell.ingest.load import load


def count_words(texts: Sequence[str]) -> list[int]:
    """Count as a word tokenizer does: words, marks and each Han character."""
    return [len(re.findall(r"[\u2e80-\u9fff]|\w+|[^\w\s]", text)) for text in texts]


def count_letters(texts: Sequence[str]) -> list[int]:
    """Count by length, so that the whole is more than the sum of its words."""
    return [(len(text) + 2) // 3 for text in texts]


def cut(parsed: ParsedDocument, size: int = 40, overlap: int = 0, window: int = 100) -> list[Chunk]:
    return chunk(parsed, Chunking(size, overlap, window), WordCosts(count_words))


def check(
    parsed: ParsedDocument, chunks: list[Chunk], count=count_words, window: int = 100
) -> None:
    for number, made in enumerate(chunks):
        assert made.ordinal == number
        assert made.text == parsed.text[made.start : made.end]
        assert made.text == made.text.strip() != ""
        section = parsed.sections[made.section or 0]
        assert section.start <= made.start < made.end <= section.end
        assert made.tokens == count([made.text])[0]
        assert made.tokens + count([made.context])[0] + 2 <= window or len(made.text) == 1


def markdown(text: str) -> ParsedDocument:
    return load(text.encode(), "doc.md")


PROSE = "The tower was built in 1887. It is made of iron, and it stands in Paris. " * 20


def test_a_short_text_is_one_chunk() -> None:
    (made,) = cut(markdown("Hello there."))
    assert (made.text, made.start, made.end, made.page) == ("Hello there.", 0, 12, None)
    assert made.context == "doc"


def test_chunks_end_with_sentences_and_are_even() -> None:
    parsed = markdown(PROSE)
    chunks = cut(parsed)
    check(parsed, chunks)
    assert all(made.text.endswith(".") for made in chunks)
    assert min(made.tokens for made in chunks) > 15
    assert "".join(made.text for made in chunks).replace(" ", "") == PROSE.replace(" ", "")


def test_paragraphs_are_kept_whole_and_small_ones_merged() -> None:
    paragraphs = [f"Paragraph {number} has just a few words in it." for number in range(12)]
    chunks = cut(markdown("\n\n".join(paragraphs)))
    assert all(made.text.startswith("Paragraph") and made.text.endswith("it.") for made in chunks)
    assert len(chunks) == 3


def test_no_chunk_crosses_a_section_and_headings_are_not_text() -> None:
    parsed = markdown("# 1 One\n\nAlpha.\n\n## 1.1 Two\n\nBeta.\n\n# 2 Three\n\nGamma.")
    chunks = cut(parsed)
    assert [made.text for made in chunks] == ["Alpha.", "Beta.", "Gamma."]
    assert chunks[1].context == "One \u2014 Two"


def test_a_document_of_headings_only_is_still_found() -> None:
    assert [made.text for made in cut(markdown("# One\n\n## Two"))] == ["# One", "## Two"]


def test_a_long_context_is_cut_to_its_share() -> None:
    parsed = markdown(f"# {'long title ' * 60}\n\n## {'sub title ' * 60}\n\n{PROSE}")
    chunks = cut(parsed)
    check(parsed, chunks)
    assert all(count_words([made.context])[0] <= CONTEXT_TOKENS for made in chunks)
    assert "sub title" in chunks[0].context


def test_overlap_repeats_the_end_of_the_chunk_before() -> None:
    parsed = markdown(PROSE)
    chunks = cut(parsed, overlap=12)
    check(parsed, chunks)
    assert all(
        right.start < left.end and left.start < right.start for left, right in pairwise(chunks)
    )
    assert all(count_words([parsed.text[r.start : ll.end]])[0] <= 12 for ll, r in pairwise(chunks))


def test_scripts_without_spaces() -> None:
    parsed = load(("我们今天去公园散步，天气很好。" * 40).encode(), "a.txt")
    chunks = cut(parsed)
    check(parsed, chunks)
    assert sum(made.text.endswith("。") for made in chunks) >= len(chunks) - 1
    thai = load(("สวัสดีชาวโลก" * 500).encode(), "a.txt")
    assert all(len(made.text) < 1000 for made in cut(thai))


def test_pages() -> None:
    text = f"{PROSE}\n\n{PROSE}"
    parsed = load(text.encode(), "a.txt")
    paged = ParsedDocument(
        parsed.text, "T", parsed.sections, (0, 0, len(PROSE) + 1), {}, parsed.report
    )
    pages = [made.page for made in cut(paged)]
    assert pages[0] == 2
    assert pages[-1] == 3
    assert pages == sorted(pages, key=lambda page: page or 0)


def test_five_megabytes_on_one_line_take_seconds() -> None:
    parsed = load(b"some words on an endless line " * 170_000, "a.txt")
    started = time.perf_counter()
    costs = WordCosts(lambda texts: [len(text.split()) for text in texts])
    chunks = chunk(parsed, Chunking(200, 0, 256), costs)
    assert time.perf_counter() - started < 10
    assert len(chunks) > 4000


BLOCKS = st.lists(
    st.one_of(
        st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=300),
        st.sampled_from(
            ["# 1 One", "## 1.1 Two", "### Deep", "Setext\n===", "- item", "```\n# c\n```"]
        ),
        st.sampled_from(["word. ", "長い文。", "e.g. this", "x" * 200, "a\u3000b", "\u00a0"]).map(
            lambda part: part * 30
        ),
    ),
    max_size=12,
)


@settings(max_examples=120, deadline=None)
@given(
    BLOCKS, st.integers(8, 60), st.integers(0, 20), st.sampled_from([count_words, count_letters])
)
def test_every_document_holds_the_rules(blocks, size, overlap, count) -> None:
    source = "start\n\n" + "\n\n".join(blocks)
    parsed = markdown(source)
    edges = [(section.start, section.body_start, section.end) for section in parsed.sections]
    assert edges[0][0] == 0
    assert edges[-1][2] == len(parsed.text)
    assert all(start <= body <= end for start, body, end in edges)
    assert all(left[2] == right[0] for left, right in pairwise(edges))
    chunks = chunk(parsed, Chunking(size, overlap, 100), WordCosts(count))
    check(parsed, chunks, count)
    assert all(made.tokens <= size or len(made.text) == 1 for made in chunks)
    covered = {place for made in chunks for place in range(made.start, made.end)}
    bodies = {place for _, body, end in edges for place in range(body, end)}
    assert all(parsed.text[place].isspace() for place in bodies - covered)
