"""OpenDocument text and slides, and RTF: what a reader sees, in its order."""

import pytest
from office_files import odf

from citewell.errors import DocumentRejected
from citewell.ingest.load import load

TABLE = (
    "<table:table><table:table-header-rows><table:table-row><table:table-cell><text:p>Name</text:p>"
    "</table:table-cell><table:table-cell><text:p>Age</text:p></table:table-cell></table:table-row>"
    "</table:table-header-rows><table:table-row><table:table-cell><text:p>Ann</text:p>"
    "</table:table-cell><table:table-cell><text:p>5</text:p></table:table-cell></table:table-row>"
    "</table:table>"
)


def test_opendocument_text() -> None:
    body = (
        '<text:tracked-changes><text:p>gone</text:p></text:tracked-changes><text:h '
        'text:outline-level="1">One<text:s text:c="2"/>Two</text:h><text:p>Before<text:note>'
        "<text:note-citation>1</text:note-citation><text:note-body><text:p>The note.</text:p>"
        "</text:note-body></text:note> after<text:tab/>tab<text:line-break/><text:span>line"
        "</text:span>.</text:p><text:list><text:list-item><text:p>item</text:p><text:list>"
        "<text:list-item><text:p>inner</text:p></text:list-item></text:list></text:list-item>"
        "</text:list>" + TABLE + "<text:p><draw:frame><draw:text-box><text:p>Boxed</text:p>"
        "</draw:text-box></draw:frame></text:p><text:p><draw:frame><draw:image/></draw:frame></text:p>"
    )  # fmt: skip
    parsed = load(odf("text", body), "a.odt")
    assert parsed.text == (
        "One Two\n\nBefore after\ttab\nline.\n\nThe note.\n\n- item\n  - inner\n\n"
        "Name: Ann; Age: 5\n\nBoxed"
    )
    assert parsed.title == "A Title"
    assert parsed.metadata["created"] == "2023-05-06T07:08:09"
    assert parsed.metadata["modified"] == "2023-06-07T08:09:10"
    assert (parsed.report.tables, parsed.report.images) == (1, 1)
    assert {item["what"] for item in parsed.report.skipped} == {"deleted text", "footnote marks"}


def test_opendocument_slides_are_pages() -> None:
    box = "<draw:frame {}><draw:text-box><text:p>{}</text:p></draw:text-box></draw:frame>"
    body = (
        "<draw:page>" + box.format('presentation:class="title"', "First") + box.format("", "Body")
        + f"<presentation:notes>{box.format('', 'Said')}</presentation:notes></draw:page>"
        "<draw:page/><draw:page>" + box.format("", "Last") + "</draw:page>"
    )  # fmt: skip
    parsed = load(odf("presentation", body), "a.odp")
    assert parsed.text == "First\n\nBody\n\nNotes: Said\n\nSlide 3\n\nLast"
    assert parsed.report.pages == 3
    assert parsed.report.pages_without_text == (2,)
    assert [s.title for s in parsed.sections] == ["First", "Slide 3"]


def test_locked_opendocument_is_encrypted() -> None:
    with pytest.raises(DocumentRejected, match="password") as caught:
        load(odf("text", "<text:p>x</text:p>", encrypted=True), "a.odt")
    assert caught.value.reason == "encrypted"


RTF = (
    rb"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0 Times;}{\f1\fcharset204 Arial;}}"
    rb"{\stylesheet{\s1 heading 1;}}{\info{\title The Title}{\author Rita}"
    rb"{\creatim\yr2024\mo3\dy4\hr5\min6}}{\header Page head}\pard\s1 First\par"
    rb"\pard Caf\'e9 costs 3 \u8364?\~and \ldblquote more\rdblquote{\footnote A note.}"
    rb"{\v secret}.\par\f1 \'cf\'f0\'e8\'e2\'e5\'f2\f0\line\u-10179?\u-8704?\tab x\par"
    rb"\trowd\intbl Name\cell Age\cell\row\trowd\intbl Ann\cell 5\cell\row\pard Last."
    rb"{\pict\pngblip 8950}\par}"
)


def test_rtf() -> None:
    parsed = load(RTF, "a.doc")
    assert parsed.text == (
        "First\n\nCafé costs 3 €\xa0and “more”.\n\nA note.\n\nПривет\n😀\tx\n\n"
        "Name: Ann; Age: 5\n\nLast."
    )
    assert parsed.title == "The Title"
    assert parsed.metadata == {
        "title": "The Title", "author": "Rita", "created": "2024-03-04T05:06:00",
    }  # fmt: skip
    assert [s.title for s in parsed.sections] == ["First"]
    assert (parsed.report.tables, parsed.report.images) == (1, 1)
    assert "hidden text" in {item["what"] for item in parsed.report.skipped}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (rb"{\rtf1\ansi\ansicpg932{\fonttbl{\f0\fcharset128 M;}}\f0 \'93\'fa\'96\'7b \'83e\'83X}",
         "日本 テス"),
        (rb"{\rtf1{\fonttbl{\f0\fcharset161 A;}}\f0 \'c5\'eb}", "Ελ"),
        (rb"{\rtf1\mac caf\'8e}", "café"),
        (rb"{\rtf1{\field{\*\fldinst HYPERLINK x}{\fldresult shown}}{\*\unknown not}}", "shown"),
    ],
)  # fmt: skip
def test_rtf_charsets_and_fields(source: bytes, text: str) -> None:
    assert load(source, "a.rtf").text == text


def test_rtf_that_is_cut_off_says_so() -> None:
    parsed = load(RTF[:-60], "a.rtf")
    assert "Привет" in parsed.text
    assert "may be cut off" in parsed.report.warnings[0]
