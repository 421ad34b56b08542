"""How an export's file is written."""

import csv
import io
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from citewell.exports import FORMULA, csv_lines, encode

STARTS = [
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    " =",
    "\u3000+",
    "＝",
    "＋",
    "－",
    "＠",
    "'=",
    "''-",
]


def read_back(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


@pytest.mark.parametrize("start", STARTS)
def test_no_cell_begins_as_a_formula(start: str) -> None:
    ((cell, plain),) = read_back(csv_lines([[f"{start}cmd|' /C calc'!A0", "a=b"]]))
    assert cell == f"'{start}cmd|' /C calc'!A0"
    assert plain == "a=b"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_every_text_comes_back(texts: list[str]) -> None:
    (cells,) = read_back(csv_lines([texts])) or [[""]]
    assert [cell[1:] if FORMULA.match(cell) else cell for cell in cells] == texts
    assert not [cell for cell in cells if cell[:1] and cell[0] in "=+-@\t\r\n＝＋－＠"]


def test_values_have_one_form_in_each_format() -> None:
    moment = datetime(2026, 11, 21, 12, 0, 0, 5, tzinfo=UTC)
    row = {"n": -5, "x": 0.5, "on": True, "none": None, "at": moment, "id": UUID(int=1),
           "list": ["a", {"b": "ü"}]}  # fmt: skip
    (cells,) = read_back(encode([row], list(row), "csv"))
    assert cells == ["-5", "0.5", "true", "", "2026-11-21T12:00:00.000005+00:00",
                     "00000000-0000-0000-0000-000000000001", '["a",{"b":"ü"}]']  # fmt: skip
    (line,) = encode([row], list(row), "jsonl").decode().splitlines()
    assert json.loads(line) == row | {"at": moment.isoformat(), "id": str(UUID(int=1))}


def test_a_value_without_a_form_is_a_bug() -> None:
    with pytest.raises(TypeError, match="no form"):
        encode([{"x": b"bytes"}], ["x"], "jsonl")
