"""HTML: sections with clean numbers and anchors, text as a reader sees it."""

from itertools import pairwise

import pytest

from citewell.domain import ParsedDocument
from citewell.ingest.load import load


def html(body: str, name: str = "a.html") -> ParsedDocument:
    return load(f"<html><head><title>T</title></head><body>{body}</body></html>".encode(), name)


@pytest.mark.parametrize(
    ("heading", "number", "title"),
    [
        ("<h2>2.3.1 Title</h2>", "2.3.1", "Title"),
        ("<h2>2.3.1. Title</h2>", "2.3.1", "Title"),
        ("<h2>§2.3.1 Title</h2>", "2.3.1", "Title"),
        ("<h2>§ 1308.01 Scope</h2>", "1308.01", "Scope"),
        ("<h1>Chapter 2</h1>", "2", "Chapter 2"),
        ("<h1>Chapter 2: Lists</h1>", "2", "Lists"),
        ("<h1>Appendix A. Grammar</h1>", "A", "Grammar"),
        ("<h2>A.2 Rules</h2>", "A.2", "Rules"),
        ('<h3><span class="secnum">1.1</span><span class="sectitle">Elements</span></h3>', "1.1",
         "Elements"),
        ('<h2><a href="#s">12.</a>&nbsp;<a href="#n">Negotiation</a></h2>', "12", "Negotiation"),
        ('<h2>4.2 Title<a class="headerlink" href="#x">¶</a></h2>', "4.2", "Title"),
        ("<h2>3 ways to cook an egg</h2>", None, "3 ways to cook an egg"),
        ("<h2>2023 in review</h2>", None, "2023 in review"),
        ("<h2>I think so</h2>", None, "I think so"),
        ("<h2>Partial results</h2>", None, "Partial results"),
    ],
)  # fmt: skip
def test_heading_numbers(heading: str, number: str | None, title: str) -> None:
    parsed = html(f"{heading}<p>Text.</p>")
    assert (parsed.sections[0].number, parsed.sections[0].title) == (number, title)


def test_bare_numbers_count_when_a_neighbour_confirms_them() -> None:
    parsed = html(
        "<h2>1 One</h2><p>a</p><h2>2 Two</h2><p>b</p><h2>II. Rome</h2><h2>III. Later</h2>"
    )
    assert [section.number for section in parsed.sections] == ["1", "2", "II", "III"]


def test_anchors() -> None:
    parsed = html(
        '<h2 id="own">A</h2><p>x</p><section id="around"><h2>B</h2><p>x</p></section>'
        '<a id="first"></a><a id="before"></a><h2>C</h2><p>y <a id="inline"></a> z</p><h2>D</h2>'
        '<h2><a name="inside">E</a></h2>'
    )
    assert [s.anchor for s in parsed.sections] == ["own", "around", "before", None, "inside"]


def test_furniture_is_left_out_and_counted() -> None:
    parsed = html(
        "<nav>menu</nav><script>x()</script><style>p{}</style><template>t</template>"
        "<div hidden>h</div><div style='display: none'>n</div><div class='toc'>contents</div>"
        "<p>Kept.</p><noscript>no</noscript><footer>foot</footer>"
    )
    assert parsed.text == "Kept."
    assert {item["what"] for item in parsed.report.skipped} >= {"scripts", "navigation", "styles"}


def test_inline_elements_neither_add_nor_lose_spaces() -> None:
    parsed = html("<p>un<b>believ</b>able <i>two</i>\n words<a href='#n'><sup>4</sup></a>, "
                  "x<sup>2</sup>"
                  "<br>next</p>")  # fmt: skip
    assert parsed.text == "unbelievable two words, x^2\nnext"


def test_blocks_lists_and_code() -> None:
    parsed = html(
        "<div>One<p>Two</p>Three</div><ul><li>a<li>b<ol start=3><li>c</li></ol></li></ul>"
        "<pre>\nif x:\n    y\n</pre><p>End</p>"
    )
    assert parsed.text == (
        "One\n\nTwo\n\nThree\n\n- a\n- b\n  3. c\n\nif x:\n    y\n\nEnd"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        ("<tr><th>Name<th>Age</tr><tr><td>Ann<td>5</tr>", ["Name: Ann; Age: 5"]),
        ("<tr><td>a<td>b</tr><tr><td>c<td>d</tr>", ["a | b", "c | d"]),
        ("<tr><th>Founded<td>1975</tr><tr><th>City<td>Rome</tr>", ["Founded: 1975", "City: Rome"]),
        ("<tr><th>K<th>V</tr><tr><td rowspan=2>x<td>1</tr><tr><td>2</tr>",
         ["K: x; V: 1", "K: x; V: 2"]),
        ("<tr><td><p>layout</p><p>only</p></tr>", ["layout", "", "only"]),
    ],
)  # fmt: skip
def test_tables(table: str, lines: list[str]) -> None:
    assert html(f"<table>{table}</table>").text.split("\n") == lines


def test_formulas_are_written_on_one_line() -> None:
    formula = "<math><mi>x</mi><mo>=</mo><mfrac><mi>a</mi><mn>2</mn></mfrac></math>"
    assert html(f"<p>So {formula}.</p>").text == "So x = a/2."


def test_xhtml_with_elements_that_close_themselves() -> None:
    page = (
        '<?xml version="1.0" encoding="utf-8"?><html xmlns="x"><head><title/></head>'
        '<body><a id="k"/><h1>H</h1><p>T</p></body></html>'
    )
    parsed = load(page.encode(), "a.xhtml")
    assert parsed.text == "H\n\nT"
    assert parsed.sections[0].anchor == "k"


def test_declared_charset_is_checked_against_the_bytes() -> None:
    page = '<meta charset="{}"><p>Le café préféré de l’été coûte 3 €.</p>'
    right = load(page.format("windows-1252").encode("cp1252"), "a.html")
    wrong = load(page.format("iso-2022-jp").encode("cp1252"), "a.html")
    assert right.text == wrong.text == "Le café préféré de l’été coûte 3 €."
    assert wrong.report.warnings


def test_deep_nesting_needs_no_recursion() -> None:
    assert html("<div>" * 20_000 + "deep").text == "deep"


def test_sections_partition_the_text() -> None:
    parsed = html("<p>Before.</p><h1>A</h1><h2>B</h2><p>x</p><h1>C</h1><p>y</p>")
    edges = [(section.start, section.end) for section in parsed.sections]
    assert edges[0][0] == 0
    assert edges[-1][1] == len(parsed.text)
    assert all(left[1] == right[0] for left, right in pairwise(edges))
    assert [section.parent for section in parsed.sections] == [None, None, 1, None]
    assert parsed.sections[2].path == ("A", "B")


def test_authors_and_dates_are_metadata() -> None:
    page = (
        '<head><meta name="DC.creator" content="Ann"><meta property="article:published_time" '
        'content="2024-01-02T03:04:05Z"><meta property="article:modified_time" '
        'content="2024-02-03"></head><p>Text.</p>'
    )
    assert load(page.encode(), "a.html").metadata == {
        "author": "Ann",
        "created": "2024-01-02T03:04:05Z",
        "modified": "2024-02-03",
    }
