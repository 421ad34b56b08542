"""Question sets: read from JSON lines or from a BEIR folder, checked line by line."""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from citewell.domain import Json
from citewell.errors import InputError

MOST_QUESTIONS = 5_000
MOST_PLACES = 200
"""Expected places, or phrases, of one question."""
MOST_CHARACTERS = 20_000
PLACE_FIELDS = ("document", "section", "page", "span", "quote")
FIELDS = {"id", "question", "answerable", "expected", "phrases", *PLACE_FIELDS}
IGNORED = {"demo", "comment", "split", "answer", "rating"}
"""Fields for people and other programs."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer is expected: a document, or a part of it that is named more closely.

    ``span`` is ``[start, end)`` in the canonical text; ``quote`` are words that stand there.
    """

    document: str
    section: str | None = None
    page: int | None = None
    span: tuple[int, int] | None = None
    quote: str | None = None
    grade: int = 1

    @property
    def is_document(self) -> bool:
        """Whether the whole document is meant."""
        return self.section is None and self.page is None and not self.has_words

    @property
    def has_words(self) -> bool:
        """Whether the very words are known."""
        return self.span is not None or self.quote is not None


@dataclass(frozen=True, slots=True)
class EvalQuestion:
    """A question with what is expected of its answer; without an answer, to be refused.

    ``phrases`` are strings of which a right answer holds at least one.
    """

    id: str
    text: str
    answerable: bool = True
    places: tuple[Place, ...] = ()
    phrases: tuple[str, ...] = ()

    def to_json(self) -> Json:
        """Return the question as a line of a dataset, without what is empty."""
        line: Json = {"id": self.id, "question": self.text, "answerable": self.answerable}
        if self.places:
            line["expected"] = [_place_json(place) for place in self.places]
        if self.phrases:
            line["phrases"] = list(self.phrases)
        return line


def hash_questions(questions: Iterable[EvalQuestion]) -> str:
    """Return the sha256 of what a dataset says, whatever its form and the order of its lines."""
    lines = sorted(json.dumps(each.to_json(), sort_keys=True) for each in questions)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_dataset(path: Path) -> list[EvalQuestion]:
    """Read a file of JSON lines, or a BEIR folder.

    Raises:  InputError – it is neither, or a line is not right; the message has its number.
    """
    try:
        if path.is_dir():
            return _read_beir(path)
        with path.open(encoding="utf-8-sig") as file:
            return parse_questions(_objects(file), "Line")
    except OSError as error:
        raise InputError(
            f"The dataset cannot be read: {error.strerror}. Name a .jsonl file or a BEIR folder."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError("The dataset is not in UTF-8. Save it as UTF-8.") from error


def parse_questions(
    items: Iterable[tuple[int, object]], noun: str = "Question"
) -> list[EvalQuestion]:
    """Check numbered objects and return the questions.

    Raises:  InputError – one is not right, or there are none, or too many.
    """
    found: list[EvalQuestion] = []
    places: dict[str, int] = {}
    for number, item in items:
        try:
            question = _question(item, number)
        except ValueError as error:
            raise InputError(f"{noun} {number}: {error}. Correct it.") from error
        if question.id in places:
            raise InputError(
                f"{noun} {number}: its id is that of {noun.lower()} {places[question.id]} too. "
                "Give each an id of its own."
            )
        places[question.id] = number
        found.append(question)
        if len(found) > MOST_QUESTIONS:
            raise InputError(f"A dataset has at most {MOST_QUESTIONS:,} questions. Split it.")
    if not found:
        raise InputError("The dataset has no question. Add one JSON object a line.")
    return found


def _objects(lines: Iterable[str]) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"Line {number} is no JSON object. A quote or a comma may be missing."
                ) from error


def _question(item: object, number: int) -> EvalQuestion:
    if not isinstance(item, dict):
        raise ValueError("a JSON object is needed")  # noqa: TRY004 - one kind for all that is wrong
    line = cast("Json", item)
    unknown = sorted(line.keys() - FIELDS - IGNORED)
    if unknown:
        raise ValueError(f"there is no field {unknown[0]!r}; known are {', '.join(sorted(FIELDS))}")
    text = _text(line, "question")
    if text is None:
        raise ValueError("question is missing")
    answerable = line.get("answerable", True)
    if not isinstance(answerable, bool):
        raise ValueError("answerable must be true or false")  # noqa: TRY004 - see above
    places = _places(line)
    phrases = tuple(_require_text(each, "phrases") for each in _list(line, "phrases"))
    if answerable and not places and not phrases:
        raise ValueError("an answerable question needs a document, expected places or phrases")
    if not answerable and (places or phrases):
        raise ValueError("a question that is not answerable has no document, places and phrases")
    return EvalQuestion(_text(line, "id") or f"q{number}", text, answerable, places, phrases)


def _places(line: Json) -> tuple[Place, ...]:
    given = [_place(each) for each in _list(line, "expected")]
    if any(line.get(name) is not None for name in PLACE_FIELDS):
        given.append(_place({name: line.get(name) for name in PLACE_FIELDS}))
    if len(given) > MOST_PLACES:
        raise ValueError(f"there are more than {MOST_PLACES} expected places")
    return tuple(given)


def _place(item: object) -> Place:
    if isinstance(item, str):
        item = {"document": item}
    if not isinstance(item, dict):
        raise ValueError("an expected place is a document's name or an object")  # noqa: TRY004
    fields = cast("Json", item)
    unknown = sorted(fields.keys() - {*PLACE_FIELDS, "grade"})
    if unknown:
        raise ValueError(f"an expected place has no field {unknown[0]!r}")
    document = _text(fields, "document")
    if document is None:
        raise ValueError("an expected place needs its document's name")
    page, grade = fields.get("page"), fields.get("grade", 1)
    if page is not None and not _is_count(page, 1):
        raise ValueError("page must be a number from 1")
    if not _is_count(grade, 1) or grade > 100:
        raise ValueError("grade must be a number from 1 to 100")
    section, quote = _text(fields, "section"), _text(fields, "quote")
    return Place(document, section, page, _span(fields.get("span")), quote, grade)


def _span(value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    if isinstance(value, list):
        ends = cast("list[Any]", value)
        if len(ends) == 2 and all(_is_count(each, 0) for each in ends) and ends[0] < ends[1]:
            return ends[0], ends[1]
    raise ValueError("span must be [start, end] with start < end")


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**53


def _list(line: Json, name: str) -> Sequence[object]:
    value = line.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list")  # noqa: TRY004 - see above
    items = cast("list[object]", value)
    if len(items) > MOST_PLACES:
        raise ValueError(f"{name} has more than {MOST_PLACES} entries")
    return items


def _text(fields: Json, name: str) -> str | None:
    value = fields.get(name)
    return None if value is None else _require_text(value, name)


def _require_text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be text, and not empty")
    if len(value) > MOST_CHARACTERS:
        raise ValueError(f"{name} is longer than {MOST_CHARACTERS:,} characters")
    return value


def _place_json(place: Place) -> Json:
    fields: Json = {"document": place.document, "section": place.section, "page": place.page,
                    "span": place.span and list(place.span), "quote": place.quote,
                    "grade": None if place.grade == 1 else place.grade}  # fmt: skip
    return {name: value for name, value in fields.items() if value is not None}


def _read_beir(folder: Path) -> list[EvalQuestion]:
    """Read queries.jsonl and the judgements in qrels: test.tsv if there is one, else all files."""
    files = sorted((folder / "qrels").glob("*.tsv"))
    chosen = [file for file in files if file.stem == "test"] or files
    if not chosen or not (folder / "queries.jsonl").is_file():
        raise InputError("A BEIR folder has queries.jsonl and qrels/test.tsv. Name such a folder.")
    relevant: dict[str, dict[str, int]] = {}
    for file in chosen:
        for query, document, grade in _judgements(file):
            if grade > 0:
                relevant.setdefault(query, {})[document] = grade
    with (folder / "queries.jsonl").open(encoding="utf-8-sig") as lines:
        items: list[tuple[int, object]] = []
        for number, item in _objects(lines):
            query = cast("Json", item) if isinstance(item, dict) else {}
            if query.get("_id") in relevant:
                items.append((number, _beir_line(query, relevant[query["_id"]])))
    return parse_questions(items, "queries.jsonl, line")


def _beir_line(query: Json, documents: dict[str, int]) -> Json:
    expected = [{"document": name, "grade": grade} for name, grade in documents.items()]
    return {"id": query["_id"], "question": query.get("text"), "expected": expected}


def _judgements(file: Path) -> Iterator[tuple[str, str, int]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        for number, row in enumerate(rows, 1):
            if not row or (number == 1 and row[-1] == "score"):
                continue
            try:
                query, document, grade = row
                yield query, document, int(grade)
            except ValueError as error:
                raise InputError(
                    f"{file.name}, line {number}: a query, a document and a grade are needed, "
                    "parted by tabs. Correct it."
                ) from error
