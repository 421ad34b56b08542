"""XML of no known kind: the text of its elements, one per line."""

from citewell.ingest.draft import Draft
from citewell.ingest.formats.xml_parts import local_name, parse_xml
from citewell.ingest.normalise import one_line

_TITLES = frozenset(("title", "name", "subject"))


def read_xml(data: bytes, draft: Draft) -> None:
    """Read the text of every element in the order of the file."""
    root = parse_xml(data, allow_doctype=True)
    named = next((item for item in root.iter() if local_name(item).lower() in _TITLES), None)
    draft.title = one_line("".join(named.itertext())) if named is not None else ""
    for text in root.itertext():
        if not text.isspace():
            draft.block(one_line(text), tight=True)
