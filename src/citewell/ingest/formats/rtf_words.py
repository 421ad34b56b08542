"""The control words of RTF: which begin a group that is no text, which stand for a character."""

SYMBOLS = {
    "tab": "\t", "line": "\n", "lbr": "\n", "softline": "\n", "emdash": "—", "endash": "–",
    "bullet": "•", "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”",
    "emspace": "\u2003", "enspace": "\u2002", "qmspace": "\u2005", "zwj": "\u200d",
    "zwnj": "\u200c", "~": "\xa0", "_": "\u2011", "\\": "\\", "{": "{", "}": "}",
}  # fmt: skip
ENDS = frozenset(("par", "sect", "page", "pagebb", "column", "\n", "\r"))
KINDS = {
    "fonttbl": "fonts", "stylesheet": "styles", "footnote": "note", "shptxt": "box",
    "title": "title", "author": "author", "subject": "subject", "keywords": "keywords",
    "creatim": "created", "revtim": "modified",
}  # fmt: skip
"""Groups whose text is kept, but is not the document's running text."""
DATES = frozenset(("created", "modified"))
PROPERTIES = frozenset(("title", "author", "subject", "keywords"))
SKIPPED = frozenset(
    """
    colortbl header headerl headerr headerf footer footerl footerr footerf pict nonshppict
    object objdata fldinst xe tc tcn rxe bkmkstart bkmkend listtable listoverridetable rsidtbl
    generator operator company doccomm comment hlinkbase vern printim buptim edmins nofpages
    nofwords nofchars nofcharsws annotation atnid atnauthor atrfstart atrfend atntime atnicn
    atnref atnparent atndate themedata colorschememapping datastore latentstyles xmlnstbl
    filetbl revtbl userprops private ftnsep ftnsepc ftncn aftnsep aftnsepc aftncn pgptbl
    pnseclvl panose fname falt manager category template passwordhash protusertbl sv sn
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
TOLD = {
    "pict": None,
    "object": ("embedded objects", "not read"),
    "annotation": ("comments", "not part of the text"),
} | dict.fromkeys(
    ("header", "headerl", "headerr", "headerf", "footer", "footerl", "footerr", "footerf"),
    ("page headers and footers", "they repeat on each page"),
)
"""Skipped groups that the report names; None counts an image."""
CHARSETS = {
    77: "mac_roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "gb18030", 136: "cp950",
    161: "cp1253", 162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257",
    204: "cp1251", 222: "cp874", 238: "cp1250", 254: "cp437", 255: "cp850",
}  # fmt: skip
BASES = {"mac": "mac_roman", "pc": "cp437", "pca": "cp850", "ansi": "cp1252"}
