"""Arabic and Hebrew lines of a PDF whose words stand from left to right, as they are drawn.

Some files give their words in the order of the page and not in that of the language. The marks
tell: a full stop that stands before its sentence's last word was drawn there, not written there.
"""

import re

_LETTER = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc"
_RIGHT = re.compile(f"[{_LETTER}]")
_DRAWN = re.compile(f"(?<!\\S)[.,:;!?،؛؟][{_LETTER}]")
_WRITTEN = re.compile(f"[{_LETTER}][.,:;!?،؛؟](?!\\S)")
_PART = re.compile(rf"[{_LETTER}]+|[^\s{_LETTER}]+|\s+")
_MARKS = ".,:;!?،؛؟"
_TURNED = str.maketrans("()[]{}«»", ")(][}{»«")
_LAM_ALEF = re.compile("(?<![\u0621-\u064a])([وفبك]?ا)([إأآ])ل")


def mend_word_order(text: str) -> str:
    """Return a page's text with the words of its right-to-left lines in the order of reading.

    Holds:   text is changed only where more marks stand before words than behind them.
    """
    if not _RIGHT.search(text) or len(_DRAWN.findall(text)) <= len(_WRITTEN.findall(text)):
        return text
    return "\n".join([_mended(line) for line in text.split("\n")])


def _mended(line: str) -> str:
    letters = sum(character.isalpha() for character in line)
    if len(_RIGHT.findall(line)) * 2 <= letters:
        return line
    parts: list[str] = []
    for part in _PART.findall(line):
        if part[0] in _MARKS and len(part) > 1:
            parts += [part[0], part[1:]]
        else:
            parts.append(part)
    parts.reverse()
    turned = [part.translate(_TURNED) for part in _in_own_order(parts)]
    return _LAM_ALEF.sub(r"\1ل\2", "".join(turned).strip())


def _in_own_order(parts: list[str]) -> list[str]:
    """Turn each run of words in Latin letters or figures back, for they are read as drawn."""
    result: list[str] = []
    run: list[str] = []
    for part in parts:
        if _RIGHT.search(part) or part in _MARKS:
            result += _without_edge(run)
            result.append(part)
            run = []
        else:
            run.append(part)
    return result + _without_edge(run)


def _without_edge(run: list[str]) -> list[str]:
    """Turn a run round, but leave the white space at its ends where it is."""
    start, end = 0, len(run)
    while start < end and run[start].isspace():
        start += 1
    while end > start and run[end - 1].isspace():
        end -= 1
    return run[:start] + run[start:end][::-1] + run[end:]
