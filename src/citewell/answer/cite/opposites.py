"""Words that say the opposite of each other."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, cast

import Stemmer  # pyright: ignore[reportMissingImports] - the wheel carries no types

_ENGLISH = """
more greater larger bigger higher exceed exceeding above | less fewer smaller lower below under
most maximum maximal highest largest greatest biggest longest | least minimum minimal lowest \
smallest fewest shortest
increase rise rose risen grow grew grown gain climb expand raise soar boost elevate accelerate \
enhance strengthen upregulate lengthen heighten improve | decrease fall fell fallen decline drop \
reduce reduction shrink shrank lower diminish worsen lessen weaken impair downregulate decelerate \
shorten dwindle deteriorate
before prior earlier preceding previously beforehand | after later following subsequent afterwards \
subsequently thereafter
always constantly invariably | never
all every everyone everybody everything | none nobody nothing neither
allow permit authorize authorise enable legal lawful permissible let | forbid forbidden forbade \
prohibit ban prevent block deny disallow disable illegal unlawful bar outlaw
accept approve agree adopt embrace | reject refuse decline oppose disagree
high | low
large big huge great vast | small little tiny
long | short
fast quick rapid quickly rapidly | slow slowly gradually
early | late
old older elderly | young younger new newer
hot warm | cold cool
strong strongly | weak weakly
positive positively | negative negatively
good better best | bad worse worst poor
open opened | close closed shut
begin began begun start launch commence initiate | end stop finish close cease conclude terminate
first | last final
north northern northward | south southern southward
east eastern eastward | west western westward
northeast northeastern | southwest southwestern
northwest northwestern | southeast southeastern
left | right
up upward upwards | down downward downwards
upper | lower
inside internal inner interior within | outside external outer exterior
include including contain | exclude excluding omit
add append insert attach | remove delete subtract detach
succeed success successful successfully win won victory | \
 fail failed failure unsuccessful lose lost defeat
true | false
near close | far distant remote
rich wealthy | poor
easy easily simple | difficult hard complex complicated
safe safely | dangerous unsafe hazardous
public publicly | private privately
buy bought purchase | sell sold
import | export
male man men boy | female woman women girl
father | mother
son | daughter
brother | sister
king | queen
husband | wife
day | night
summer | winter
majority | minority
required mandatory compulsory obligatory require | optional voluntary
support favour favor endorse | oppose resist
ancient | modern contemporary
same identical equal | different distinct unequal
major | minor
often frequently usually commonly generally typically frequent | rarely seldom infrequently hardly \
scarcely infrequent
common widespread | rare uncommon
many numerous | few
presence present | absence absent
full | empty
single | multiple several
top | bottom
front | back rear
horizontal horizontally | vertical vertically
ahead | behind
forward forwards | backward backwards
contract | expand
attack attacked | defend defended
create build built construct establish found founded | destroy demolish abolish dismantle dissolve
arrive enter | depart leave left exit
activate stimulate promote induce | inhibit suppress repress deactivate block
acute | chronic
benign | malignant
beneficial helpful benefit | harmful detrimental harm
heavy heavier | light lighter
bright | dark dim
thick | thin
wide broad | narrow
deep | shallow
wet | dry
clean | dirty
soft | hard
love | hate
friend ally | enemy foe
peace | war
alive living life | dead death
born birth | died die death
employer | employee
input | output
upload | download
encode | decode
send sent | receive received
synchronous | asynchronous
static | dynamic
local | global
primary | secondary
senior | junior
maternal | paternal
odd | even
profit | loss
gain | lose lost loss
rural | urban
domestic | foreign
upstream | downstream
permanent permanently | temporary temporarily
natural | artificial
guilty | innocent
keep kept retain preserve | discard abandon
appear emerge | disappear vanish
encourage | discourage
attract | repel
confirm affirm prove proved | deny refute contradict disprove
advance | retreat
ascend | descend
freeze | melt
absorb | emit
morning | evening
remember | forget forgot
hire | fire
borrow | lend
cheap inexpensive | expensive costly
possible | impossible
sufficient enough adequate | insufficient inadequate
correct right accurate | wrong incorrect inaccurate
advantage | disadvantage drawback
encrypt | decrypt
voluntarily | forcibly
superior | inferior
optimist optimistic | pessimist pessimistic
victory win won | defeat
plus | minus
northernmost | southernmost
easternmost | westernmost
"""
_GERMAN = """
mehr größer höher über oberhalb | weniger kleiner niedriger unter unterhalb
steigen stieg gestiegen zunehmen wachsen erhöhen erhöht | sinken sank gesunken abnehmen fallen \
senken verringern reduziert
vor vorher früher | nach nachher später
immer | nie niemals
alle jeder jede jedes | keiner keine kein
erlaubt erlauben gestattet zulässig | verboten verbieten untersagt unzulässig
maximal höchstens | minimal mindestens
groß | klein
lang | kurz
hoch | niedrig
alt | neu jung
warm heiß | kalt
gut besser | schlecht schlechter
öffnen offen | schließen geschlossen
beginnen beginn anfang begann | enden ende schluss endete
nord nördlich | süd südlich
ost östlich | west westlich
links | rechts
oben | unten
innen | außen
positiv | negativ
stark | schwach
möglich | unmöglich
"""
_FRENCH = """
plus supérieur dessus | moins inférieur dessous
augmenter augmentation croître hausse augmenté | diminuer baisse réduire diminué réduction
avant | après
toujours | jamais
tous toutes tout | aucun aucune
autorisé permis autoriser permettre | interdit interdire défendu
maximum maximal | minimum minimal
grand | petit
long | court
haut élevé | bas faible
ancien vieux | nouveau jeune
chaud | froid
bon meilleur | mauvais pire
ouvert ouvrir | fermé fermer
commencer début | finir fin terminer
nord | sud
est | ouest
gauche | droite
positif | négatif
fort | faible
"""
_SPANISH = """
más mayor superior encima | menos menor inferior debajo
aumentar aumento crecer subir aumentó | disminuir reducción reducir bajar disminuyó
antes | después
siempre | nunca jamás
todos todas todo | ningún ninguno ninguna
permitido permitir autorizado | prohibido prohibir
máximo | mínimo
grande | pequeño
largo | corto
alto | bajo
antiguo viejo | nuevo joven
caliente | frío
bueno mejor | malo peor
abierto abrir | cerrado cerrar
comenzar empezar inicio | terminar acabar fin
norte | sur
este | oeste
izquierda | derecha
positivo | negativo
fuerte | débil
"""
_AXES = {"english": _ENGLISH, "german": _GERMAN, "french": _FRENCH, "spanish": _SPANISH}

Poles = Mapping[str, frozenset[tuple[int, int]]]


def _compared(word: str) -> Iterator[str]:
    """Yield what an English adjective becomes when it is compared."""
    base = f"{word[:-1]}i" if word.endswith("y") else word.removesuffix("e")
    doubled = f"{word}{word[-1]}"
    for form in (base, doubled):
        yield f"{form}er"
        yield f"{form}est"


@cache
def poles_of(language: str | None) -> Poles:
    """Return for each word, folded and stemmed, on which axes it is at which pole."""
    name = language or "english"
    stemmer = cast("Any", Stemmer).Stemmer(name)
    found: dict[str, set[tuple[int, int]]] = {}
    lines = [line for line in _AXES[name].strip().splitlines() if line]
    for axis, line in enumerate(lines):
        for pole, side in enumerate(line.split("|")):
            for word in side.split():
                for form in {word, stemmer.stemWord(word), *_compared(word)}:
                    found.setdefault(form, set()).add((axis, pole))
    return {word: frozenset(places) for word, places in found.items()}
