"""XML inside of documents: parsed without document type, entities or network."""

import xml.etree.ElementTree as ET
from xml.parsers import expat

from citewell.errors import DocumentRejected

Element = ET.Element


class _SeenEnough(Exception):
    """The prolog is over."""


def parse_xml(data: bytes, *, allow_doctype: bool = False) -> Element:
    """Parse XML that declares no entities.

    Raises:  DocumentRejected – ``entity_expansion``: it declares entities (or any document type,
             where none belongs); ``corrupt``: it is not well-formed.
    """
    _guard_prolog(data, allow_doctype=allow_doctype)
    try:
        return ET.fromstring(data)  # noqa: S314 - the prolog was checked: no entities
    except (ET.ParseError, ValueError, LookupError) as error:
        raise _broken() from error


def _guard_prolog(data: bytes, *, allow_doctype: bool) -> None:
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise DocumentRejected(
            "entity_expansion",
            "The file declares XML entities, which can expand without bound, so it was not read. "
            "Save it anew in its own program.",
        )

    def stop(*_: object) -> None:
        raise _SeenEnough

    if not allow_doctype:
        parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = stop
    try:
        parser.Parse(data, True)
    except _SeenEnough:
        return
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise _broken() from error


def _broken() -> DocumentRejected:
    return DocumentRejected(
        "corrupt",
        "A part of the file is not well-formed XML. Open it in its own program, save it anew and "
        "upload that.",
    )


def local_name(element: Element) -> str:
    """Return an element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def attribute(element: Element, name: str) -> str | None:
    """Return an attribute by its name without namespace."""
    direct = element.get(name)
    if direct is not None:
        return direct
    suffix = "}" + name
    return next((value for key, value in element.items() if key.endswith(suffix)), None)


def child(element: Element | None, *path: str) -> Element | None:
    """Return the first element down the path of names without namespace."""
    for name in path:
        if element is None:
            return None
        element = next((inside for inside in element if local_name(inside) == name), None)
    return element


def whole_number(text: str | None, otherwise: int) -> int:
    """Return an attribute's whole number, or what is meant where it is missing or broken."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 7 else otherwise
