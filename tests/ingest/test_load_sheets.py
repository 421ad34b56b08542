"""Workbooks: sheets are sections, rows name their columns, and nothing goes silently."""

from office_files import odf, xlsx

from citewell.ingest.load import load

STYLES = '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'


def cells(number: int, *values: str, kind: str = 'inlineStr"><is><t>{}</t></is></c>') -> str:
    inner = "".join(
        f'<c r="{"ABCDEF"[n]}{number}" t="{kind.format(v)}' for n, v in enumerate(values)
    )
    return f'<row r="{number}">{inner}</row>'


def test_excel() -> None:
    values = (
        '<row r="2"><c r="A2" t="inlineStr"><is><t>Tea</t></is></c><c r="B2" s="1"><v>45292</v></c>'
        '<c r="C2"><v>1234.5</v></c><c r="D2" t="e"><v>#DIV/0!</v></c></row>'
    )
    data = xlsx(
        {
            "First": cells(1, "Name", "Date", "Price", "Share") + values,
            "-Secret": cells(1, "hidden words"),
            "Empty": "",
        },
        styles=STYLES,
    )
    parsed = load(data, "a.xlsx")
    assert [s.title for s in parsed.sections] == ["First", "Secret"]
    assert "Name: Tea; Date: 2024-01-01; Price: 1234.5; Share: #DIV/0!" in parsed.text
    assert "hidden words" in parsed.text
    assert "Secret is hidden" in parsed.report.warnings[0]
    assert parsed.report.skipped == (
        {"what": "sheet Empty", "count": 1, "why": "it holds no cells"},
    )
    assert parsed.metadata["author"] == "Ann Author"
    assert parsed.metadata["created"] == "2024-01-02T03:04:05Z"
    assert parsed.metadata["modified"] == "2024-02-03T04:05:06Z"
    assert load(data, "a.txt").text == parsed.text


def sheet(name: str, *rows: str) -> str:
    return f'<table:table table:name="{name}">{"".join(rows)}</table:table>'


def row(*values: str, times: int = 1) -> str:
    inner = "".join(
        f"<table:table-cell><text:p>{value}</text:p></table:table-cell>" for value in values
    )
    return f'<table:table-row table:number-rows-repeated="{times}">{inner}</table:table-row>'


def test_opendocument() -> None:
    empty = '<table:table-cell table:number-columns-repeated="16384"/>'
    edge = f'<table:table-row table:number-rows-repeated="1048000">{empty}</table:table-row>'
    body = (
        sheet("First", row("Name", "Share"), row("Tea", "25.6%"), edge)
        + sheet("Empty", edge)
        + sheet("Last", row("Rome"))
    )
    parsed = load(odf("spreadsheet", body), "a.ods")
    assert [s.title for s in parsed.sections] == ["First", "Last"]
    assert parsed.text == "First\n\nName: Tea; Share: 25.6%\n\nLast\n\nRome"
    assert parsed.report.skipped[0]["what"] == "sheet Empty"
    assert parsed.metadata["author"] == "Ann Author"
