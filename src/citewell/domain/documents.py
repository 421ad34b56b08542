"""What is read from a file: its text, its structure, and how it is cut."""

from dataclasses import dataclass

from citewell.domain.ids import Json


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and the text below it, up to the next heading: ``text[start:end]``.

    ``body_start`` is where the text below the heading begins. ``number`` is the heading's own
    numbering ("2.3.1"), where it has one; ``path`` holds the titles from the top, itself last.
    """

    ordinal: int
    parent: int | None
    level: int
    number: str | None
    title: str
    anchor: str | None
    path: tuple[str, ...]
    start: int
    body_start: int
    end: int


@dataclass(frozen=True, slots=True)
class ParseReport:
    """What was read from a file, and what was not: the truth report's first half.

    ``pages``, ``tables`` and ``images`` are None where the format does not tell them, ``language``
    where the text is too short to tell.
    """

    media_type: str
    encoding: str | None = None
    pages: int | None = None
    pages_without_text: tuple[int, ...] = ()
    pages_by_ocr: tuple[Json, ...] = ()
    characters: int = 0
    language: str | None = None
    tables: int | None = 0
    images: int | None = 0
    skipped: tuple[Json, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    peak_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A file's canonical text and its structure.

    Holds: sections partition the text from the first heading on; a text before it belongs to a
    section with an empty title; ``page_starts[i]`` is the offset of page i + 1 and is empty for
    formats without pages.
    """

    text: str
    title: str
    sections: tuple[Section, ...]
    page_starts: tuple[int, ...]
    metadata: Json
    report: ParseReport


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of one section, small enough for the embedder: ``text == canonical[start:end]``.

    ``context`` is the document's title and the section's path: embedded and searched with the
    text, never quoted.
    """

    ordinal: int
    start: int
    end: int
    text: str
    context: str
    section: int | None
    page: int | None
    tokens: int


@dataclass(frozen=True, slots=True)
class Chunking:
    """How text is cut: at most ``size_tokens`` a chunk, inside the embedder's window."""

    size_tokens: int
    overlap_tokens: int
    window_tokens: int


@dataclass(frozen=True, slots=True)
class DocumentHead:
    """What is known of a file once it was read: all but its text, sections and chunks."""

    title: str
    page_starts: tuple[int, ...]
    metadata: Json
    report: ParseReport
    section_count: int
    chunk_count: int


@dataclass(frozen=True, slots=True)
class ParsedPart:
    """A part of a file that was read and cut; a small file is one part, ``last`` at once.

    Holds: the texts of all parts, joined, are the canonical text; so for sections and chunks, each
    kind in its order. A part's chunks need not lie in the part's text.
    """

    head: DocumentHead
    text: str
    sections: tuple[Section, ...]
    chunks: tuple[Chunk, ...]
    last: bool
