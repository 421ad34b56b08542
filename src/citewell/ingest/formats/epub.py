"""EPUB books: the chapters in their reading order, each an XHTML page."""

import posixpath
from urllib.parse import unquote

from citewell.errors import DocumentRejected
from citewell.ingest.charset import declared_charset, decode
from citewell.ingest.draft import Draft
from citewell.ingest.formats.html import write_html
from citewell.ingest.formats.package import Package, read_properties
from citewell.ingest.formats.xml_parts import Element, child, local_name, parse_xml

_PAGES = frozenset(("application/xhtml+xml", "text/html", "application/x-dtbook+xml"))


def read_epub(data: bytes, draft: Draft) -> None:
    """Read a book into the draft; a section's anchor is "file#id"."""
    package = Package(data)
    path, root = _find_root(package)
    folder = posixpath.dirname(path)
    metadata = child(root, "metadata")
    if metadata is not None:
        draft.metadata.update(read_properties(metadata))
        draft.title = str(draft.metadata.get("title", ""))
        for element in metadata:
            if element.get("property") == "dcterms:modified" and (element.text or "").strip():
                draft.metadata["modified"] = (element.text or "").strip()[:100]
    pages = _reading_order(root, folder)
    protected = package.read("META-INF/encryption.xml") or b""
    draft.encoding = "utf-8"
    for page in pages:
        content = package.read(page)
        if content is None:
            draft.warnings.append(f"The book names {page}, but does not hold it.")
            continue
        if page.encode() in protected:
            raise DocumentRejected(
                "encrypted", "The book is protected against copying. Upload an unprotected copy."
            )
        text, _, warnings = decode(content, declared_charset(content))
        draft.warnings += warnings
        write_html(text, draft, page=posixpath.relpath(page, folder or "."))


def _find_root(package: Package) -> tuple[str, Element]:
    container = package.needed_xml("META-INF/container.xml")
    for element in container.iter():
        path = element.get("full-path", "")
        data = package.read(path) if local_name(element) == "rootfile" else None
        if data is not None:
            return path, parse_xml(data, allow_doctype=True)
    raise DocumentRejected("corrupt", "The book has no list of its chapters. Export it anew.")


def _reading_order(root: Element, folder: str) -> list[str]:
    """Return the paths of the pages that the spine names, without the table of contents."""
    items = {
        item.get("id", ""): item
        for item in (child(root, "manifest") or ())
        if item.get("media-type") in _PAGES and "nav" not in item.get("properties", "").split()
    }
    spine = child(root, "spine")
    return [
        posixpath.normpath(posixpath.join(folder, unquote(items[name].get("href", ""))))
        for entry in (spine if spine is not None else ())
        if (name := entry.get("idref", "")) in items
    ]
