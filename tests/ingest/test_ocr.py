"""Pages that are images: refused with the way to OCR without the extra, read where it is there."""

import io
import sys
from pathlib import Path

import pytest
from in_sandbox import new_pool, read
from office_files import pdf

from citewell.errors import DocumentRejected, UnsupportedMedia
from citewell.ingest.detect import PNG, sniff
from citewell.ingest.formats.page_layout import Line, page_text
from citewell.ingest.load import load
from citewell.ingest.ocr import OcrAllowance, is_enabled, is_installed
from citewell.ingest.sandbox_limits import MEBIBYTE, ParserLimits

needs_ocr = pytest.mark.skipif(not is_installed(), reason="the extra ocr is not installed")
INSTALL = r"pip install 'citewell\[ocr\]', or uv sync --extra ocr"
GERMAN = ["Die Größe der Bäume übertrifft", "alle Erwartungen der Förster."]
LEFT = [f"The left column goes on, line {number}." for number in range(1, 7)]
RIGHT = [f"The right column follows it, {number}." for number in range(1, 7)]


@pytest.fixture
def without_ocr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the library from imports, as where it is not installed."""
    monkeypatch.setitem(sys.modules, "rapidocr", None)


def test_without_the_extra_a_scan_is_told_how_to_get_it(without_ocr: None) -> None:
    assert not is_enabled("auto")
    with pytest.raises(DocumentRejected, match=INSTALL) as caught:
        load(pdf([[], []]), "scan.pdf")
    assert caught.value.reason == "no_text_layer"
    with pytest.raises(UnsupportedMedia, match=INSTALL):
        sniff(b"\x89PNG\r\n\x1a\n\0", "scan.png")
    report = load(pdf([["Some text here."], []]), "a.pdf").report
    assert report.pages_without_text == (2,)
    assert "pip install 'citewell[ocr]'" in report.warnings[0]


@needs_ocr
def test_where_it_is_switched_off_the_setting_is_named() -> None:
    assert is_enabled("auto")
    assert not is_enabled("off")
    with pytest.raises(DocumentRejected, match="CITEWELL_PARSE__OCR=auto"):
        load(pdf([[]]), "scan.pdf")


def drawn(lines: list[str], second: list[str] | None = None, turned: int = 0):
    """Draw a page of one or two columns; ``turned`` is in degrees against the clock."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("RGB", (1240, 900), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=28)
    for left, column in ((80, lines), (660, second or [])):
        for row, line in enumerate(column):
            pen.text((left, 100 + 42 * row), line, fill="black", font=font)
    return page.rotate(turned, expand=True, fillcolor="white")


def printed(lines: list[str], turned: int = 0):
    """Print a page with letters that Pillow's own font has not."""
    import pypdfium2

    fonts = b"/BaseFont /Helvetica", b"/BaseFont /Helvetica /Encoding /WinAnsiEncoding"
    page = pypdfium2.PdfDocument(pdf([lines]).replace(*fonts))[0]
    return page.render(scale=150 / 72).to_pil().rotate(turned, expand=True)


def saved(pages: list, kind: str) -> bytes:
    out = io.BytesIO()
    pages[0].save(out, kind, save_all=len(pages) > 1, append_images=pages[1:])
    return out.getvalue()


def mixed_pdf() -> bytes:
    """Return a page of text, a scan upside down with a stamp in its text layer, an empty page."""
    import pypdfium2
    from pypdfium2 import raw

    whole = pypdfium2.PdfDocument(pdf([["This page has a text layer."]]))
    whole.import_pages(pypdfium2.PdfDocument(saved([printed(GERMAN, 180)], "PDF")))
    stamp = raw.FPDFPageObj_NewTextObj(whole, b"Helvetica", 12.0)
    code = "A-7".encode("utf-16-le") + b"\0\0"
    raw.FPDFText_SetText(stamp, (raw.FPDF_WCHAR * 4).from_buffer_copy(code))
    raw.FPDFTextObj_SetTextRenderMode(stamp, raw.FPDF_TEXTRENDERMODE_INVISIBLE)
    page = whole[1]
    raw.FPDFPage_InsertObject(page, stamp)
    raw.FPDFPage_GenerateContent(page)
    whole.new_page(612, 800)
    out = io.BytesIO()
    whole.save(out)
    return out.getvalue()


@needs_ocr
async def test_pages_without_text_are_read_in_the_sandbox(tmp_path: Path) -> None:
    data = mixed_pdf()
    assert load(data, "mixed.pdf").text.endswith("A-7")
    (tmp_path / "mixed.pdf").write_bytes(data)
    async with new_pool(ParserLimits(ocr_seconds=60)) as pool:
        part = await read(pool, str(tmp_path / "mixed.pdf"), "mixed.pdf")
    report = part.head.report
    assert part.text == f"This page has a text layer.\n\n{' '.join(GERMAN)}"
    assert part.head.page_starts == (0, 29, len(part.text))
    assert report.pages_without_text == (3,)
    assert [page["page"] for page in report.pages_by_ocr] == [2]
    assert 0.9 < report.pages_by_ocr[0]["confidence"] <= 1
    assert "1 of 3 pages were read by OCR (page 2)" in report.warnings[0]
    assert report.peak_memory_bytes < 800 * MEBIBYTE


@needs_ocr
@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no limit on memory")
async def test_too_little_memory_ends_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "scan.png").write_bytes(saved([printed(GERMAN)], "PNG"))
    async with new_pool(ParserLimits(memory_bytes=256 * MEBIBYTE, ocr_seconds=60)) as pool:
        with pytest.raises(DocumentRejected, match="CITEWELL_PARSE__MEMORY_BYTES") as caught:
            await read(pool, str(tmp_path / "scan.png"), "scan.png")
    assert caught.value.reason == "parser_memory"


@needs_ocr
@pytest.mark.parametrize("turned", [0, 90, 180, 270, 3])
def test_columns_are_read_in_order_however_the_page_lies(turned: int) -> None:
    page = drawn(LEFT, RIGHT, turned)
    text = load(saved([page], "PNG"), "page.png", ocr=OcrAllowance(60)).text
    assert " ".join(text.split()) == " ".join([*LEFT, *RIGHT])


@needs_ocr
def test_every_frame_of_an_image_is_a_page() -> None:
    data = saved([drawn(LEFT), printed(GERMAN)], "TIFF")
    parsed = load(data, "fax.tiff", ocr=OcrAllowance(60))
    assert parsed.report.media_type == "image/tiff"
    assert parsed.report.pages == 2
    assert parsed.text[parsed.page_starts[1] :] == " ".join(GERMAN)
    assert sniff(b"\x89PNG\r\n\x1a\n\0", "scan.png", ocr=True) == PNG


@needs_ocr
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_images_that_give_no_text_end_in_a_reason() -> None:
    whole = saved([printed(GERMAN)], "PNG")
    for data, reason in {
        saved([drawn([])], "JPEG"): "no_text",
        whole[: len(whole) // 2]: "corrupt",
        b"II*\0" + b"\xff" * 500: "corrupt",
    }.items():
        with pytest.raises(DocumentRejected) as caught:
            load(data, "image", ocr=OcrAllowance(60))
        assert caught.value.reason == reason


@needs_ocr
def test_ocr_that_takes_too_long_says_how_far_it_came() -> None:
    data = saved([printed(GERMAN), printed(GERMAN)], "PDF")
    with pytest.raises(DocumentRejected, match=r"read 1 page of .*OCR_SECONDS") as caught:
        load(data, "scan.pdf", ocr=OcrAllowance(0.001))
    assert caught.value.reason == "parser_timeout"


def test_a_tables_rows_stay_together() -> None:
    rows = [("Test", "Result", "Flag"), ("Glucose", "118 mg/dL", "HIGH"), ("eGFR", "82", "")] * 3
    lines = [
        Line(cell, 1.0, 100 + 300 * column, 50 * row, 100 + 300 * column + 12 * len(cell),
             50 * row + 30)
        for row, cells in enumerate(rows) for column, cell in enumerate(cells) if cell
    ]  # fmt: skip
    assert page_text(lines).split("\n\n")[:3] == [
        "Test  Result  Flag", "Glucose  118 mg/dL  HIGH", "eGFR  82",
    ]  # fmt: skip
