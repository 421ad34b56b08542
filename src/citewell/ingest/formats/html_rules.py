"""Which parts of an HTML page are text to a reader, and which are furniture."""

import re

from selectolax.lexbor import LexborNode

from citewell.errors import DocumentRejected

BLOCKS = frozenset(
    """
    address article aside blockquote body caption center dd details dialog dir div
    dl dt fieldset figcaption figure footer form header hr html legend li main menu
    ol p pre section summary table tbody td tfoot th thead tr ul
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
HEADINGS = {f"h{level}": level for level in range(1, 7)}
_DROPPED = {
    "script": ("scripts", "not text"),
    "style": ("styles", "not text"),
    "template": ("templates", "not shown"),
    "noscript": ("no-script texts", "not shown"),
    "nav": ("navigation", "page furniture"),
    "svg": ("drawings", "OCR is not enabled"),
    "canvas": ("drawings", "OCR is not enabled"),
    "iframe": ("embedded pages", "not part of the file"),
    "object": ("embedded objects", "not part of the file"),
    "embed": ("embedded objects", "not part of the file"),
    "video": ("media", "not text"),
    "audio": ("media", "not text"),
    "button": ("form fields", "page furniture"),
    "select": ("form fields", "page furniture"),
    "textarea": ("form fields", "page furniture"),
    "input": ("form fields", "page furniture"),
    "head": ("", ""),
    "rp": ("", ""),
}
_TAG = re.compile(r"<(/?)([a-zA-Z][\w:-]*)")
_ENDS_LEFT_OUT = frozenset(
    """
    area base body br col colgroup dd dt embed head hr html img input li link meta option p param
    rb rp rt source tbody td tfoot th thead tr track wbr
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
_DEEPEST_ELEMENTS = 25_000
_FURNITURE_WORDS = frozenset(
    """
    toc table-of-contents tableofcontents sphinxsidebar headerlink mw-editsection
    mw-jump-link navbox catlinks printfooter vector-menu mw-portlet noprint linenos
    breadcrumb breadcrumbs navbar pilcrow anchorjs-link skip-link skiplink jump
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
_FURNITURE_IDS = frozenset(
    """
    toc rfc.toc table-of-contents tableofcontents mw-navigation sidebar footer
    siteNotice
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
_FURNITURE_ROLES = frozenset(("navigation", "search", "banner", "contentinfo", "menu", "menubar"))
_INVISIBLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_LINK_SYMBOLS = frozenset(("¶", "#", "§", "🔗", "⇡", "⇣", "↑", "^", "↩", "↩︎", "\uf0c1"))


def refuse_depth(text: str) -> None:
    """Refuse a page whose depth would take the HTML parser minutes: its time grows by the square.

    Raises:  DocumentRejected – ``corrupt``: more than 25,000 elements stand in each other.
    """
    if text.count("<") <= _DEEPEST_ELEMENTS:
        return
    depth = 0
    for found in _TAG.finditer(text):
        if found[2].lower() not in _ENDS_LEFT_OUT:
            depth = max(depth - 1, 0) if found[1] else depth + 1
            if depth > _DEEPEST_ELEMENTS:
                raise DocumentRejected(
                    "corrupt",
                    "The file is nested deeper than any document needs. Save it anew in its own "
                    "program.",
                )


def dropped(node: LexborNode, tag: str) -> tuple[str, str] | None:
    """Return what and why if the element and all inside it is not text of the page."""
    if tag in _DROPPED:
        return _DROPPED[tag]
    attributes = node.attributes
    if attributes:
        reason = _dropped_by_attributes(attributes)
        if reason:
            return reason
    if tag == "a" and node.text(deep=True, strip=True) in _LINK_SYMBOLS:
        return "permanent links", "page furniture"
    if tag == "footer" and node.parent is not None and node.parent.tag == "body":
        return "page footers", "page furniture"
    return None


def _dropped_by_attributes(attributes: dict[str, str | None]) -> tuple[str, str] | None:
    if "hidden" in attributes and attributes["hidden"] != "until-found":
        return "hidden elements", "invisible to a reader"
    if attributes.get("aria-hidden") == "true" or _INVISIBLE.search(attributes.get("style") or ""):
        return "hidden elements", "invisible to a reader"
    if attributes.get("role") in _FURNITURE_ROLES or attributes.get("id") in _FURNITURE_IDS:
        return "navigation", "page furniture"
    classes = attributes.get("class")
    if classes and not _FURNITURE_WORDS.isdisjoint(classes.split()):
        return "navigation", "page furniture"
    return None


_PAIRS = {"mfrac": "/", "msup": "^", "msub": "_", "mover": "^", "munder": "_"}
_DEEPEST = 40


def linear_math(node: LexborNode, depth: int = 0) -> str:
    """Write MathML on one line: a/b, x^2, a_n, sqrt(x)."""
    if depth > _DEEPEST:
        return ""
    if node.tag == "-text":
        return (node.text_content or "").strip()
    if node.tag in {"annotation", "annotation-xml"}:
        return ""
    parts: list[str] = []
    child = node.first_child
    while child is not None:
        part = linear_math(child, depth + 1)
        if part:
            parts.append(part)
        child = child.next
    return _joined(node.tag or "", parts)


def _joined(tag: str, parts: list[str]) -> str:
    if tag in _PAIRS and len(parts) == 2:
        first, second = (_grouped(part) for part in parts)
        return f"{first}{_PAIRS[tag]}{second}"
    if tag == "msubsup" and len(parts) == 3:
        return f"{_grouped(parts[0])}_{_grouped(parts[1])}^{_grouped(parts[2])}"
    if tag == "msqrt":
        return f"sqrt({''.join(parts)})"
    if tag == "mo" and parts and parts[0] in "=<>≤≥≈≠+−±×·∈→":
        return f" {parts[0]} "
    if tag in {"mtr", "mlabeledtr"}:
        return " ".join(part.strip() for part in parts) + "; "
    if parts and parts[0] in {" − ", " + ", " ± "}:
        parts[0] = parts[0].strip()
    return "".join(parts)


def _grouped(part: str) -> str:
    return f"({part.strip()})" if len(part) > 1 and not part.isalnum() else part
