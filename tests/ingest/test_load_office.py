"""Word, PowerPoint, EPUB and PDF."""

import io
import zipfile
import zlib

from office_files import (
    HEADING_NUMBERS,
    HEADING_STYLES,
    P,
    docx,
    epub,
    paragraph,
    pdf,
    pptx,
    relations,
    shape,
    zipped,
)

from citewell.ingest.formats.right_to_left import mend_word_order
from citewell.ingest.load import load


def test_word_headings_carry_their_automatic_numbers() -> None:
    body = "".join(
        paragraph(text, style)
        for text, style in [
            ("Scope", "H1"), ("Text.", ""), ("Words", "H2"), ("Names", "H2"), ("Deep", "H3"),
            ("Rules", "H1"),
        ]
    )  # fmt: skip
    parsed = load(docx(body, styles=HEADING_STYLES, numbering=HEADING_NUMBERS), "a.docx")
    assert [(s.number, s.title, s.level) for s in parsed.sections] == [
        ("1", "Scope", 1), ("1.1", "Words", 2), ("1.2", "Names", 2), ("1.2.1", "Deep", 3),
        ("2", "Rules", 1),
    ]  # fmt: skip
    assert parsed.text.startswith("1 Scope\n\nText.\n\n1.1 Words")


def test_word_keeps_what_is_shown_only() -> None:
    run = "<w:r><w:t>{}</w:t></w:r>"
    body = (
        "<w:p>" + run.format("One") + "<w:r><w:tab/><w:t>two</w:t><w:br/><w:t>three</w:t></w:r>"
        '<w:del w:id="1"><w:r><w:delText>gone</w:delText></w:r></w:del>'
        "<w:r><w:rPr><w:vanish/></w:rPr><w:t>secret</w:t></w:r>"
        "<w:ins>" + run.format(" four") + "</w:ins></w:p>"
    )
    parsed = load(docx(body), "a.docx")
    assert parsed.text == "One\ttwo\nthree four"
    assert {item["what"] for item in parsed.report.skipped} == {"deleted text", "hidden text"}


def test_word_tables_name_their_columns() -> None:
    def row(*cells: str) -> str:
        return "<w:tr>" + "".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in cells) + "</w:tr>"

    body = f"<w:tbl>{row('Name', 'Age')}{row('Ann', '5')}</w:tbl>"
    assert load(docx(body), "a.docx").text == "Name: Ann; Age: 5"


def test_slides_are_pages_and_sections() -> None:
    parsed = load(
        pptx([shape("Body first.") + shape("Title", "title") + shape("7", "sldNum"), "",
              shape("No title here.")]), "a.pptx",
    )  # fmt: skip
    assert parsed.text == "Title\n\nBody first.\n\nSlide 3\n\nNo title here."
    assert parsed.report.pages == 3
    assert parsed.report.pages_without_text == (2,)
    assert parsed.page_starts[0] == 0
    assert parsed.text[parsed.page_starts[2] :].startswith("Slide 3")


def test_a_book_reads_in_the_order_of_its_spine() -> None:
    page = "<html xmlns='x'><body><h1 id='k'>{0}</h1><p>Text of {0}.</p></body></html>"
    parsed = load(
        epub({"one.xhtml": page.format("One"), "two.xhtml": page.format("Two")}), "b.epub"
    )
    assert parsed.title == "A Book"
    assert parsed.metadata["author"] == "Ann Author"
    assert [(s.title, s.anchor) for s in parsed.sections] == [
        ("One", "one.xhtml#k"),
        ("Two", "two.xhtml#k"),
    ]


LINES = [
    "This is the first line of a paragraph that runs over the whole of the page",
    "width and goes on with more words until it reaches the end of the informa-",
    "tion that it wants to give. Then a second sentence follows in the same text",
    "and ends here.",
    "- an item",
    "- another item",
]


def test_pdf_lines_are_joined() -> None:
    text = load(pdf([LINES]), "a.pdf").text
    assert "whole of the page width and goes on" in text
    assert "the end of the information that it wants" in text
    assert text.endswith("and ends here.\n\n- an item\n- another item")


def test_pdf_heads_go_and_sentences_cross_pages() -> None:
    long = "and so on it goes for a while over the whole width of the page without any end"
    pages = [
        ["Annual Report 2024", f"continued in lower case from page {name} and then it goes on",
         *(f"{long} {name} {line}" for line in ("one", "two", "three")), f"Page {number} of 4"]
        for number, name in enumerate(("zero", "first", "second", "third"), start=1)
    ]  # fmt: skip
    parsed = load(pdf(pages), "a.pdf")
    assert "Annual Report" not in parsed.text
    assert "Page 2" not in parsed.text
    assert "zero three continued in lower case from page first" in parsed.text
    assert parsed.text[parsed.page_starts[1] :].startswith(
        "continued in lower case from page first"
    )


def test_pdf_sections_need_an_unbroken_sequence() -> None:
    body = "Some sentence that fills the line below the heading and ends with a stop."
    good = ["1 Start", body, "1.1 Inside", body, "1.2 Outside", body, "2 End", body]
    listed = ["1. Open the door", "2. Go through it", "3. Close the door", body]
    parsed = load(pdf([good]), "a.pdf")
    assert [(s.number, s.title) for s in parsed.sections] == [
        ("1", "Start"), ("1.1", "Inside"), ("1.2", "Outside"), ("2", "End"),
    ]  # fmt: skip
    assert [s.title for s in load(pdf([listed]), "a.pdf").sections] == [""]


def test_pdf_dates_and_what_the_text_layer_lacks() -> None:
    packed = zlib.compress(b"<< /Subtype /Widget /V (typed in) >> << /Type /EmbeddedFile >>")
    extra = (
        b"9 0 obj\n<< /CreationDate (D:20230102030405+02'00') /ModDate (D:20240102030405Z) >>\n"
        b"endobj\n10 0 obj\n<< /Type /ObjStm /N 2 /Length %d /Filter /FlateDecode >>\nstream\n"
        b"%s\nendstream\nendobj\n" % (len(packed), packed)
    )
    data = pdf([["Some text on the page."]])
    place = data.rindex(b"xref\n0")
    parsed = load(data[:place] + extra + data[place:], "a.pdf")
    assert parsed.metadata["created"] == "2023-01-02T03:04:05+02:00"
    assert parsed.metadata["modified"] == "2024-01-02T03:04:05Z"
    assert {item["what"] for item in parsed.report.skipped} == {"form fields", "attached files"}
    assert parsed.report.tables is None
    assert parsed.report.images is None


def test_arabic_words_come_in_the_order_of_reading() -> None:
    drawn = ".البيانات لتحليل مثالية R 2.5 تجعلها ،فريدة ميزات"
    assert mend_word_order(drawn) == "ميزات فريدة، تجعلها R 2.5 مثالية لتحليل البيانات."
    written = "ميزات فريدة، تجعلها مثالية لتحليل البيانات."
    assert mend_word_order(written) == written


def test_slides_tell_their_diagrams_and_what_is_hidden() -> None:
    frame = (
        '<p:graphicFrame><a:graphic><a:graphicData><d:relIds xmlns:d="x" r:dm="d1"/>'
        "</a:graphicData></a:graphic></p:graphicFrame>"
    )
    with zipfile.ZipFile(io.BytesIO(pptx([shape("Plan", "title") + frame]))) as archive:
        parts: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
    slide = parts["ppt/slides/slide0.xml"]
    assert isinstance(slide, bytes)
    parts |= {
        "ppt/slides/slide0.xml": slide.replace(b"<p:sld ", b'<p:sld show="0" '),
        "ppt/slides/_rels/slide0.xml.rels": relations(
            ("d1", "diagramData", "../diagrams/data1.xml")
        ),
        "ppt/diagrams/data1.xml": f"<m {P}><a:p><a:t>First step</a:t></a:p>"
        "<a:p><a:t>Next step</a:t></a:p></m>",
        "ppt/charts/chart1.xml": "<c/>",
    }
    parsed = load(zipped(parts), "a.pptx")
    assert parsed.text == "Plan\n\nFirst step\nNext step"
    assert parsed.report.warnings == ("Slide 1 is hidden in the file; it was read.",)
    assert [item["what"] for item in parsed.report.skipped] == ["charts"]
