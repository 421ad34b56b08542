"""Plain text, Markdown, separated values and their encodings."""

import pytest

from citewell.ingest.load import load


@pytest.mark.parametrize(
    ("text", "codec", "encoding"),
    [
        ("Grüße aus Köln, schöne Woche", "utf-8", "utf-8"),
        ("Grüße aus Köln", "utf-8-sig", "utf-8"),
        ("Grüße aus Köln", "utf-16", "utf-16"),
        ("Grüße aus Köln", "utf-16-le", "utf-16-le"),
        ("Grüße aus Köln", "utf-16-be", "utf-16-be"),
        ("Grüße aus Köln", "utf-32", "utf-32"),
        ("Grüße aus Köln", "utf-32-le", "utf-32-le"),
        ("The café “Zoë” costs 3 €, naïve as it is.", "cp1252", "cp1252"),
        ("これは日本語のテキストです。カタカナもあります。", "cp932", "cp932"),
        ("これは日本語のテキストです。カタカナもあります。", "euc_jp", "euc_jp"),
    ],
)
def test_encodings(text: str, codec: str, encoding: str) -> None:
    parsed = load(text.encode(codec), "a.txt")
    assert parsed.text == text
    assert parsed.report.encoding == encoding


LINES = {
    "ru": "Все люди рождаются свободными и равными\nв своем достоинстве и правах.",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια",
    "zh": "人人生而自由，在尊严和权利上一律平等。\n他们赋有理性和良心。",
    "ja": "モデルの評価は、テストデータを用いて\n行われました。",
    "pl": "Zażółć gęślą jaźń. Wszystkie prawa zastrzeżone, łódź płynie po wodzie.",
}


@pytest.mark.parametrize(
    ("language", "codec"),
    [
        ("ru", "utf-16-le"), ("ru", "utf-16-be"), ("el", "utf-16-le"), ("zh", "utf-16-le"),
        ("zh", "utf-16-be"), ("zh", "utf-32-be"), ("ja", "utf-16-be"), ("ja", "iso2022_jp"),
        ("ru", "cp1251"), ("ru", "koi8-r"), ("el", "iso8859-7"), ("zh", "gb18030"),
        ("pl", "cp1250"), ("pl", "iso8859-2"),
    ],
)  # fmt: skip
def test_encodings_that_nothing_declares(language: str, codec: str) -> None:
    parsed = load(LINES[language].encode(codec), "a.txt")
    assert parsed.text == LINES[language]
    guessed = not codec.startswith(("utf", "iso2022"))
    assert guessed == any("was guessed" in warning for warning in parsed.report.warnings)


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        ("shift_jis", "cp932"), ("utf-8", "cp932"), ("utf-16", "utf-8"), ("undefined", "utf-8"),
        ("iso-8859-1", "utf-8"), ("utf-8", "utf-16"), ("utf-8", "utf-32"),
    ],
)  # fmt: skip
def test_xml_and_html_declare_their_charset_rightly_or_not(declared: str, codec: str) -> None:
    words = "これは日本語のテキストです。カタカナもあります。"
    xml = f"<?xml version='1.0' encoding='{declared}'?><a>{words}</a>".encode(codec)
    assert load(xml, "a.xml").text == words
    html = f"<html><head><meta charset='{declared}'></head><p>{words}</p></html>".encode(codec)
    assert load(html, "a.html").text == words
    assert load(html, "a.txt").text == words


def test_markdown_tables_name_their_columns() -> None:
    source = (
        "# T\n\n| Name | Age |\n|:---|---:|\n| Ann | 5 |\n| a\\|b | |\n\nEnd.\n\na | b\nc | d\n"
    )
    parsed = load(source.encode(), "a.md")
    assert "Name: Ann; Age: 5\nName: a|b\n\nEnd." in parsed.text
    assert parsed.text.endswith("a | b\nc | d")
    assert parsed.report.tables == 1


def test_hidden_characters_go_and_are_counted() -> None:
    parsed = load(
        "a\0b\x07 c\u200bd \u202eevil\u202c soft\u00adware \U000e0041x\r\ny".encode(), "a.txt"
    )
    assert parsed.text == "ab cd evil software x\ny"
    counts = {item["what"]: item["count"] for item in parsed.report.skipped}
    assert counts == {"control characters": 2, "hidden characters": 4, "soft hyphens": 1}


def test_joiners_that_scripts_need_stay() -> None:
    assert load("می\u200cخواهم क्\u200dष".encode(), "a.txt").text == "می\u200cخواهم क्\u200dष"


def test_text_encoded_twice_is_mended() -> None:
    assert (
        load("1986â\x80\x931990 café Ã© stays".encode(), "a.txt").text == "1986–1990 café Ã© stays"
    )


def test_wrapped_paragraphs_are_joined_and_poems_are_not() -> None:
    wrapped = (
        "The quick brown fox jumps over the lazy dog and then it walks\n"
        "through the whole of the forest until it comes to a small river\n"
        "where it drinks."
    )
    poem = "Roses are red,\nviolets are blue,\nsugar is sweet."
    code = "def main():\n    print('hello')\n    return 0"
    text = load(f"{wrapped}\n\n{poem}\n\n{code}\n".encode(), "a.txt").text
    assert text == f"{wrapped.replace(chr(10), ' ')}\n\n{poem}\n\n{code}"


def test_markdown_sections_and_front_matter() -> None:
    source = (
        "---\ntitle: The Guide\ntags: [a, 'b c']\n---\n\nIntro.\n\n# 1 First\n\n"
        "Text *as written*.\n\n"
        "```\n# no heading\n```\n\n## 1.1 Sub `code`\nMore.\n\nSetext\n------\nEnd.\n"
    )
    parsed = load(source.encode(), "guide.md")
    assert parsed.title == "The Guide"
    assert parsed.metadata["tags"] == ["a", "b c"]
    assert [(s.level, s.number, s.title, s.anchor) for s in parsed.sections] == [
        (0, None, "", None),
        (1, "1", "First", "1-first"),
        (2, "1.1", "Sub code", "11-sub-code"),
        (2, None, "Setext", "setext"),
    ]
    assert "Text *as written*." in parsed.text
    assert "title:" not in parsed.text
    assert parsed.sections[2].path == ("First", "Sub code")
    body = parsed.sections[3]
    assert parsed.text[body.body_start : body.end].strip() == "End."


@pytest.mark.parametrize(
    ("source", "name", "lines"),
    [
        ("name,age\nAnn,5\nBob,\n", "a.csv", ["name: Ann; age: 5", "name: Bob"]),
        ("name;price\nÄpfel;1,50\n", "a.csv", ["name: Äpfel; price: 1,50"]),
        ("a\tb\n1\t2\n", "a.tsv", ["a: 1; b: 2"]),
        ('q,"x, y"\n"line\nbreak",2\n', "a.csv", ["q: line break; x, y: 2"]),
        ("1,2\n3,4\n", "a.csv", ["1 | 2", "3 | 4"]),
        ("Report 2024,,\nTeam,City,Wins\nRed,Rome,3\n", "a.csv",
         ["Report 2024", "Team: Red; City: Rome; Wins: 3"]),
    ],
)  # fmt: skip
def test_rows_name_their_columns(source: str, name: str, lines: list[str]) -> None:
    assert load(source.encode(), name).text.split("\n") == lines


def test_mail_shows_subject_and_body() -> None:
    mail = (
        "From: =?utf-8?q?J=C3=B6rg?= <j@example.org>\nTo: a@example.org\n"
        "Subject: =?utf-8?b?R3LDvMOfZQ==?=\n"
        'Content-Type: multipart/mixed; boundary="b"\n\n'
        '--b\nContent-Type: multipart/alternative; boundary="c"\n\n'
        "--c\nContent-Type: text/plain; charset=iso-8859-1\n"
        "Content-Transfer-Encoding: quoted-printable\n\n"
        "Sch=F6n.\n--c\nContent-Type: text/html\n\n<p>other</p>\n--c--\n--b\n"
        "Content-Type: application/pdf\n"
        'Content-Disposition: attachment; filename="x.pdf"\n\nAAAA\n--b--\n'
    )
    parsed = load(mail.encode(), "a.eml")
    assert parsed.title == "Grüße"
    assert parsed.text == "Subject: Grüße\nFrom: Jörg <j@example.org>\nTo: a@example.org\n\nSchön."
    assert parsed.report.skipped[0]["what"] == "attachment x.pdf"


def test_xml_gives_its_texts() -> None:
    parsed = load(
        b"<?xml version='1.0'?><d><title>Tea</title><p>Boil <b>hot</b> water.</p></d>", "a.xml"
    )
    assert parsed.title == "Tea"
    assert parsed.text.split("\n") == ["Tea", "Boil", "hot", "water."]
