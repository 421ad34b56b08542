"""Words that deny, limit, hedge, or hold for all or some."""

from citewell.answer.cite.languages import words

DENYING = words(
    "not no never none nobody nothing neither nor without cannot hardly scarcely barely nowhere"
    " lack lacks lacked lacking fail fails failed failing unable seldom rarely"
    " nicht kein keine keinen keinem keiner nie niemals ohne weder"
    " pas jamais aucun aucune sans ni"
    " nunca ningún ninguna sin tampoco jamás"
)
DENYING_ALSO = words(
    "impossible unlikely unwilling absence absent forbidden prohibited banned prevented prevent"
    " prevents refuse refused refuses deny denied denies avoid avoids avoided exclude excludes"
    " excluded reject rejected free illegal minus less few little unmöglich"
)
"""Words that may stand for a denial in another wording, but are none by themselves."""

DENYING_PREFIXES = ("un", "in", "im", "il", "ir", "dis", "non", "mis")
NOT_DENYING_BEFORE = words("only just merely least solely necessarily longer less more alone")
BARELY_DENYING_BEFORE = words("only just merely least")

LIMITING = words(
    "only solely exclusively merely sole alone nur ausschließlich lediglich seulement uniquement"
    " solamente sólo únicamente"
)
LIMITING_SURELY = words("only nur solely exclusively seulement sólo")
EXCEPTING = words(
    "except excepting excluding unless save besides apart außer ausgenommen sauf hormis excepto"
    " salvo"
)
EXCEPTING_CLAIMED = words("except unless excluding")

FOR_ALL = words(
    "all every always everyone everybody everything everywhere entire entirely whole wholly"
    " completely totally guaranteed guarantees guarantee invariably each any both throughout fully"
    " alle jeder jede jedes immer stets sämtliche tous toutes toujours chaque todos todas siempre"
    " cada full total complete"
)
FOR_ALL_CLAIMED = words(
    "all every always everyone everybody everything everywhere entirely completely totally"
    " guaranteed guarantees invariably alle immer stets sämtliche tous toutes toujours todos todas"
    " siempre"
)
FOR_SOME = words(
    "some several many most few often usually sometimes generally typically frequently commonly"
    " occasionally partly partially mostly mainly largely rarely seldom certain various majority"
    " nearly almost half einige manche viele meist oft manchmal certains plusieurs souvent parfois"
    " algunos algunas muchos muchas varios veces"
)
HEDGING = words(
    "may might could possibly perhaps probably likely suggest suggests suggested appear appears"
    " seem seems seemed potentially can would should often sometimes usually kann könnte"
    " möglicherweise vielleicht wahrscheinlich peut pourrait puede podría quizás expected believed"
    " thought considered reportedly allegedly estimated estimates potential possible possibility"
    " hypothesized proposed apparently supposedly tend tends able"
)
HEDGED = words(
    "may might possibly perhaps probably likely könnte möglicherweise vielleicht wahrscheinlich"
    " pourrait podría quizás reportedly allegedly"
)
"""Hedges that a sentence may not lose without becoming another claim."""

MORE = words("more over above exceeding greater least beyond mehr über plus más")
FEWER = words("less fewer under below most maximum weniger unter moins menos")
COMPARED = words("more less fewer greater mehr weniger plus moins más menos")
THAN = words("than als de que")
