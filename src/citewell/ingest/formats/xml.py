"""XML of no known kind: the text of its elements, one per line."""

import re

from citewell.ingest.charset import declared_charset, decode
from citewell.ingest.draft import Draft
from citewell.ingest.formats.xml_parts import local_name, parse_xml
from citewell.ingest.normalise import one_line

_DECLARATION = re.compile(r"\A[\ufeff\s]*<\?xml[^>]*\?>")
_TITLES = frozenset(("title", "name", "subject"))


def read_xml(data: bytes, draft: Draft) -> None:
    """Read the text of every element in the order of the file."""
    text, draft.encoding, warnings = decode(data, declared_charset(data))
    draft.warnings += warnings
    root = parse_xml(
        _DECLARATION.sub("", text, count=1).encode(errors="replace"), allow_doctype=True
    )
    named = next((item for item in root.iter() if local_name(item).lower() in _TITLES), None)
    draft.title = one_line("".join(named.itertext())) if named is not None else ""
    for text in root.itertext():
        if not text.isspace():
            draft.block(one_line(text), tight=True)
    draft.skip(
        "attributes", "only elements hold text", sum(len(item.attrib) for item in root.iter())
    )
