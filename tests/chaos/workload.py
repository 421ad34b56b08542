"""What is ingested while things are killed: files, new versions, the same again, deletions."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from e2e.processes import EXAMPLES
from ingest.office_files import pdf

EXAMPLE_NAMES = [
    "atomic-clocks.txt", "book.html", "calendars.docx", "leap-seconds.csv", "longitude.pdf",
    "time-zones.md",
]  # fmt: skip
WORDS = [
    "clock", "pendulum", "watch", "sea", "star", "noon", "ship", "wheel", "spring", "tower", "bell",
    "hour", "minute", "second", "sailor", "moon", "tide", "shadow", "dial", "weight", "longitude",
]  # fmt: skip
PDF_PAGES = 3
PDFS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Upload:
    """Files of one request; ``again`` when these very bytes were uploaded before."""

    files: dict[str, bytes]
    again: bool = False


@dataclass(frozen=True, slots=True)
class Deletion:
    """Delete the document of this name."""

    name: str


Step = Upload | Deletion


def sentence(draw: random.Random, subject: str) -> str:
    """Return a sentence that no other one equals."""
    return f"The {subject} tells of the {' '.join(draw.choices(WORDS, k=9))}."


def pdf_file(number: int, version: int = 1) -> bytes:
    """Return a PDF of several pages with numbered headings."""
    draw = random.Random(number * 1000 + version)
    pages = []
    for page in range(1, PDF_PAGES + 1):
        lines = [f"{number}.{page} About the {draw.choice(WORDS)}", ""]
        lines += [sentence(draw, f"report {number}.{page}.{line}") for line in range(24)]
        pages.append(lines)
    return pdf(pages)


def text_file(number: int, paragraphs: int, changed: bool = False) -> bytes:
    """Return a text; each paragraph is about one chunk. A changed one differs here and there."""
    draw = random.Random(number)
    written = [
        " ".join(sentence(draw, f"book {number}, line {line},") for line in range(9))
        for _ in range(paragraphs)
    ]
    if changed:
        written[:: max(2, paragraphs // 8)] = [
            paragraph.replace("tells", "told") for paragraph in written[:: max(2, paragraphs // 8)]
        ]
    return "\n\n".join(written).encode()


def examples() -> dict[str, bytes]:
    """Return the project's example documents."""
    return {name: (EXAMPLES / name).read_bytes() for name in EXAMPLE_NAMES}


def full_workload(pdfs: int = 20, paragraphs: int = 300) -> list[Step]:
    """The examples, so many PDFs and one larger text; then changes, repetitions, deletions."""
    return list(_steps(pdfs, paragraphs, examples()))


def small_workload() -> list[Step]:
    """A little of everything, for faults that are tried one by one."""
    return list(_steps(4, 12, {"leap-seconds.csv": examples()["leap-seconds.csv"]}))


def _steps(pdfs: int, paragraphs: int, first: dict[str, bytes]) -> Iterator[Step]:
    named = {f"report-{number}.pdf": pdf_file(number) for number in range(pdfs)}
    names = list(named)
    yield Upload(first)
    yield Upload({"large.txt": text_file(0, paragraphs)})
    for place in range(0, pdfs, PDFS_AT_ONCE):
        yield Upload({name: named[name] for name in names[place : place + PDFS_AT_ONCE]})
    yield Upload({"broken.pdf": b"%PDF-1.4 nothing"})
    quarter = pdfs // 4
    yield Upload({names[n]: pdf_file(n, version=2) for n in range(quarter)})
    yield Upload({names[n]: named[names[n]] for n in range(quarter, 2 * quarter)}, again=True)
    yield Upload({"large.txt": text_file(0, paragraphs, changed=True)})
    for name in names[2 * quarter : 3 * quarter]:
        yield Deletion(name)
