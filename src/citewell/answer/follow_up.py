"""Know a question that leans on what was said before, and carry the words over that it leans on.

By rule, in English and German, for when no language model can be asked. A question that stands
alone is left as it is, to the letter: words that do not belong to it lead the search astray. In
doubt it stands alone.
"""

import re
from collections.abc import Sequence

from citewell.answer.function_words import ENGLISH, GENERIC, GERMAN_ONLY, STOPWORDS
from citewell.domain import Message

MOST_TURNS = 3
"""Questions that are looked back on, until one stands alone."""
MOST_WORDS, MOST_NAMES = 12, 2
LONG_CLAUSE_WORDS = 3
"""From here on a pronoun is taken to mean something that stands in its own clause."""

_WORD = re.compile(r"[^\W_]+(?:[-'’.][^\W_]+)*")
_YEAR = re.compile(r"1\d{3}|20\d{2}")
_LABEL = re.compile(r"(?=.*\d)(?=.*[^\W\d_])[^\W_]{2,6}")
"""A short name of letters and digits, such as H4 or K1."""
_MARKER = re.compile(r"\[[^\]]*\]")
_NAME = re.compile(r"[A-ZÀ-ÖØ-Þ][\w’'-]+(?:\s+(?:(?:of|de|von|van|der)\s+)?[A-ZÀ-ÖØ-Þ][\w’'-]+)+")
_CLAUSE = re.compile(
    r"[,;:–—]\s*|\s+(?=(?:and|but|or|if|when|because|that|who|which|after|before|once|since"
    r"|while|as"
    r"|so|until|whether|than|und|aber|oder|wenn|weil|dass|nachdem|bevor|als|während|seit|bis)\s)"
)

_OPENS = re.compile(
    r"(?:(?:and |but |or |so |ok(?:ay)?,? |well,? |und |aber |oder )?(?:what|how) about\b"
    r"|(?:und |aber )?was ist mit\b|(?:und )?wie (?:ist|war|steht|sieht) (?:es|das) (?:mit|bei"
    r"|um)\b"
    r"|(?:what|who|where|when|how|why|anything|anyone) else\??$|(?:tell me "
    r"|say )?more\b(?! \w+ \w+)"
    r"|go on|continue|for example\??$|such as\??$|like what\??$|how so|how come\??$|why not\??$"
    r"|(?:was|wer|wo) (?:noch|sonst)\??$|zum beispiel\??$|mehr dazu|weiter\??$|erzähl mehr)",
)
_JOINS = re.compile(r"(?:and|but|or|so|also|then|und|aber|oder|also|dann)\b[\s,]*")
_PREPOSITION = re.compile(
    r"(?:in|at|on|by|for|from|to|with|without|after|before|during|since|until|of|near|under"
    r"|im|am|bei|beim|mit|ohne|nach|vor|seit|bis|von|vom|für|während|aus|zur|zum)\b"
)
_ASKS = re.compile(
    r"\b(?:what|why|how|who|whom|whose|when|where|which|is|are|was|were|do|does|did|has|have|had"
    r"|can|could|will|would|should|wie|wer|wen|wem|wo|wann|warum|wieso|welche[rsnm]?|ist|sind|war"
    r"|waren|hat|hatte|haben|kann|wird|wurden?|tell|list|name|explain|describe|define|nenne"
    r"|erkläre)\b"
)
_INTRODUCES = (
    "(?:the|an?|of|by|in|on|for|with|from|about|is|are|was|were|ist|sind|war|waren|der|die|das|eine?r?|explain|define|describe"
    "|about)"
)
_EXPLETIVE = re.compile(
    r"\b(?:what time|how late|wie spät|wie viel uhr) (?:is|was|ist|war) (?:it|es)\b"
    r"|\b(?:is|was|isn't|wasn't) it (?:true|possible|necessary|allowed|legal|safe|known|certain"
    r"|clear"
    r"|said|right|wrong|better|worth|important|common|\w+ (?:who|that|to))\b"
    r"|\b(?:does|did|will|would|could) it (?:take|cost|mean|matter)\w* (?:to|for|a|an|the|if"
    r"|when|that)\b"
    r"|\b(?:take|make|find|call)s? it \w+ (?:to|that)\b|\bis it called (?:when|if)\b"
    r"|\bhow is it that\b"
    r"|\b(?:gibt|gab|geht|ging|handelt) es\b|\bes (?:gibt|gab|sich)\b"
    r"|\bist es (?:wahr|möglich|nötig|erlaubt|richtig|sicher)\b|\bdauert es,? (?:bis|um)\b"
    r"|\b(?:is|are|was|were|be|been|isn't|aren't) there\b|\bthere (?:is|are|was|were|be|been"
    r"|have|has)\b"
)
_PERSON = re.compile(
    r"\b(?:he|him|his|she|her|hers|they|them|their|theirs|er|ihm|ihn|sein|seine[rsmn]?|ihr"
    r"|ihre[rsmn]?)\b"
)
_PRONOUN = re.compile(
    r"\b(?:it|he|him|she|they|them|theirs|hers"
    r"|er|es|ihn|ihm|ihnen|sie|dessen|deren)\b"
)
_POSSESSIVE = re.compile(r"\b(?:its|his|her|their|sein|seine[rsmn]?|ihr|ihre[rsmn]?)\b")
_OWNER = re.compile(
    r"\b(?:the|an?|every|each|all|did|does|do|der|die|das|den|dem|eine?[nmrs]?|jede[rsnm]?) \w+.* "
)
_OWN_TEXT = (
    r"(?:documents?|files?|books?|reports?|texts?|papers?|manuals?|contracts?|pages?|chapters?"
    r"|sections?"
    r"|collections?|guides?|articles?|dokumente?|texte?|buch|bücher|berichte?|seiten?|verträge?"
    r"|vertrag)"
)
_DEMONSTRATIVE = re.compile(
    rf"\b(?:these|those|this|diese[rsnm]?|jene[rsnm]?)\b(?! (?:\w+ )?{_OWN_TEXT}\b)"
    r"|(?:\b(?:is|was|are|were|did|does|do|about|of|for|like|after|before|in|at|with|from|on|to|by"
    r"|why|how|but|said|says|mean|means) that\b(?! of\b)|^that\b|^and that\b)"
    r"|\bthat\W*$|\b(?:at|by|until|since|back|from|and|before) then\b|\bthen\W*$"
    r"|(?:\bthere|\bdamals|\bdort|\bda|\bdas)\W*$|\b(?:damals|dafür|damit|davon|daran|dabei"
    r"|dagegen|danach"
    r"|daraus|darüber|deshalb|dazu|dieselben?|derselben?|denselben)\b"
    r"|\bdas (?:erfunden|gemacht|gebaut|entschieden|gesagt|genau|so|auch|heute|denn)\b"
)
_PROFORM = re.compile(
    r"\b(?:which|the|this|that|other|another|first|second|third|last|next|new|newer|old|older"
    r"|small\w*"
    r"|large\w*|big\w*|better|best|worse|worst|good|same) ones?\b(?= (?:is|was|are|were|did|does"
    r"|do|has|had"
    r"|have|can|could|won|came|went|made|in|for|from|with|by)\b|\W*$)|\bones\W*$"
    r"|\bthe (?:former|latter|others?|rest|same)(?= (?:is|was|are|were|for|in|with|true|apply"
    r"|hold)\b|\W*$)"
    r"|\b(?:both|neither|either)\b(?!.* (?:and|or|nor|of) )|\b(?:all|some|none|most|how many"
    r"|each) of them\b"
)


def carry_over(question: str, history: Sequence[Message]) -> str:
    """Return the question, followed by what it leans on in brackets; alone when it does not lean.

    Words come from the user's last questions, back to one that stands alone, and for "he" or "they"
    also names from the last answer, where no name was asked about.
    """
    if not leans(question):
        return question
    earlier: list[str] = []
    for message in reversed(history):
        if message.role == "user" and message.content.strip():
            earlier.insert(0, message.content)
            if len(earlier) == MOST_TURNS or not leans(message.content):
                break
    if not earlier:
        return question
    words = _carried(question, earlier)
    if _PERSON.search(question.casefold()) and not any(_is_name(word) for word in words):
        words = [*_names(history, question), *words]
    return f"{question.rstrip()} ({' '.join(words[:MOST_WORDS])})" if words else question


def leans(question: str) -> bool:
    """Say whether the question is understood only with what was said before it."""
    text = " ".join(question.casefold().replace("’", "'").split()).lstrip("¿¡\"'“„ ")
    if not _WORD.search(text):
        return False
    if _OPENS.match(text):
        return True
    joined = _JOINS.match(text)
    rest = text[joined.end() :] if joined else text
    content = _content(question)
    if joined and (len(content) < 3 or not _ASKS.search(rest)):
        return True
    return _refers_back(_EXPLETIVE.sub(" ", rest), question) or _lacks(rest, question, content)


def _refers_back(text: str, question: str) -> bool:
    """Say whether a pronoun or the like stands for something that the question does not name."""
    if _PROFORM.search(text):
        return True
    for pattern, is_bound in (
        (_DEMONSTRATIVE, _is_named_before),
        (_PRONOUN, _is_named_before),
        (_POSSESSIVE, _has_owner),
    ):
        for found in pattern.finditer(text):
            if not _is_formal(found.group(), question) and not is_bound(text[: found.start()]):
                return True
    return False


def _is_named_before(before: str) -> bool:
    """Say whether an earlier clause, or a long part of this one, names what a pronoun may be."""
    clauses = _CLAUSE.split(before)
    return (
        len(_specific(" ".join(clauses[:-1]))) >= 1 or len(_specific(before)) >= LONG_CLAUSE_WORDS
    )


def _is_formal(pronoun: str, question: str) -> bool:
    """Say whether it is the German "Sie", which is whom one speaks to."""
    return re.search(rf"\w\W+{pronoun.capitalize()}\b", question) is not None


def _has_owner(before: str) -> bool:
    """Say whether a noun stands before a possessive, as in "when did the watch lose its …"."""
    return len(_specific(before)) >= 2 or _OWNER.search(before) is not None


def _lacks(text: str, question: str, content: Sequence[str]) -> bool:
    """Say whether the question names nothing that it could be about."""
    own = _specific(question)
    if not own:
        return True
    if len(content) == 1 and text.endswith("?") and not _ASKS.search(text):
        return True  # "Britain?", "1957?", "in Paris?"
    if not _ASKS.search(text) and _PREPOSITION.match(text):
        return len(content) < 3
    if len(own) > 1 or len(content) > 2:
        return False
    return not _is_introduced(own[0], text)


def _is_introduced(word: str, text: str) -> bool:
    """Say whether the only word is what is asked about: named, with an article, or after "is"."""
    if _is_name(word) or not _ASKS.search(text):
        return True
    return re.search(rf"\b{_INTRODUCES} {re.escape(word.casefold())}", text) is not None


def _content(text: str) -> list[str]:
    """Return the words that say something, in order."""
    words = _WORD.findall(text)
    bases = [_base(word) for word in words]
    silent = STOPWORDS - GERMAN_ONLY if ENGLISH.intersection(bases) else STOPWORDS
    return [word for word, base in zip(words, bases, strict=True) if base not in silent]


def _specific(text: str) -> list[str]:
    """Return the words that name something of themselves."""
    return [word for word in _content(text) if _base(word) not in GENERIC]


def _base(word: str) -> str:
    return word.casefold().replace("’", "'").removesuffix("'s")


def _is_name(word: str) -> bool:
    return word[:1].isupper() or bool(_LABEL.fullmatch(word))


def _carried(question: str, earlier: Sequence[str]) -> list[str]:
    """Return the earlier questions' words, without those that this question puts another for."""
    own = _content(question)
    known = {_base(word) for word in own}
    replaced = [
        kind for kind in (_YEAR.fullmatch, _LABEL.fullmatch) if any(kind(word) for word in own)
    ]
    words: dict[str, str] = {}
    for text in earlier:
        for word in _content(_without_opening_capital(text)):
            if _base(word) not in known and not any(kind(word) for kind in replaced):
                words.setdefault(_base(word), word)
    return list(words.values())


def _without_opening_capital(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _names(history: Sequence[Message], question: str) -> list[str]:
    """Return the first names of the last answer, as whole names."""
    said = next((each.content for each in reversed(history) if each.role == "assistant"), "")
    names = [found.group() for found in _NAME.finditer(_MARKER.sub(" ", said))]
    return [name for name in dict.fromkeys(names) if name not in question][:MOST_NAMES]
