"""Files that were damaged by chance: each gives text or a reason, and none stops the sandbox.

pytest tests/ingest/test_mutated_files.py --mutations 10000
"""

import asyncio
import random
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_files import whole_files
from in_sandbox import new_pool, outcome
from office_files import HEADING_NUMBERS, HEADING_STYLES, docx, odf, paragraph, zipped

SEED = 20_261
ENDS = {
    "text", "empty_file", "no_text", "no_text_layer", "encrypted", "corrupt", "type_mismatch",
    "unsupported", "archive_bomb", "entity_expansion", "too_much_text", "parser_timeout",
    "parser_memory",
}  # fmt: skip
TOKENS = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"<", b"]]>", b"<!--", b"&#x110000;", b"&amp;", b"{", b"}",
    b"\\u-9999999?", b"\\bin99 ", b"\\'", b"[", b'"', b"'", b"\r\n", b"--b", b"=?utf-8?q?",
    b"%PDF-", b"PK\x03\x04", b"endobj", b"stream\r\n", b"99999999999999999999", b"-1", b"\x80",
    b"\xed\xa0\x80", b"charset=undefined", b"```\n", b"|-|\n", b"---\n",
    b"Content-Type: multipart/mixed; boundary=b\n\n",
)  # fmt: skip

Change = Callable[[random.Random, bytearray], None]


def flip(dice: random.Random, data: bytearray) -> None:
    for _ in range(dice.choice((1, 1, 4, 32))):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def overwrite(dice: random.Random, data: bytearray) -> None:
    start = dice.randrange(len(data))
    count = dice.choice((1, 2, 4, 16))
    data[start : start + count] = dice.choice((b"\0", b"\xff", b"\x7f", b" ")) * count


def cut(dice: random.Random, data: bytearray) -> None:
    start = dice.randrange(len(data))
    del data[start : start + dice.randrange(1, max(2, len(data) // 3))]


def cut_off(dice: random.Random, data: bytearray) -> None:
    del data[dice.randrange(1, len(data) + 1) :]


def repeat(dice: random.Random, data: bytearray) -> None:
    start = dice.randrange(len(data))
    piece = data[start : start + dice.randrange(1, 400)]
    data[start:start] = piece * dice.choice((1, 2, 20))


def swap(dice: random.Random, data: bytearray) -> None:
    first, middle, last = sorted(dice.randrange(len(data) + 1) for _ in range(3))
    data[first:last] = data[middle:last] + data[first:middle]


def insert(dice: random.Random, data: bytearray) -> None:
    start = dice.randrange(len(data) + 1)
    data[start:start] = dice.choice(TOKENS) * dice.choice((1, 1, 3))


CHANGES: tuple[Change, ...] = (flip, overwrite, cut, cut_off, repeat, swap, insert)


def seeds() -> dict[str, bytes]:
    """Small files of every format; those in archives also as their parts, to change them inside."""
    body = paragraph("One", "H1") + paragraph("Text.") + (
        f"<w:tbl><w:tr><w:tc>{paragraph('a')}</w:tc><w:tc>{paragraph('b')}</w:tc></w:tr></w:tbl>"
    )  # fmt: skip
    return whole_files() | {
        "b.docx": docx(body, styles=HEADING_STYLES, numbering=HEADING_NUMBERS),
        "b.ods": odf("spreadsheet", '<table:table table:name="S"><table:table-row>'
                     "<table:table-cell><text:p>x</text:p></table:table-cell>"
                     "</table:table-row></table:table>"),
        "b.odp": odf("presentation", "<draw:page><draw:frame><draw:text-box><text:p>x</text:p>"
                     "</draw:text-box></draw:frame></draw:page>"),
        "b.rtf": b"{\\rtf1\\ansi\\ansicpg1251{\\fonttbl{\\f0\\fcharset204 A;}}{\\info{\\title T}"
                 b"{\\creatim\\yr2024\\mo1}}{\\stylesheet{\\s1 heading 1;}}\\pard\\s1 One\\par"
                 b"\\pard caf\\'e9 \\u8364?{\\footnote note}\\par\\trowd a\\cell b\\cell\\row"
                 b"\\pard x\\par}",
        "b.md": b"---\ntitle: T\ntags: [a, b]\n---\n\n# One\n\nText *x*.\n\n| a | b |\n|---|---|\n"
                b"| 1 | 2 |\n\n```\ncode\n```\n\nTwo\n---\n",
        "b.csv": b"name;price\n\"a; b\";1,50\nc;2\n",
        "b.tsv": "größe\tpreis\n1\t2\n".encode("cp1252"),
        "b.jsonl": b'{"a": 1, "b": ["x", {"c": null}]}\n{"a": "\\ud83d\\ude00"}\n',
        "b.txt": "Größe und Übermut, ein Text.\n\nNoch ein Absatz.".encode("utf-16"),
        "c.txt": "日本語のテキストです。カタカナもあります。".encode("cp932"),
        "b.html": b"<html lang=en><head><title>T</title><meta charset=utf-8></head><body><h1 id=a>"
                  b"One</h1><ul><li>a<li>b</ul><table><tr><th>x<th>y<tr><td colspan=2>1</table>"
                  b"<pre>code</pre><math><mfrac><mi>a</mi><mi>b</mi></mfrac></math><sup>2</sup>",
        "b.eml": b'From: =?utf-8?q?J=C3=B6rg?= <a@b>\nDate: Tue, 01 Oct 2024 12:34:56 -0500\n'
                 b'Subject: S\nContent-Type: multipart/mixed; boundary="b"\n\n--b\n'
                 b"Content-Type: text/html; charset=iso-8859-1\n"
                 b"Content-Transfer-Encoding: quoted-printable\n\n<p>Sch=F6n\n--b\n"
                 b"Content-Disposition: attachment; filename*=utf-8''a.csv\n"
                 b"Content-Transfer-Encoding: base64\n\nYSxiCjEsMgo=\n--b--\n",
        "b.svg": b'<?xml version="1.0"?><svg xmlns="x"><title>T</title><text>Words</text></svg>',
    }  # fmt: skip


def changed(dice: random.Random, whole: bytes) -> bytes:
    """Return a file with one to four changes; in an archive, often inside of one of its parts."""
    if whole.startswith(b"PK") and dice.random() < 0.7:
        return changed_inside(dice, whole)
    data = bytearray(whole)
    for _ in range(dice.choice((1, 1, 2, 4))):
        if data:
            dice.choice(CHANGES)(dice, data)
    return bytes(data)


def changed_inside(dice: random.Random, whole: bytes) -> bytes:
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        parts: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
    name = dice.choice(sorted(parts))
    if dice.random() < 0.1:
        del parts[name]
    else:
        content = parts[name]
        assert isinstance(content, bytes)
        parts[name] = changed(dice, content)
    return zipped(parts)


async def test_changed_files_give_text_or_a_reason(
    tmp_path: Path, mutations: int, caplog: pytest.LogCaptureFixture
) -> None:
    files = list(seeds().items())
    ends: Counter[str] = Counter()
    unexpected: list[str] = []
    turns = iter(range(mutations))
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()

    async with new_pool(processes=2) as pool:

        async def work(folder: Path) -> None:
            for turn in turns:
                dice = random.Random(SEED + turn)
                name, whole = files[turn % len(files)]
                try:
                    end, _ = await asyncio.wait_for(
                        outcome(pool, folder, name, changed(dice, whole)), 30
                    )
                except Exception:  # noqa: BLE001 - every fault is counted and shown
                    end = traceback.format_exc(limit=-3)
                ends[end] += 1
                if end not in ENDS:
                    unexpected.append(f"{turn} {name}: {end}")

        await asyncio.gather(*map(work, folders))
    print(dict(ends))
    ours = [record for record in caplog.records if "a parser failed on" in record.getMessage()]
    assert not ours, ours[0].getMessage()
    native = [line for line in unexpected if line.endswith(": parser_crashed")]
    assert unexpected == native
    assert len(native) * 1000 <= mutations
    assert ends.total() == mutations
    assert ends["text"] > mutations // 5
