"""Words that name nothing, in English and German: function words, and words that need another."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOPWORDS = _words(
    """
    a about above according actually after again against all also am an and another any anyone
    anything are aren't as at away back be became because become been before being below between
    both but by came can can't come could couldn't did didn't do does doesn't doing don't done
    down during each either else even ever every everyone everything exactly few for from
    further get gets give given go goes going got had hadn't has hasn't have haven't having he
    her here hers herself him himself his how however i if in instead into is isn't it it's its
    itself just kindly know let like made make makes many may me might mine more most much must
    my myself neither never no nor not nothing now of off ok okay on once one ones only onto or
    other others our ours out over own perhaps please put quite rather really said same say says
    see shall she should shouldn't show since so some someone something still such take taken
    tell than thank thanks that that's the their theirs them themselves then there therefore
    these they thing things this those though through thus to together too took toward under
    until up upon us use used very via want was wasn't we well went were weren't what what's
    whatever when where whether which while who whom whose why will with within without won't
    would wouldn't yes yet you your yours explain describe define list name mean means meant
    happen happens happened next called explained aber alle allem allen aller alles als andere
    anderen anderer anderes auch auf aus bei beim bin bis bist bitte da dabei dadurch dafür
    dagegen daher damals damit danach daran darauf daraus darin darum darüber das dass davon
    dazu dein deine dem den denn der deren des deshalb dessen dich die dies diese diesem diesen
    dieser dieses dir doch dort du durch ein eine einem einen einer eines er es etwa etwas euch
    euer für ganz gab geben genau gewesen gibt hab habe haben hat hatte hatten hier ich ihm ihn
    ihnen ihr ihre ihrem ihren ihrer ihres im ins ist ja jede jedem jeden jeder jedes jene jenem
    jenen jener jenes jetzt kann kannst kein keine keinem keinen keiner können könnte machen man
    mehr mein meine mich mir mit muss müssen nach nicht nichts noch nun nur ob oder ohne schon
    sehr sein seine seinem seinen seiner seines seit sich sie sind soll sollen sonst um und uns
    unser unter vom von vor wann war waren warum weil welche welchem welchen welcher welches wem
    wen wenn wer werden wessen wie wieso wird wo wofür woher womit worden worin wurde wurden
    während zu zum zur über erkläre nenne heißt bedeutet passiert passierte geschah dieselbe
    derselbe
    """
)
"""Questions are made of them; "called", "happened" and the like ask as well."""

ENGLISH = _words("a an and are did do does how in is of the was were what when where which who why")
GERMAN_ONLY = _words("bin den die hat man war")
"""Function words in German that name things in English, where one of ``ENGLISH`` tells it."""

GENERIC = _words(
    """
    accurate accuracy advantage advantages age alternative alternatives amount answer author
    average bad best better big bigger cause causes century cheap cheaper close cost costs
    country countries date deep deeper detail details difference differences difficult
    disadvantage disadvantages drawback drawbacks earlier early easier easy effect effects end
    error errors example examples exact exception exceptions expensive far fast faster fewer
    fine first good great hard heavier heavy height high higher hundred idea important impact
    inventor job kind large larger last late later least length less limit limits long longer
    low lower main method month months name names new newer number old older order outcome part
    penalty people person place places point price prize prizes problem problems purpose reason
    reasons requirement requirements result results right role rule rules short shorter size
    slow slower small smaller solution sort source speed start step steps strong stronger sum
    tall time times true type value version vote way ways weight wide winner word words work
    works worse worst wrong year years won lost failed fail succeed succeeded agreed objected
    abstained began begin ended stopped died born differ alt alter anfang art beispiel beispiele
    ende ergebnis fehler folge folgen genauigkeit geschwindigkeit grund gründe groß größe gut
    hoch höhe jahr jahre jahren jahrhundert klein lang lange land länder länge monat monate
    nachteil nachteile ort preis regel schnell schwer später teil teuer uhrzeit unterschied
    ursache vorteil vorteile weit wert wichtig zahl zeit zweck
    """
)
"""They say what of something is asked: "how accurate", "the reason"; alone they name nothing."""
