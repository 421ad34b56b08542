"""The zip package that Office and EPUB files are: parts, relations, properties."""

import io
import posixpath
import zipfile
import zlib

from citewell.domain import Json
from citewell.errors import DocumentRejected
from citewell.ingest.draft import Draft
from citewell.ingest.formats.xml_parts import Element, attribute, local_name, parse_xml

_PROPERTIES = {"title": "title", "creator": "author", "subject": "subject", "keywords": "keywords",
               "created": "created", "modified": "modified", "date": "date",
               "language": "language", "publisher": "publisher"}  # fmt: skip


_UNREAD = (
    ("charts/chart", "charts", "drawings are not read"),
    ("diagrams/data", "diagrams", "drawings are not read"),
    ("embeddings/", "embedded files", "upload each as a file of its own"),
    ("comments", "parts with comments", "they are not part of the text"),
)


class Package:
    """Reads a zip file's parts. The archive was guarded before."""

    def __init__(self, data: bytes) -> None:
        self._archive = zipfile.ZipFile(io.BytesIO(data))
        self.names = set(self._archive.namelist())

    def read(self, name: str) -> bytes | None:
        """Return a part's bytes, or None if it is not there.

        Raises:  DocumentRejected – ``corrupt``.
        """
        if name not in self.names:
            return None
        try:
            return self._archive.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError) as error:
            raise DocumentRejected(
                "corrupt",
                "A part of the file is damaged. Open it in its own program, save it anew and "
                "upload that.",
            ) from error

    def xml(self, name: str) -> Element | None:
        """Return a part's root element, or None if it is not there.

        Raises:  DocumentRejected – ``corrupt`` or ``entity_expansion``.
        """
        data = self.read(name)
        return parse_xml(data) if data is not None else None

    def needed_xml(self, name: str) -> Element:
        """Return the root element of a part without which the file cannot be read.

        Raises:  DocumentRejected – ``corrupt``: it is not there.
        """
        root = self.xml(name)
        if root is None:
            raise DocumentRejected(
                "corrupt",
                f"The part {name} is missing. Open the file in its own program, save it anew and "
                "upload that.",
            )
        return root

    def relations(self, name: str) -> list[tuple[str, str, str]]:
        """Return the part's relations: id, last word of the type, path of the target."""
        folder, _, file = name.rpartition("/")
        root = self.xml(posixpath.join(folder, "_rels", f"{file}.rels"))
        found: list[tuple[str, str, str]] = []
        for relation in root if root is not None else ():
            target = relation.get("Target", "")
            if relation.get("TargetMode") == "External" or not target:
                continue
            path = target.lstrip("/") if target.startswith("/") else posixpath.join(folder, target)
            kind = relation.get("Type", "").rpartition("/")[2]
            found.append((relation.get("Id", ""), kind, posixpath.normpath(path)))
        return found

    def main_part(self, fallback: str) -> str:
        """Return the path of the part that holds the document itself."""
        for _, kind, path in self.relations(""):
            if kind == "officeDocument" and path in self.names:
                return path
        return fallback

    def skip_unread(self, folder: str, draft: Draft, *, but: str = "") -> None:
        """Note the charts, embedded files and comments below a folder, which no reader opens."""
        for start, what, why in _UNREAD:
            if what != but:
                place = f"{folder}/{start}"
                draft.skip(what, why, sum(name.startswith(place) for name in self.names))

    def properties(self) -> Json:
        """Return title, author and dates from ``docProps/core.xml``."""
        root = self.xml("docProps/core.xml")
        return read_properties(root) if root is not None else {}


def read_properties(root: Element) -> Json:
    """Return the Dublin Core properties below an element; several authors are joined."""
    values: Json = {}
    for element in root:
        name = _PROPERTIES.get(local_name(element))
        text = " ".join((element.text or "").split())
        if name and text:
            values[name] = (
                f"{values[name]}, {text}"
                if name == "author" and name in values
                else (values.get(name, text))
            )
    return values


def flag(element: Element | None) -> bool:
    """Return an on/off property of OOXML: present and not switched off."""
    return element is not None and attribute(element, "val") not in {"0", "false", "off"}
