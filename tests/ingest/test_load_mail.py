"""E-mail: header, body, and attachments as sections."""

import base64

from office_files import docx, paragraph, pdf

from citewell.ingest.load import load


def attached(name: str, data: bytes) -> str:
    return (
        f'--b\nContent-Disposition: attachment; filename="{name}"\n'
        f"Content-Transfer-Encoding: base64\n\n{base64.encodebytes(data).decode()}\n"
    )


def mail(*parts: str) -> bytes:
    head = (
        "From: Ann <ann@example.org>\nTo: bob@example.org\nSubject: Files\n"
        'Date: Tue, 01 Oct 2024 12:34:56 -0500\nContent-Type: multipart/mixed; boundary="b"\n\n'
    )
    return (head + "--b\n\nSee the files.\n" + "".join(parts) + "--b--\n").encode()


def test_attachments_become_sections() -> None:
    parsed = load(
        mail(
            attached("report.docx", docx(paragraph("Words of the report."))),
            attached("=?utf-8?q?gr=C3=BC=C3=9Fe=2Epdf?=", pdf([["A page of greetings."]])),
            attached("prices.csv", b"name,price\ntea,5\n"),
        ),
        "a.eml",
    )
    assert [s.title for s in parsed.sections] == ["", "report.docx", "grüße.pdf", "prices.csv"]
    assert "report.docx\n\nWords of the report." in parsed.text
    assert "grüße.pdf\n\nA page of greetings." in parsed.text
    assert parsed.text.endswith("prices.csv\n\nname: tea; price: 5")
    assert parsed.report.tables == 1
    assert parsed.metadata["sent"] == "2024-10-01T12:34:56-05:00"
    assert parsed.metadata["author"] == "Ann <ann@example.org>"


def test_attachments_that_are_not_read_are_named_with_the_reason() -> None:
    inner = mail(attached("deep.txt", b"too deep"))
    parsed = load(
        mail(
            attached("photo.png", b"\x89PNG\r\n"),
            attached("old.docx", docx(paragraph("x"))[:90]),
            attached("inner.eml", inner),
        ),
        "a.eml",
    )
    skipped = {item["what"]: item["why"] for item in parsed.report.skipped}
    assert skipped["attachment photo.png"].startswith("This is an image.")
    assert "damaged" in skipped["attachment old.docx"]
    assert "inner.eml: attachment deep.txt" in skipped
    assert "too deep" not in parsed.text
    assert parsed.text.count("See the files.") == 2


def test_a_message_is_known_without_a_name() -> None:
    assert load(mail(), "message").title == "Files"


def test_japanese_mail_of_old() -> None:
    body = "日本語のメールです。".encode("iso2022_jp")
    head = b"Subject: x\nContent-Type: text/plain; charset=iso-2022-jp\n\n"
    assert load(head + body, "a.eml").text.endswith("日本語のメールです。")
