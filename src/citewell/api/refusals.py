"""What is wrong with a request, as sentences: one table from the validator's errors to words.

The validator's own words speak of Python, and some of them repeat what was sent.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from citewell.api.patterns import MEANINGS

MOST_SENTENCES = 4
MOST_KNOWN = 15
MOST_PLACE_CHARACTERS = 100
UNKNOWN_FIELD = "unknown_field"
"""Type of the error of ``schemas.Request``; its ``ctx`` has the fields that are known."""
NOT_JSON = "The request body is not JSON. Correct it; a quote or a comma may be missing."
OTHERWISE = "be of another form; /docs shows it"
NO_FILE = "Expected UploadFile"
"""How FastAPI's own words begin where a form's field is no file."""
SUBJECTS = {"query": "The query parameter", "header": "The header", "path": "The address's"}

Error = Mapping[str, Any]
Loc = tuple[str | int, ...]

_TEXT, _WHOLE, _NUMBER = "be a text", "be a whole number", "be a number"
_YES_NO, _ID = "be true or false", "be an id, which looks like a UUID"
_TIME = "be a time such as 2026-11-01T00:00:00Z"
_DAY = "be a date such as 2026-11-01"
_LIST, _OBJECT, _UNICODE = "be a list", "be an object", "be valid Unicode"
WORDS: Mapping[str, str] = {
    "string_type": _TEXT,
    "string_sub_type": _TEXT,
    "string_unicode": _UNICODE,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE + " of fewer digits",
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "be a finite number",
    "bool_type": _YES_NO,
    "bool_parsing": _YES_NO,
    "uuid_type": _ID,
    "uuid_parsing": _ID,
    "uuid_version": _ID,
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "datetime_object_invalid": _TIME,
    "timezone_naive": _TIME,
    "timezone_aware": _TIME,
    "date_type": _DAY,
    "date_parsing": _DAY,
    "date_from_datetime_parsing": _DAY,
    "date_from_datetime_inexact": _DAY,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "iterable_type": _LIST,
    "dict_type": _OBJECT,
    "mapping_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dataclass_type": _OBJECT,
    "none_required": "be null",
    "bytes_type": _TEXT,
    "url_parsing": "be an address that begins with https://",
    "url_type": "be an address that begins with https://",
    "url_scheme": "be an address that begins with https://",
}
"""What a value must do, by the type of its error."""


def _length(context: Error, one: str, many: str) -> str:
    """Say how long a value may be; an error names only the bound that it broke."""
    bound = "max_length" if "max_length" in context else "min_length"
    number = context[bound]
    least = "at most" if bound == "max_length" else "at least"
    return f"have {least} {number:,} {one if number == 1 else many}"


def _characters(context: Error) -> str:
    return _length(context, "character", "characters")


def _entries(context: Error) -> str:
    return _length(context, "entry", "entries")


COUNTED: Mapping[str, Callable[[Error], str]] = {
    "string_too_short": _characters,
    "string_too_long": _characters,
    "too_short": _entries,
    "too_long": _entries,
    "greater_than": lambda ctx: f"be more than {ctx['gt']}",
    "greater_than_equal": lambda ctx: f"be at least {ctx['ge']}",
    "less_than": lambda ctx: f"be less than {ctx['lt']}",
    "less_than_equal": lambda ctx: f"be at most {ctx['le']}",
    "multiple_of": lambda ctx: f"be a multiple of {ctx['multiple_of']}",
    "string_pattern_mismatch": lambda ctx: MEANINGS.get(ctx["pattern"], OTHERWISE),
}
"""The same where the error's context has a number or a pattern."""


def tell(errors: Iterable[Error], body: object = None) -> str:
    """Say what is wrong with a request and what to do, without repeating what was sent.

    Several errors at one place, as a union has them, become one sentence.
    """
    places: dict[tuple[str, str], list[Error]] = {}
    for error in errors:
        if error["type"] == "json_invalid":
            return NOT_JSON
        places.setdefault(_place(error, body), []).append(error)
    told = [_sentence(source, place, found) for (source, place), found in places.items()]
    return " ".join(dict.fromkeys(told[:MOST_SENTENCES]))


def _sentence(source: str, place: str, errors: Sequence[Error]) -> str:
    subject = _subject(source, place)
    first = errors[0]
    context = first.get("ctx", {})
    if first["type"] == "missing":
        return f"{subject} is missing. Add it." if place else "The request has no body. Send one."
    if first["type"] == "union_tag_not_found":
        return f"{subject} is missing. Add it; /docs shows what it may be."
    if first["type"] in {UNKNOWN_FIELD, "extra_forbidden"}:
        return f"{subject} is not known here.{_known(context.get('known', ()))}"
    if first["type"] == "value_error":
        return _own_words(subject, str(first["msg"]).removeprefix("Value error, "))
    return f"{subject} must {_wanted(errors)}."


def _subject(source: str, place: str) -> str:
    if not place:
        return "The request body"
    return f"{SUBJECTS.get(source, 'The field')} {place}"


def _own_words(subject: str, said: str) -> str:
    """Complete what one of our validators said: a sentence, or one that lacks its subject."""
    if said.startswith(NO_FILE):
        said = "must be a file, sent as multipart/form-data"
    if not said[:1].isupper():
        said = f"{subject} {said}"
    return said if said.endswith(".") else f"{said}."


def _known(names: Sequence[str]) -> str:
    if not names:
        return " Leave it out."
    more = f", and {len(names) - MOST_KNOWN} more" if len(names) > MOST_KNOWN else ""
    return f" Known are {', '.join(names[:MOST_KNOWN])}{more}."


def _wanted(errors: Sequence[Error]) -> str:
    """Join what would each have made a value valid."""
    allowed: list[str] = []
    others: list[str] = []
    for error in errors:
        context = error.get("ctx", {})
        if error["type"] in {"literal_error", "enum"}:
            allowed += _values(context["expected"])
        elif error["type"] == "union_tag_invalid":
            allowed += _values(context["expected_tags"])
        elif error["type"] in COUNTED:
            others.append(COUNTED[error["type"]](context))
        else:
            others.append(WORDS.get(error["type"], OTHERWISE))
    chosen = ", ".join(dict.fromkeys(allowed))
    several = f"be one of {chosen}" if "," in chosen else f"be {chosen}"
    if _NUMBER in others:
        others = [each for each in others if each != _WHOLE]
    wanted = [several] if chosen else []
    wanted += [each for each in dict.fromkeys(others) if each not in wanted]
    if all(each.startswith("be ") for each in wanted):
        wanted[1:] = [each.removeprefix("be ") for each in wanted[1:]]
    return " or ".join(wanted)


def _values(listed: str) -> list[str]:
    """Read the validator's list of values: ``'a', 'b' or 'c'``."""
    return [item.strip("'") for item in listed.replace(" or ", ", ").split(", ")]


def _place(error: Error, body: object) -> tuple[str, str]:
    """Return where a value came from, and its name as the caller wrote it."""
    loc: Loc = tuple(error["loc"])
    source, rest = (str(loc[0]), loc[1:]) if loc else ("body", loc)
    if source not in {"body", *SUBJECTS}:
        source, rest = "body", loc
    missing = error["type"] == "missing"
    if source != "body":
        parts = list(rest[:1])
    elif isinstance(body, dict | list):
        parts = _written(rest, cast("object", body), missing)
    else:
        parts = [part for part in rest if _is_name(part)]
    context = error.get("ctx", {})
    if error["type"].startswith("union_tag") and "discriminator" in context:
        parts = [*parts, str(context["discriminator"]).strip("'")]
    if error["type"] == UNKNOWN_FIELD:
        parts = [*parts, context["field"]]
    return source, _shown(parts)


def _written(loc: Loc, body: object, missing: bool) -> list[str | int]:
    """Leave out of a place what is not in the body: the names of a union's members."""
    parts: list[str | int] = []
    here: Any = body
    for number, part in enumerate(loc, 1):
        if isinstance(here, dict) and part in here:
            here = cast("dict[Any, Any]", here)[part]
        elif isinstance(here, list) and isinstance(part, int):
            found = cast("list[Any]", here)
            here = found[part] if part < len(found) else None
        elif not (missing and number == len(loc)):
            continue
        parts.append(part)
    return parts


def _is_name(part: str | int) -> bool:
    """Say whether a part of a place is a field's, and not a union's member: ``list[str]``."""
    return isinstance(part, int) or not set(part) & set("[](){}'\" ")


def _shown(parts: Sequence[str | int]) -> str:
    """Write a place: ``filters.from``, ``ids[0]``; what cannot be shown is left out."""
    joined = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    kept = "".join(letter for letter in joined if letter.isprintable() and letter not in "\\/")
    return kept.removeprefix(".").encode("utf-8", "replace").decode()[:MOST_PLACE_CHARACTERS]
