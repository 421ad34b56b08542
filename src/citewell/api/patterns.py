"""The patterns that texts of requests must have, each with its meaning in words."""

from collections.abc import Mapping

from citewell.domain import READER

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
"""A collection's name, or a group's."""
ONE_READER = f"^(?:{READER.pattern})$"
SHA256 = r"^[0-9a-f]{64}$"
VISIBLE = r"^[\x20-\x7e]+$"
MEANINGS: Mapping[str, str] = {
    NAME: "have 1 to 63 letters a to z, digits, dots, hyphens or underlines, and begin with a "
    "letter or a digit, such as handbooks-2026",
    ONE_READER: "be role:viewer, role:editor, role:admin, or group: and a group's name, such as "
    "group:finance",
    SHA256: "be a SHA-256 in 64 lower-case hexadecimal digits",
    VISIBLE: "hold only ASCII characters that can be shown, such as a UUID",
}
"""What a text must do that has one of them; every pattern of the API is here."""
