"""Sentence spans: where they end, and what always holds."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from citewell.domain.sentences import MAX_CHARACTERS, split_sentences, stands_alone


def _split(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith met J. S. Bach and Mrs. Jones.",
        "See Fig. 2 and No. 5 (p. 5, vol. 3).",
        "Harrison et al. (2010) measured 3.14 m, cf. §2.3.1.",
        "It is short, e.g. Paris, i.e. the city.",
        "The U.S. Navy is in Washington, D.C. now.",
        "Visit https://example.org/a.b?c=d. or www.example.org for more.",
        "The clock (see p. 4. It is old.) stands still.",
        "Use Yahoo! as it is.",
        "1. First wind the clock",
        "a. Wind the clock",
        "2.3.1 The pendulum",
        "1972-06-30,23:59:60,11,1",
    ],
)
def test_stays_whole(text: str) -> None:
    assert _split(text) == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One clock. Two clocks.", ["One clock.", "Two clocks."]),
        ("It is 5 p.m. The train left.", ["It is 5 p.m.", "The train left."]),
        ("He said no. Then he left.", ["He said no.", "Then he left."]),
        ("It needs vitamin C. The rest is air.", ["It needs vitamin C.", "The rest is air."]),
        ('"He left." She stayed.', ['"He left."', "She stayed."]),
        ("(It stopped.) Nobody knew!", ["(It stopped.)", "Nobody knew!"]),
        ("It was built.[12] It fell.", ["It was built.[12]", "It fell."]),
        ("What?! No... Yes.", ["What?!", "No...", "Yes."]),
        ("東京は首都です。大きい！本当？はい", ["東京は首都です。", "大きい！", "本当？", "はい"]),
        ("The Title\n\n- one item\n- two items\n", ["The Title", "- one item", "- two items"]),
        ("a,b\r\n1,2\r\n", ["a,b", "1,2"]),
        ("Time flies 🕰. 𝔗he end.", ["Time flies 🕰.", "𝔗he end."]),
        (
            "An open ( bracket. " + "Next one. " * 2,
            ["An open ( bracket.", "Next one.", "Next one."],
        ),
        ("", []),
        (" \n\t ", []),
    ],
)
def test_splits(text: str, expected: list[str]) -> None:
    assert _split(text) == expected


def test_cuts_long_units_at_clauses() -> None:
    text = "; ".join("word, " * 16 + f"end{number}" for number in range(10, 22))
    pieces = _split(text)
    assert [piece.count(";") for piece in pieces] == [5, 5, 1]
    assert all(piece.endswith(";") for piece in pieces[:-1])
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_cuts_where_there_is_no_border() -> None:
    assert [len(piece) for piece in _split("x" * (2 * MAX_CHARACTERS + 1))] == [600, 600, 1]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    st.text(st.sampled_from("aB1 .!?()\"'\n\t。é🕰;,\x1c\xa0"), max_size=80).map(lambda t: t * 13)
)
def test_always_holds(text: str) -> None:
    spans = split_sentences(text)
    assert all(end <= later for (_, end), (later, _) in pairwise(spans))
    for start, end in spans:
        assert text[start:end] == text[start:end].strip() != ""
        assert end - start <= MAX_CHARACTERS
        assert "\n" not in text[start:end]
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    between = [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]
    assert not "".join(between).strip()


@pytest.mark.parametrize("text", ["It was built.", "1972-06-30,11", "東京は首都です。"])
def test_stands_alone(text: str) -> None:
    assert stands_alone(text)


@pytest.mark.parametrize(
    "text", ["", "2O", "See below.", "Who built it then?", "本当に誰が作った？", "はい。"]
)
def test_does_not_stand_alone(text: str) -> None:
    assert not stands_alone(text)
