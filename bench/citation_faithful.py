"""Faithful sentences made from real passages by rule: what a checker must let pass."""

import re
from collections.abc import Iterator
from random import Random

from bench.citation_passages import Passage


def pairs(joined: str) -> list[list[str]]:
    """Return the pairs of a string that lists them as one:other."""
    return [pair.split(":") for pair in joined.split()]


SYNONYMS = dict(
    pairs(
        "began:started started:began large:big big:large found:discovered"
        " shows:demonstrates showed:demonstrated people:individuals used:employed use:employ"
        " called:named important:significant significant:important made:produced"
        " made:created built:constructed country:nation countries:nations number:quantity"
        " help:assist helps:assists helped:assisted obtain:get get:obtain create:make"
        " provide:offer provides:offers provided:offered ensure:guarantee near:close_to"
        " usually:normally often:frequently whole:entire city:town area:region areas:regions"
        " region:area main:principal major:principal also:additionally because:since"
        " while:whereas about:approximately approximately:about such:similar"
        " study:investigation studies:investigations results:findings patients:subjects"
        " suggest:indicate suggests:indicates revealed:showed observed:seen required:needed"
        " requires:needs needed:required various:different different:various method:approach"
        " methods:approaches reduced:lowered increased:raised examined:studied"
        " identified:detected choose:select select:choose allows:lets allow:let"
        " rapidly:quickly quickly:rapidly ended:finished entire:whole task:job error:mistake"
        " begin:start start:begin kept:maintained moved:shifted given:provided received:got"
        " became:turned_into led:headed described:depicted located:situated situated:located"
        " many:numerous numerous:many several:multiple however:nevertheless therefore:thus"
        " thus:therefore"
    )
)
_INTRO = re.compile(
    r"(?P<intro>(?:In|On|At|By|After|Before|During|Since|For|From|Under|With|As|When|While|Although"
    r"|Because|However|Thus|Therefore|Here|Moreover|Furthermore|Additionally|Then|Also)\b[^,.;:]{0,60}),"
    r" (?P<main>[^;:]+)\.\Z"
)
_TRAILING = re.compile(
    r"(?P<main>[A-Z][^;:]{30,}?),? (?:which|who|where|because|although|while|whereas|so that|since)"
    r" [^,;:]{10,}\.\Z"
)
_BECAUSE = re.compile(r"(?P<main>[A-Z][^,;:]{20,}) (?P<why>because [^,;:]{10,})\.\Z")
_BRACKET = re.compile(r" \([^()]{3,80}\)")
_PRONOUN = re.compile(r"(?:It|He|She|They) (?=\w)")
_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
         "eleven", "twelve")  # fmt: skip
_QUESTION = re.compile(
    r"(?P<wh>Who|What|Which|Where|When|How many|How much|In what|In which|What year|In what year)"
    r"(?P<noun>(?: [a-z]\w*){0,3}?) (?P<verb>is|was|are|were|did|does|do|has|had|can|will"
    r"|[a-z]+(?:ed|s)) (?P<rest>[^?]+)\?\Z"
)


def lower_first(text: str) -> str:
    """Return the text with a small first letter where its first word is an ordinary one."""
    first = text.split(maxsplit=1)[0]
    ordinary = first in {"The", "A", "An", "It", "This", "These", "They", "He", "She", "In", "On",
                         "There", "Their", "Its", "His", "Her", "We", "Some", "Many", "Most",
                         "Such", "If", "All"}  # fmt: skip
    return text[0].lower() + text[1:] if ordinary else text


def upper_first(text: str) -> str:
    """Return the text with a capital."""
    return text[0].upper() + text[1:]


def paraphrase(passage: Passage, random: Random) -> Iterator[tuple[str, str]]:
    """Yield faithful sentences of one passage as kind and text."""
    sentences = passage.sentences
    for place, sentence in enumerate(sentences):
        yield "verbatim", sentence
        yield "framed", f"According to the document, {lower_first(sentence)}"
        if '"' not in sentence:
            yield "quoted", f'The text says that "{sentence.rstrip(".")}".'
        yield from _rearrange(sentence)
        changed = sentence if '"' in sentence else replace_synonyms(sentence, random)
        if changed != sentence:
            yield "synonyms", changed
        if place + 1 < len(sentences):
            joined = f"{sentence.rstrip('.')}, and {lower_first(sentences[place + 1])}"
            if len(joined.split()) < 60:
                yield "two merged", joined
        if _PRONOUN.match(sentence) and place and passage.corpus == "squad2":
            yield "pronoun to title", _PRONOUN.sub(f"{passage.title} ", sentence, count=1)
        reformatted = reformat_numbers(sentence)
        if reformatted != sentence:
            yield "number rewritten", reformatted
    for question, answer in passage.questions:
        statement = as_statement(question, answer)
        if statement:
            yield "question and answer", statement


def _rearrange(sentence: str) -> Iterator[tuple[str, str]]:
    """Yield the sentence with its clauses in another order, or without one."""
    if intro := _INTRO.match(sentence):
        yield "opening trimmed", f"{upper_first(intro['main'])}."
        if len(intro["intro"].split()) > 1:
            yield "clauses reordered", f"{upper_first(intro['main'])} {lower_any(intro)}."
    if because := _BECAUSE.match(sentence):
        main = lower_first(because["main"])
        yield "clauses reordered", f"{upper_first(because['why'])}, {main}."
    if trailing := _TRAILING.match(sentence):
        yield "clause dropped", f"{trailing['main'].rstrip(',')}."
    if _BRACKET.search(sentence):
        yield "clause dropped", _BRACKET.sub("", sentence)


def lower_any(intro: re.Match[str]) -> str:
    """Return an introduction as the end of a sentence."""
    return intro["intro"][0].lower() + intro["intro"][1:]


def replace_synonyms(sentence: str, random: Random) -> str:
    """Replace up to three words by words of the same meaning."""
    words = sentence.split(" ")
    places = [place for place, word in enumerate(words) if word in SYNONYMS]
    for place in random.sample(places, min(3, len(places))):
        words[place] = SYNONYMS[words[place]].replace("_", " ")
    return " ".join(words)


def reformat_numbers(sentence: str) -> str:
    """Write the same numbers in another way."""
    changed = re.sub(r"\b(?<![,\d])(\d{1,3}),(\d{3})\b(?![,.]\d)", r"\1\2", sentence)
    changed = re.sub(r"\b(\d+(?:\.\d+)?)(?: percent| per cent)\b", r"\1%", changed)
    if changed == sentence:
        changed = re.sub(r"\b(\d+(?:\.\d+)?)%", r"\1 percent", sentence)
    if changed == sentence:
        changed = re.sub(
            r"(?<![\w.,:/-])([2-9]|1[0-2]) (?=[a-z]{4,}s\b)",
            lambda m: f"{_ONES[int(m[1])]} ",
            sentence,
        )
    if changed == sentence:
        changed = re.sub(
            rf"(?<![-\w])(?<!hundred )({'|'.join(_ONES[2:])}) (?=[a-z]{{4,}}s\b)",
            lambda m: f"{_ONES.index(m[1])} ",
            sentence,
        )
    return changed


def as_statement(question: str, answer: str) -> str | None:
    """Turn a question with its answer into a statement."""
    found = _QUESTION.match(question.strip())
    if not found or len(answer.split()) > 8:
        return None
    asked, noun, verb, rest = found["wh"], found["noun"], found["verb"], found["rest"].strip()
    if verb in {"did", "does", "do", "has", "had", "can", "will"}:
        return f"The answer to the question “{question.strip()}” is {answer}." if noun else None
    if asked in {"Who", "What", "Which"} and len(noun.split()) <= 1:
        return f"{upper_first(answer)} {verb} {rest}."
    if asked in {"Where", "When"} and verb in {"is", "was", "are", "were"}:
        words = rest.split()
        return (
            f"{upper_first(' '.join(words[:-1]))} {verb} {words[-1]} in {answer}."
            if len(words) > 2
            else None
        )
    return None
