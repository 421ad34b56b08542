"""Bytes to characters: byte-order marks, UTF-8, UTF-16/32 without mark, declared, guessed."""

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8", "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "utf-16"),
)
_DECLARED = re.compile(
    rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._:-]+)|"""
    rb"""<meta[^>]{0,500}?charset\s*=\s*["']?\s*([A-Za-z0-9._:-]+)""",
    re.IGNORECASE,
)
_WEB_NAMES = {"iso-8859-1": "cp1252", "latin-1": "cp1252", "ascii": "cp1252", "us-ascii": "cp1252",
              "shift_jis": "cp932", "gb2312": "gb18030", "gbk": "gb18030", "euc-kr": "cp949",
              "iso-8859-9": "cp1254", "tis-620": "cp874", "x-sjis": "cp932"}  # fmt: skip
_C1 = re.compile("[\x80-\x9f]")
_WESTERN = frozenset("äöüßéèêëàâçîïôûùñóíáúåøæœãõÄÖÜÉÈÊÀÂÇÎÔÑÓÅØÆŒ¡¿“”‘’‚„–—…•€£°§«»©®™·²½\xa0")
_USUAL = re.compile(
    "[\t\n\r -~\xa0-\u06ff\u0900-\u0e7f\u1e00-\u1fff\u2010-\u203f\u3000-\u30ff\u4e00-\u9fff"
    "\uac00-\ud7a3\uff00-\uffef]"
)
_SPACES = re.compile("[ \n\r]")
_JAPANESE_MAIL = (b"\x1b$B", b"\x1b$@")
_RARE = ["cp037", "cp1026", "cp1140", "cp273", "cp500", "cp875", "hp_roman8", "iso8859_3",
         "iso8859_4", "iso8859_10", "iso8859_14", "iso8859_16", "kz1048", "ptcp154"]  # fmt: skip
_NO_CHARSETS = frozenset(
    ("undefined", "idna", "punycode", "unicode_escape", "raw_unicode_escape", "utf-7")
)
_SAMPLE_BYTES = 200_000
_TEXT_CONTROLS = b"\t\n\r\f\x1b\x08\x0b"


def declared_charset(data: bytes) -> str | None:
    """Return the charset that an XML declaration or a meta element names, if Python knows it."""
    found = _DECLARED.search(data[:4096])
    return _known((found[1] or found[2]).decode("ascii")) if found else None


def decode(data: bytes, declared: str | None = None) -> tuple[str, str, list[str]]:
    """Return the text, the name of its encoding and what was doubtful.

    Order:   byte-order mark, UTF-16/32 by their zero bytes, ISO-2022-JP by its escapes, UTF-8,
             the declared charset if the bytes fit it, a guess from the bytes, Windows-1252.
    Holds:   never fails; bytes that fit no encoding become U+FFFD and a warning says so.
    """
    for mark, codec, name in _MARKS:
        if data.startswith(mark):
            text, warnings = _decode_fully(data[len(mark) :], codec)
            return text, name, warnings
    certain = _wide_codec(data) or _escaped_codec(data)
    if certain:
        text, warnings = _decode_fully(data, certain)
        return text, certain, warnings
    try:
        return data.decode("utf-8"), "utf-8", []
    except UnicodeDecodeError as error:
        if _cut_or_mostly_utf8(data, error):
            text = data.decode("utf-8", "replace")
            return text, "utf-8", [_broken(text, "utf-8")]
    codec = _known(declared) if declared else None
    if codec and codec not in {"utf-8", "utf_8"} and _plausible(data, codec):
        return data.decode(codec), codec, []
    guess, sure = _guess(data)
    warnings = (
        [f"The encoding was not declared rightly; {guess} was found from the bytes."]
        if (declared and codec != guess)
        else []
        if sure
        else [f"The encoding was not declared; {guess} was guessed. Check that the text is right."]
    )
    text, broken = _decode_fully(data, guess)
    return text, guess, warnings + broken


def looks_like_text(head: bytes) -> bool:
    """Say whether the first bytes of a file are text in any encoding."""
    if any(head.startswith(mark) for mark, _, _ in _MARKS) or _wide_codec(head):
        return True
    controls = sum(byte < 32 and byte not in _TEXT_CONTROLS for byte in head)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the end may cut a character
        return controls <= max(2, len(head) // 20)
    except UnicodeDecodeError:
        return controls <= len(head) // 200 and 0 not in head


def _decode_fully(data: bytes, codec: str) -> tuple[str, list[str]]:
    try:
        return data.decode(codec), []
    except UnicodeError:
        text = data.decode(codec, "replace")
        return text, [_broken(text, codec)]


def _broken(text: str, codec: str) -> str:
    return f"{text.count(chr(0xFFFD))} places are no valid {codec} and are shown as \ufffd."


def _cut_or_mostly_utf8(data: bytes, error: UnicodeDecodeError) -> bool:
    """Tell UTF-8 with a few broken bytes from another encoding."""
    if error.start > 0 and error.end >= len(data) and error.reason == "unexpected end of data":
        return any(byte >= 0x80 for byte in data[: error.start])
    sample = data[:_SAMPLE_BYTES].decode("utf-8", "replace")
    broken = sample.count("\ufffd")
    good = sum(character >= "\x80" for character in sample) - broken
    return broken * 20 < good


def _wide_codec(data: bytes) -> str | None:
    """Find UTF-16 or UTF-32 without a mark by where their zero bytes stand."""
    sample = data[: 4096 - 4096 % 4]
    sample = sample[: len(sample) - len(sample) % 4]
    if len(sample) < 8 or 0 not in sample:
        return None
    quarter = len(sample) // 4
    zeros = [sample[place::4].count(0) / quarter for place in range(4)]
    if zeros[2] > 0.9 and zeros[3] > 0.9 and zeros[0] < 0.1:
        return _fits(sample, "utf-32-le")
    if zeros[0] > 0.9 and zeros[1] > 0.9 and zeros[3] < 0.1:
        return _fits(sample, "utf-32-be")
    even, odd = (zeros[0] + zeros[2]) / 2, (zeros[1] + zeros[3]) / 2
    if odd > 0.3 and even < 0.05:
        return _fits(sample, "utf-16-le")
    if even > 0.3 and odd < 0.05:
        return _fits(sample, "utf-16-be")
    return _wide_by_letters(sample)


def _escaped_codec(data: bytes) -> str | None:
    """Find the Japanese of old e-mail, whose bytes are plain ASCII between escapes."""
    escaped = any(escape in data for escape in _JAPANESE_MAIL)
    return "iso2022_jp" if escaped and _plausible(data, "iso2022_jp") else None


def _wide_by_letters(sample: bytes) -> str | None:
    """Find UTF-16 of a script without zero bytes: read the right way round, it is all letters."""
    shares = {
        codec: len(_USUAL.findall(text)) / len(text)
        for codec in ("utf-16-le", "utf-16-be")
        if _SPACES.search(text := sample.decode(codec, "replace"))
    }
    best = max(shares, key=lambda codec: shares[codec], default=None)
    return best if best and shares[best] > 0.95 else None


def _fits(sample: bytes, codec: str) -> str | None:
    text = sample.decode(codec, "replace")
    odd = sum(not character.isprintable() and not character.isspace() for character in text)
    return codec if odd * 20 <= len(text) else None


def _plausible(data: bytes, codec: str) -> bool:
    """Say whether the bytes decode in the codec and give no row of C1 control characters."""
    try:
        sample = data.decode(codec)[:_SAMPLE_BYTES]
    except (UnicodeError, LookupError):
        return False
    return len(_C1.findall(sample)) * 100 <= len(sample)


def _guess(data: bytes) -> tuple[str, bool]:
    """Return the likeliest codec and whether it is as good as certain."""
    from charset_normalizer import from_bytes  # noqa: PLC0415 - only a few files need it

    japanese = _japanese(data)
    if japanese:
        return japanese, True
    sample = data[:_SAMPLE_BYTES]
    if _is_western(sample):
        return "cp1252", True
    best = from_bytes(sample, preemptive_behaviour=False, cp_exclusion=_RARE).best()
    return (_known(best.encoding) if best else None) or "cp1252", False


def _is_western(sample: bytes) -> bool:
    """Find Windows-1252 by its letters: statistics on the few of a short text mislead."""
    high = [character for character in sample.decode("cp1252", "replace") if character > "\x7f"]
    return sum(character in _WESTERN for character in high) >= len(high) * 0.98


def _japanese(data: bytes) -> str | None:
    """Find Shift-JIS and EUC-JP by their kana, which other encodings hardly ever give."""
    for codec in ("cp932", "euc_jp"):
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            continue
        wide = sum(character > "\u2e7f" for character in text)
        kana = sum("\u3040" <= character <= "\u30ff" for character in text)
        half = sum("\uff61" <= character <= "\uff9f" for character in text)
        if kana >= 2 and kana * 8 >= wide and half * 4 <= wide:
            return codec
    return None


def _known(name: str) -> str | None:
    """Return Python's name of a charset for text; None for another one, or for what is none."""
    lowered = name.strip().lower().replace("_", "-")
    lowered = _WEB_NAMES.get(lowered, _WEB_NAMES.get(lowered.replace("-", "_"), lowered))
    try:
        found = codecs.lookup(lowered)
    except (LookupError, ValueError):
        return None
    if found.name in _NO_CHARSETS or not found._is_text_encoding:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue, reportUnknownMemberType]
        return None
    return found.name
