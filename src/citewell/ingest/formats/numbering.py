"""Word's automatic numbers: which label each numbered paragraph shows."""

from dataclasses import dataclass, field

from citewell.ingest.formats.xml_parts import Element, attribute, child, local_name, whole_number

_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"),
          (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip
_LEVELS = 9


@dataclass(slots=True)
class _Level:
    kind: str = "decimal"
    text: str = ""
    start: int = 1


@dataclass(slots=True)
class Numbering:
    """Counts the numbered paragraphs of a document in their order."""

    levels: dict[str, dict[int, _Level]] = field(default_factory=dict[str, dict[int, "_Level"]])
    abstract_of: dict[str, str] = field(default_factory=dict[str, str])
    counts: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    restarts: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])

    def label(self, number_id: str, level: int) -> str | None:
        """Count one paragraph and return its label: "2.1", "b)", "-"; None if it has no number."""
        abstract = self.abstract_of.get(number_id)
        levels = self.levels.get(abstract or "", {})
        made = levels.get(level)
        if abstract is None or made is None:
            return None
        if made.kind == "bullet":
            return "-"
        counts = self.counts.setdefault(abstract, {})
        restart = self.restarts.pop((number_id, level), None)
        if restart is not None or level not in counts:
            counts[level] = made.start if restart is None else restart
        else:
            counts[level] += 1
        for deeper in [place for place in counts if place > level]:
            del counts[deeper]
        label = made.text
        for place in range(_LEVELS):
            mark = f"%{place + 1}"
            if mark in label:
                shape = levels.get(place, _Level())
                label = label.replace(mark, _write(counts.get(place, shape.start), shape.kind))
        return label.strip() if made.kind != "none" else None


def read_numbering(root: Element | None) -> Numbering:
    """Read ``numbering.xml``."""
    numbering = Numbering()
    for element in root if root is not None else ():
        if local_name(element) == "abstractNum":
            identifier = attribute(element, "abstractNumId") or ""
            numbering.levels[identifier] = {
                whole_number(attribute(level, "ilvl"), 0): _Level(
                    _value(level, "numFmt", "decimal"),
                    _value(level, "lvlText", ""),
                    whole_number(_value(level, "start", "1"), 1),
                )
                for level in element
                if local_name(level) == "lvl"
            }
        elif local_name(element) == "num":
            _read_instance(element, numbering)
    return numbering


def _read_instance(element: Element, numbering: Numbering) -> None:
    number_id = attribute(element, "numId") or ""
    for inside in element:
        if local_name(inside) == "abstractNumId":
            numbering.abstract_of[number_id] = attribute(inside, "val") or ""
        elif local_name(inside) == "lvlOverride":
            start = child(inside, "startOverride")
            if start is not None:
                level = whole_number(attribute(inside, "ilvl"), 0)
                numbering.restarts[number_id, level] = whole_number(attribute(start, "val"), 1)


def _value(level: Element, name: str, otherwise: str) -> str:
    found = child(level, name)
    value = attribute(found, "val") if found is not None else None
    return otherwise if value is None else value


def _write(count: int, kind: str) -> str:
    if kind.endswith("Letter"):
        letters = chr(ord("a") + (count - 1) % 26) * (1 + (count - 1) // 26)
        return letters.upper() if kind.startswith("upper") else letters
    if kind.endswith("Roman"):
        result = ""
        for worth, letters in _ROMAN:
            while count >= worth and len(result) < 20:
                result += letters
                count -= worth
        return result.upper() if kind.startswith("upper") else result
    return f"{count:02d}" if kind == "decimalZero" else str(count)
