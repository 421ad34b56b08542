"""Datasets: what is read, and how a wrong line is told by its number."""

import json
from pathlib import Path

import pytest

from citewell.errors import InputError
from citewell.evals.datasets import (
    MOST_QUESTIONS,
    Place,
    hash_questions,
    parse_questions,
    read_dataset,
)

EXAMPLES = Path(__file__).parents[2] / "examples" / "questions.jsonl"


def write(folder: Path, *lines: object) -> Path:
    path = folder / "set.jsonl"
    written = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(written), encoding="utf-8")
    return path


def test_the_examples_are_a_dataset() -> None:
    questions = read_dataset(EXAMPLES)
    assert len(questions) == 47
    assert sum(each.answerable for each in questions) == 35
    first = questions[0]
    assert (first.id, first.phrases) == ("q01", ("1656", "Christiaan Huygens"))
    assert first.places == (Place("book.html", section="4.2"),)
    assert next(each for each in questions if each.id == "q16").places[0].page == 2


def test_all_kinds_of_expectation_are_read_and_written_alike(tmp_path: Path) -> None:
    lines = [
        {
            "question": "a?",
            "expected": ["a.txt", {"document": "b.txt", "span": [3, 9], "grade": 2}],
        },
        {"id": "own", "question": "b?", "document": "c.txt", "quote": "some words", "comment": "x"},
        {"question": "c?", "answerable": False},
        {"question": "d?", "phrases": ["yes"]},
    ]
    read = read_dataset(write(tmp_path, lines[0], "", *lines[1:]))
    assert [each.id for each in read] == ["q1", "own", "q4", "q5"]
    assert read[0].places == (Place("a.txt"), Place("b.txt", span=(3, 9), grade=2))
    assert read[1].places == (Place("c.txt", quote="some words"),)
    again = parse_questions(enumerate(each.to_json() for each in read))
    assert again == read
    assert hash_questions(again) == hash_questions(reversed(read))
    assert hash_questions(read[1:]) != hash_questions(read)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "Line 2 is no JSON object"),
        ("[" * 100_000, "Line 2 is no JSON object"),
        ([], "a JSON object is needed"),
        ({}, "question is missing"),
        ({"question": "  "}, "question must be text"),
        ({"question": "x" * 20_001, "document": "a"}, "longer than"),
        ({"question": "?"}, "needs a document"),
        ({"question": "?", "answerable": 1}, "true or false"),
        ({"question": "?", "answerable": False, "document": "a"}, "not answerable"),
        ({"question": "?", "answerable": False, "phrases": ["a"]}, "not answerable"),
        ({"question": "?", "documents": ["a"]}, "there is no field 'documents'"),
        ({"question": "?", "section": "1"}, "needs its document"),
        ({"question": "?", "document": "a", "span": [4, 4]}, "start < end"),
        ({"question": "?", "document": "a", "span": [True, 4]}, "start < end"),
        ({"question": "?", "document": "a", "page": 0}, "page must be"),
        ({"question": "?", "expected": [{"document": "a", "grade": 0}]}, "grade must be"),
        ({"question": "?", "expected": [{"document": "a", "words": "b"}]}, "no field 'words'"),
        ({"question": "?", "expected": [3]}, "a document's name or an object"),
        ({"question": "?", "expected": ["a"] * 201}, "more than 200"),
        ({"question": "?", "phrases": "a"}, "must be a list"),
        ({"question": "?", "phrases": [1]}, "must be text"),
        ({"id": "same", "question": "?", "phrases": ["a"]}, "Line 2: its id is that of line 1"),
    ],
)
def test_a_wrong_line_is_told_by_its_number(tmp_path: Path, line: object, said: str) -> None:
    good = {"id": "same", "question": "?", "phrases": ["a"]}
    with pytest.raises(InputError) as refused:
        read_dataset(write(tmp_path, good, line))
    assert "Line 2" in refused.value.message
    assert said in refused.value.message


def test_an_empty_a_missing_and_a_huge_dataset_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no question"):
        read_dataset(write(tmp_path, "", " "))
    with pytest.raises(InputError, match="cannot be read"):
        read_dataset(tmp_path / "absent.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"question": "\xe9"}')
    with pytest.raises(InputError, match="UTF-8"):
        read_dataset(tmp_path / "latin.jsonl")
    with pytest.raises(InputError, match="at most"):
        parse_questions((n, {"question": "?", "phrases": ["a"]}) for n in range(MOST_QUESTIONS + 1))


def test_a_beir_folder_is_read_by_its_test_judgements(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    queries = [{"_id": "1", "text": "a?", "metadata": {}}, {"_id": "2", "text": "b?"},
               {"_id": "3", "text": "never judged?"}]  # fmt: skip
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (tmp_path / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n1\td1\t2\n1\td2\t0\n2\td3\t1\n"
    )
    (tmp_path / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n3\td1\t1\n")
    read = read_dataset(tmp_path)
    assert [(each.id, each.text, each.places) for each in read] == [
        ("1", "a?", (Place("d1", grade=2),)),
        ("2", "b?", (Place("d3"),)),
    ]
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\td1\n")
    with pytest.raises(InputError, match=r"test\.tsv, line 2"):
        read_dataset(tmp_path)
    (tmp_path / "qrels" / "test.tsv").unlink()
    assert [each.id for each in read_dataset(tmp_path)] == ["3"]
    (tmp_path / "qrels" / "train.tsv").unlink()
    with pytest.raises(InputError, match="BEIR folder"):
        read_dataset(tmp_path)
