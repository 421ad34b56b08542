"""Files that are locked: opened by their password, refused without, and told apart."""

import io
import os
import zipfile
from importlib import import_module
from typing import Any

import pytest
from hostile_files import CATALOG, PAGE, PAGES, raw_pdf
from office_files import xlsx, zipped

from citewell.errors import DocumentRejected
from citewell.ingest.load import load

RIGHT, OPEN_TO_ALL = "tea & cake", "VelvetSweatshop"
ROWS = '<row r="1"><c r="A1" t="inlineStr"><is><t>locked words</t></is></c></row>'


def locked(password: str) -> bytes:
    """Return a workbook under a password, as Office 2010 and later lock it."""
    whole = xlsx({"S": ROWS})
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        parts: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
    filled = zipped(parts | {"xl/filling.bin": os.urandom(5000)})
    ooxml: Any = import_module("msoffcrypto.format.ooxml")
    result = io.BytesIO()
    ooxml.OOXMLFile(io.BytesIO(filled)).encrypt(password, result)
    return result.getvalue()


def test_a_password_opens_an_office_file() -> None:
    parsed = load(locked(RIGHT), "named.wrongly", password=RIGHT)
    assert parsed.text == "S\n\nlocked words"
    assert parsed.title == "A Title"


def test_a_workbook_that_excel_locked_for_nobody_opens() -> None:
    assert "locked words" in load(locked(OPEN_TO_ALL), "a.xlsx").text


@pytest.mark.parametrize(
    ("password", "code", "what_to_do"),
    [
        (None, "encrypted", "Send its password with the upload"),
        ("", "encrypted", "Send its password with the upload"),
        ("cake & tea", "wrong_password", "upload the file again with the right"),
    ],
)
@pytest.mark.parametrize("kind", ["xlsx", "pdf"])
def test_locked_files_say_what_to_do(
    kind: str, password: str | None, code: str, what_to_do: str
) -> None:
    data = locked(RIGHT) if kind == "xlsx" else locked_pdf()
    with pytest.raises(DocumentRejected, match=what_to_do) as caught:
        load(data, f"a.{kind}", password=password)
    assert caught.value.reason == code


def test_damaged_encryption_is_corrupt() -> None:
    data = bytearray(locked(RIGHT))
    place = data.index(b"<encryption")
    data[place : place + 40] = b"\0" * 40
    with pytest.raises(DocumentRejected) as caught:
        load(bytes(data), "a.xlsx", password=RIGHT)
    assert caught.value.reason == "corrupt"


def locked_pdf() -> bytes:
    """Return a PDF whose encryption (RC4, 40 bits) no password of these tests opens."""
    content = b"<< /Length 5 >>\nstream\nabcde\nendstream"
    lock = b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>" % (b"5a" * 32, b"a5" * 32)
    data = raw_pdf(CATALOG, PAGES, PAGE, content, lock)
    return data.replace(
        b"/Root 1 0 R", b"/Root 1 0 R /Encrypt 5 0 R /ID [<%s> <%s>]" % (b"01" * 16, b"01" * 16)
    )


@pytest.mark.parametrize("password", [None, "anything"])
def test_files_without_a_lock_leave_the_password_unused(password: str | None) -> None:
    assert load(xlsx({"S": ROWS}), "a.xlsx", password=password).text == "S\n\nlocked words"
    assert load(b"plain text", "a.txt", password=password).text == "plain text"
