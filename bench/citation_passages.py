"""Real passages for bench.citations: SQuAD2, SciFact, Anthropic's documents, the examples."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid5

from selectolax.lexbor import LexborHTMLParser

from citewell.domain import Candidate, ChunkId, DocumentId, VersionId
from citewell.domain.sentences import split_sentences

EXAMPLES = Path(__file__).parents[1] / "examples"
MOST_CHARACTERS = 900
SPACE = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


@dataclass(frozen=True)
class Passage:
    """A chunk of a document, with the questions that it answers and claims that were judged."""

    corpus: str
    document: str
    number: int
    title: str
    text: str
    questions: tuple[tuple[str, str], ...] = ()
    supported: tuple[str, ...] = ()
    contradicted: tuple[str, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """Its sentences that end as one and have some words."""
        found = [self.text[start:end] for start, end in split_sentences(self.text)]
        return [each for each in found if each[-1] in ".!" and 6 <= len(each.split()) <= 60]


def as_candidate(passage: Passage) -> Candidate:
    """Return the passage as retrieval would."""
    name = f"{passage.corpus}/{passage.document}"
    start = 10_000 * passage.number
    return Candidate(
        chunk_id=ChunkId(uuid5(SPACE, f"{name}#{passage.number}")),
        document_id=DocumentId(uuid5(SPACE, name)),
        document_name=name,
        document_title=passage.title,
        version_id=VersionId(uuid5(SPACE, f"{name}@1")),
        ordinal=passage.number,
        text=passage.text,
        start=start,
        end=start + len(passage.text),
        page=None,
        section_number=None,
        section_title=None,
        section_path=(),
        anchor=None,
        metadata={},
    )


def cut(text: str) -> Iterator[str]:
    """Yield chunks of whole sentences, as long as the shipped chunker makes them."""
    start = end = 0
    for first, last in split_sentences(text):
        if last - start > MOST_CHARACTERS and end > start:
            yield text[start:end]
            start = first
        end = last
    if end > start:
        yield text[start:end]


def read_lines(path: Path) -> Iterator[dict]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def read_squad(folder: Path) -> Iterator[Passage]:
    questions: dict[str, list[tuple[str, str]]] = {}
    for line in read_lines(folder / "queries.jsonl"):
        if line["metadata"]["answerable"]:
            pair = (line["text"], line["metadata"]["answers"][0])
            questions.setdefault(line["metadata"]["paragraph"], []).append(pair)
    for line in read_lines(folder / "corpus.jsonl"):
        document, _, number = line["_id"].rpartition("__")
        title = line["title"].replace("_", " ")
        yield Passage(
            "squad2", document, int(number), title, line["text"],
            tuple(questions.get(line["_id"], ())),
        )  # fmt: skip


def read_scifact(folder: Path, most: int) -> Iterator[Passage]:
    judged: dict[str, dict[str, list[str]]] = {}
    for line in read_lines(folder / "queries.jsonl"):
        for document, findings in line["metadata"].items():
            label = findings[0]["label"]
            judged.setdefault(document, {}).setdefault(label, []).append(line["text"])
    lines = sorted(read_lines(folder / "corpus.jsonl"), key=lambda line: line["_id"] not in judged)
    for line in lines[:most]:
        own = judged.get(line["_id"], {})
        yield Passage(
            "scifact", line["_id"], 0, line["title"], line["text"], (),
            tuple(own.get("SUPPORT", ())), tuple(own.get("CONTRADICT", ())),
        )  # fmt: skip


def read_anthropic(folder: Path) -> Iterator[Passage]:
    answers: dict[str, list[str]] = {}
    written = {
        line["_id"]: line["metadata"]["correct_answer"]
        for line in read_lines(folder / "queries.jsonl")
    }
    relevant: dict[str, list[str]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, _ = line.split("\t")
        relevant.setdefault(query, []).append(document)
    for query, documents in relevant.items():
        if len(documents) == 1:
            answers.setdefault(documents[0], []).append(written[query])
    for line in read_lines(folder / "corpus.jsonl"):
        text = re.sub(r"\n{2,}", "\n", line["text"]).strip()
        document = line["_id"].partition("#")[0]
        sentences = [
            answer[start:end]
            for answer in answers.get(line["_id"], ())
            for start, end in split_sentences(answer)
        ]
        yield Passage(
            "anthropic-docs", document, hash_number(line["_id"]), line["title"], text, (),
            tuple(sentences),
        )  # fmt: skip


def hash_number(text: str) -> int:
    """Return a small number that is the same in every run."""
    return uuid5(SPACE, text).int % 1000


def read_examples() -> Iterator[Passage]:
    texts = {path.name: path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.[tm][xd]*")}
    texts.pop("README.md", None)
    page = LexborHTMLParser((EXAMPLES / "book.html").read_text(encoding="utf-8"))
    texts["book.html"] = "\n\n".join(
        each.text(separator="").strip() for each in page.css("h1, h2, h3, p, li")
    )
    for name, text in sorted(texts.items()):
        lines = re.sub(r"(?<=[^\n.:|])\n(?=[^\n\-|#])", " ", text.replace("\n  ", " "))
        lines = re.sub(r"[ \t]+", " ", lines)
        for number, chunk in enumerate(cut(lines)):
            yield Passage("examples", name, number, name.rpartition(".")[0], chunk)


def read_all(shared: Path) -> list[Passage]:
    """Return every passage there is; without the shared data, those of the examples."""
    passages = list(read_examples())
    beir = shared / "beir"
    if (beir / "squad2-dev-a").is_dir():
        passages += read_squad(beir / "squad2-dev-a")
    if (beir / "scifact").is_dir():
        passages += read_scifact(beir / "scifact", most=700)
    if (beir / "anthropic-docs").is_dir():
        passages += read_anthropic(beir / "anthropic-docs")
    return passages


def half_of(passage: Passage) -> int:
    """Return which half a document belongs to: 0 to fit on, 1 to report."""
    return hash_number(f"{passage.corpus} {passage.document}") % 2


def neighbours(passage: Passage, passages: Sequence[Passage], count: int) -> list[Passage]:
    """Return other passages, of the same document first: what retrieval would find beside it."""
    same = [each for each in passages if each.document == passage.document and each != passage]
    same.sort(key=lambda each: abs(each.number - passage.number))
    near = same[:count]
    at = passages.index(passage)
    while len(near) < count:
        at = (at + 1) % len(passages)
        if passages[at] not in near and passages[at].document != passage.document:
            near.append(passages[at])
    return near
