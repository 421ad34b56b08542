"""JSON and JSON lines: every value is found beside the keys that lead to it."""

import pytest

from citewell.ingest.load import load


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('{"a": [1,\n 2]}', ["a: 1, 2"]),
        ('{"name": "Ann", "home": {"city": "Rome", "zip": "00100"}}',
         ["name: Ann; home.city: Rome; home.zip: 00100"]),
        ('[{"name": "Ann"}, {"name": "Bob"}]', ["name: Ann", "", "name: Bob"]),
        ('{"list": [{"x": 1}, 5, [2, 3]]}', ["list[0].x: 1; list[1]: 5; list[2]: 2, 3"]),
        ('{"a": true, "b": null, "c": 1.10, "c": 1e400}', ["a: true; c: 1.10; c: 1e400"]),
        ('{"q": "one"}\n{"q": "two"}\n', ["q: one", "", "q: two"]),
        ('{"s": "x\\ud800y"}', ["s: x\ufffdy"]),
        ('"just a string"', ["just a string"]),
    ],
)  # fmt: skip
def test_values_name_their_keys(source: str, lines: list[str]) -> None:
    parsed = load(source.encode(), "a.json")
    assert parsed.text.split("\n") == lines
    assert parsed.report.warnings == ()


def test_long_values_are_lines_of_their_own() -> None:
    words = "word " * 100
    parsed = load(f'{{"title": "The Rule", "a": {{"b": "{words}", "c": 5}}}}'.encode(), "a.json")
    assert parsed.title == "The Rule"
    assert parsed.text.split("\n")[0] == "title: The Rule"
    assert "a.c: 5" in parsed.text.split("\n")
    assert f"a.b: {words.strip()}" in parsed.text.split("\n")


def test_a_long_list_gives_a_paragraph_for_each_record() -> None:
    records = ", ".join(f'{{"id": {n}, "name": "name {n}"}}' for n in range(50))
    text = load(f'{{"people": [{records}]}}'.encode(), "a.json").text
    assert text.split("\n\n")[7] == "people[7].id: 7; people[7].name: name 7"
    assert len(text.split("\n\n")) == 50


def test_broken_json_is_read_as_text_and_says_so() -> None:
    parsed = load(b'{"a": "cut off', "a.json")
    assert parsed.text == '{"a": "cut off'
    assert "not valid JSON" in parsed.report.warnings[0]


def test_json_is_known_without_a_name() -> None:
    assert load(b' {"a": 1}', "noname").text == "a: 1"
    assert load('{"a": "Grüße"}'.encode("utf-16"), "a.json").text == "a: Grüße"
