"""Words of four languages that carry no meaning alone, and which language a text is in."""

from collections import Counter
from collections.abc import Iterable

LANGUAGES = ("english", "german", "french", "spanish")
"""As Snowball names them; the first is taken where nothing tells."""


def words(joined: str) -> frozenset[str]:
    """Return the words of a string that lists them."""
    return frozenset(joined.split())


FUNCTION_WORDS = {
    "english": words(
        "a an the and or but nor so yet if then than as at by for from in into of off on onto out"
        " over to up with within about after again against all also although am among amongst any"
        " are around be became because been before being below between both can could did do does"
        " doing done down during each either else ever every few further had has have having he"
        " her here hers herself him himself his how however i its it itself just let may me might"
        " more most much must my myself neither no not now once one only other our ours out own"
        " per rather same shall she should since some such that their theirs them themselves there"
        " these they this those though through throughout thus to too toward towards under until"
        " upon us very via was we were what when whereas where which while who whom whose why will"
        " would you your yours yourself therefore hence instead indeed still already another"
        " whether without never none nothing above many several less least cannot s t re ve ll d"
        " according document documents passage passages text source sources states stated says said"
        " mentioned mentions answer question well even like"
    ),
    "german": words(
        "der die das den dem des ein eine einer eines einem einen und oder aber sondern doch wenn"
        " dann als an am auf aus bei beim bis durch für gegen im in ins mit nach ohne seit über um"
        " unter vom von vor während wegen zu zum zur zwischen ist sind war waren wird werden wurde"
        " wurden worden sein gewesen hat haben hatte hatten kann können konnte konnten muss müssen"
        " soll sollen darf dürfen will wollen mag er sie es ich wir ihr ihre ihren ihrem ihrer sein"
        " seine seinen seinem seiner man sich dieser diese dieses diesem diesen jener jene jenes"
        " welche welcher welches was wer wie wo warum dass daß ob weil da damit so auch noch nur"
        " schon sehr mehr nicht kein keine keinen keinem keiner nie niemals alle alles jeder jede"
        " jedes etwa dabei dazu davon daher jedoch sowie beide bereits laut gemäß"
    ),
    "french": words(
        "le la les l un une des du de d et ou mais donc or ni car si que qu quand comme à au aux en"
        " dans par pour sur sous avec sans chez vers depuis pendant entre contre est sont était"
        " étaient fut furent sera seront être été ai as a ont avait avaient eu avoir peut peuvent"
        " pouvait doit doivent il elle ils elles on je tu nous vous me te se ce cet cette ces c s n"
        " y son sa ses leur leurs mon ma mes notre nos qui quoi dont où lequel laquelle ne pas plus"
        " moins très aussi ainsi alors même tout tous toute toutes chaque aucun aucune jamais selon"
        " j m t"
    ),
    "spanish": words(
        "el la los las lo un una unos unas y e o u pero sino si que cuando como a al de del en por"
        " para con sin sobre bajo desde hasta entre contra hacia según es son era eran fue fueron"
        " será serán ser sido está están estaba he ha han había habían haber puede pueden podía"
        " debe deben él ella ellos ellas yo tú nosotros usted ustedes me te se le les nos su sus mi"
        " mis este esta estos estas ese esa esos esas aquel aquella quien quienes cual cuales donde"
        " no ni más menos muy también así ya solo sólo todo todos toda todas cada ningún ninguna"
        " nunca jamás porque"
    ),
}
_ANY = frozenset(word for own in FUNCTION_WORDS.values() for word in own)
_TELLING = {
    language: frozenset(
        word
        for word in own.difference(
            *(FUNCTION_WORDS[each] for each in LANGUAGES if each != language)
        )
        if len(word) > 1
    )
    for language, own in FUNCTION_WORDS.items()
}


def guess_language(folded: Iterable[str], default: str | None = "english") -> str | None:
    """Return the language whose own function words are the most; ``default`` when none is."""
    counts = Counter(
        language for word in folded for language in LANGUAGES if word in _TELLING[language]
    )
    if not counts:
        return default
    return counts.most_common(1)[0][0]


def is_function_word(folded: str, language: str | None) -> bool:
    """Say whether the word carries no meaning alone; in an unknown language, in any of the four."""
    return folded in (FUNCTION_WORDS[language] if language else _ANY)
