"""Know requests that ask the assistant itself to break its rules, give away secrets or do harm.

A small set of rules in English and German, not a shield: answers rest on the documents only, and
the models' prompts treat every text as data, whatever passes here. A rule therefore looks at what
is *asked of the assistant*: an order ("ignore your instructions"), never a question about such
words ("what does the report say about prompt injection?"), and never what stands in quotes.
"""

import re


def _pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern over folded text, written over several lines."""
    return re.compile(text, re.VERBOSE)


_SENTENCE = re.compile(r"(?<=[.!?])\s+|[;\n\r]+|\s[-–—]+\s")
_QUOTED = re.compile(r"[“„\"«][^“”„\"«»]*[”“\"»]|(?<!\w)[‘'`][^‘’'`]+[’'`](?!\w)")
_LEAST_LEFT = 2
"""Words beside a quotation that make it something talked about."""

_POLITE = _pattern(r"""
    ^\W*(?:(?:ok(?:ay)?|hey|hi|hello|hallo|please|bitte|now|jetzt|nun|first|then|dann|and|und|also
    |just|instead|stattdessen|from\ now\ on|ab\ jetzt|ab\ sofort|assistant|chatbot|bot|citewell
    |system|user|admin|attention|important|note|new\ instructions?|(?:can|could|would|will)\ you
    |(?:kannst|könntest|würdest|wirst)\ du|you\ (?:must|should|will|shall|have\ to|need\ to|can|may)
    (?:\ now)?|du\ (?:musst|sollst|wirst)|i\ (?:want|need|order|command|ask)\ you\ to
    |your\ (?:new\ )?(?:task|job)\ is\ to|let[’']?s)\b[\s,:!]*)*
""")
"""What may stand before an order."""

_ASKS = _pattern(r"""
    ^\W*(?:what|why|how|who|whom|whose|when|where|which|is|are|was|were|do|does|did|has|have|had
    |can|could|may|might|should|would|will|in\ what|in\ which|under\ what|according
    |was|wie|wer|wen|wem|wo|wann|warum|weshalb|wieso|welche[rsnm]?|ist|sind|war|hat|haben
    |kann|darf|muss|soll|gibt|laut)\b
""")
"""A question: it asks about something and orders nothing."""

_OVERRIDE = (
    r"(?:ignor\w*|disregard|forget|overrid\w*|overrule|bypass|circumvent|violate|break|drop)"
)
_OVERRIDE_DE = r"(?:ignorier\w*|vergiss|missachte|umgeh\w*|übergeh\w*|brich|verletze)"
_RULES = r"""(?:instructions?|rules?|guidelines?|prompts?|directives?|programming|restrictions?
    |safeguards?|guardrails?|safety\ (?:settings|filters?|measures)|constraints?|policies|orders)"""
_RULES_DE = (
    r"(?:anweisung\w*|regeln?|vorgaben?|instruktion\w*|richtlinien?|einschränkung\w*|prompts?)"
)
_REVEAL = r"""(?:reveal|show|print|output|display|dump|leak|expose|disclose|recite|repeat|write|list
    |give|tell|send|share|return|quote|copy|paste|translate|summari[sz]e|encode|post|provide)"""
_REVEAL_DE = r"""(?:zeig\w*|nenn\w*|verrat\w*|gib|druck\w*|sag\w*|schick\w*|wiederhol\w*|schreib\w*
    |offenbar\w*)"""
_PROMPT = r"""(?:(?:the|your|its|deinen|dein|den|die|deine)\ )(?:\w+\ ){0,2}?
    (?:system\W?(?:prompt|message|instructions?|anweisung\w*)|system\W?nachricht\w*
    |(?:initial|hidden|secret|developer|original|internal|preset)\ (?:prompt|instructions?|message)
    |(?:geheimen|versteckten|internen)\ (?:anweisung\w*|vorgaben|prompt)|prompt)\b"""
_GUARDED = r"""(?:passwords?|passphrases?|api[\W_]?keys?|secret\ keys?|private\ keys?|access\ keys?
    |access\ tokens?|auth\ tokens?|credentials?|secrets?|environment\ variables|env\ vars?
    |connection\ strings?|passwort|passwörter|kennwort|kennwörter|zugangsdaten|api\W?schlüssel)"""
_OWNER = r"""(?:your|deine?n?|the\ (?:other|system|server|database|admin\w*|root|service
    |application)(?:['’]s)?|(?:this|the)\ (?:system|server|service|application|workspace
    |machine)['’]s
    |(?:an)?other\ (?:users?|customers?|tenants?|workspaces?)['’]?s?|every(?:one|body)['’]?s
    |all(?:\ (?:the|stored|other|users?['’]?|customers?['’]?))*|someone\ else['’]s|admin\w*|root
    |openai|anthropic|(?:das|die|den)\ (?:admin\w*|system\w*|datenbank\w*|root)\W?|aller\ nutzer)"""
_ENDS = r"""\s*(?:[.!?,:]|$|\b(?:and|und|now|jetzt|here|hier|in\ (?:full|plain\w*|clear\w*)|verbatim
    |word\ for\ word|you\ (?:use|know|have|store|were)|for\ me|of\ (?:this|the|all|other|every)
    |from\ (?:your|the|this)|stored|wörtlich|im\ klartext))"""
"""What may follow a secret that is asked for; "policy" or "length" would make it another thing."""

_ORDERS = tuple(
    _pattern(text)
    for text in (
        # Rules are to be broken.
        rf"""{_OVERRIDE}\b(?:\s+(?:all|any|every|each|of|the|your|my|our|its|these|those|this|that
        |previous|prior|above|earlier|preceding|former|existing|current|initial|original|system
        |safety|content|security|internal|built\W?in|given|and)\b)*\s+{_RULES}\b""",
        rf"""{_OVERRIDE}\b\s+(?:everything|all|anything|what(?:ever)?)\b.{{0,30}}?
        \b(?:above|before|previous\w*|earlier|you\ (?:were|have\ been)\ told|you\ know)""",
        rf"""{_OVERRIDE_DE}\b(?:\s+(?:alle|all|die|deine|deiner|meine|bisherigen|vorherigen|obigen
        |vorigen|früheren|bestehenden|internen|sämtliche|diese|jede)\b)*\s+{_RULES_DE}""",
        rf"{_OVERRIDE_DE}\b\s+alles\b.{{0,30}}?\b(?:zuvor|vorher|bisher|oben|davor)",
        # What the assistant was told is to be shown.
        rf"{_REVEAL}\b.{{0,30}}?\b{_PROMPT}",
        rf"{_REVEAL_DE}\b.{{0,30}}?\b{_PROMPT}",
        r"""(?:reveal|dump|leak|disclose|recite|repeat|print|output)\b.{0,20}?\byour\s+(?:\w+\s+)?
        (?:instructions?|rules|guidelines|configuration|programming)\b""",
        r"""(?:verrat\w*|offenbar\w*|wiederhol\w*)\b.{0,20}?\bdeine\s+(?:\w+\s+)?
        (?:anweisung\w*|regeln|vorgaben|konfiguration)\b""",
        r"""(?:repeat|print|output|copy|recite)\b.{0,30}?\b(?:everything|all|text|words|messages?
        |instructions?)\b.{0,20}?\b(?:above|before\ this|preceding)\s*
        (?:[.!?:,]|$|starting|word|verbatim|exactly)""",
        # Secrets of the system or of others are to be given away.
        rf"{_REVEAL}\b.{{0,20}}?\b{_OWNER}\s+(?:\w+\s+)?{_GUARDED}{_ENDS}",
        rf"{_REVEAL_DE}\b.{{0,20}}?\b{_OWNER}\s*(?:\w+\s+)?{_GUARDED}{_ENDS}",
        rf"""{_REVEAL}\b.{{0,20}}?\b{_GUARDED}\s+(?:(?:that\ )?you\ (?:use|have|know|store)
        |(?:of|for)\ (?:the\ )?(?:all|other|every|another))\b""",
        # The assistant is to be another one.
        r"""(?:pretend|imagine|act|behave|respond|answer|reply|roleplay|speak)\b.{0,40}?\b
        (?:(?:no|without(?:\ any)?|free\ (?:of|from)(?:\ all|\ any)?)\ (?:restrictions?|rules|limits
        |limitations|filters?|guidelines|safety\w*|censorship)|unrestricted|uncensored|unfiltered
        |jailbroken|jailbreak|dan\b|do\ anything\ now)""",
        r"""(?:you\ are|you're|du\ bist)\ (?:now|no\ longer|jetzt|nicht\ mehr|not)\b.{0,30}?\b
        (?:dan\b|bound|unrestricted|uncensored|jailbroken|developer\ mode|evil
        |free\ (?:of|from)|gebunden)""",
        r"""(?:enter|enable|activate|switch\ (?:in)?to|turn\ on|go\ into|aktiviere)\b.{0,15}?\b
        (?:developer|debug|god|admin|jailbreak|dan|maintenance|sudo|entwickler)\W?(?:mode|modus)""",
        # Harm is to be done, or sources are to be made up.
        r"""(?:delete|erase|wipe|destroy|drop|truncate|corrupt|lösche|vernichte)\b\s+(?:(?:all|every
        |the|your|any|other|users?['’]?|alle|die|of)\s+)*(?:documents?|files|tables?|databases?|data
        |collections?|workspaces?|index|dokumente|dateien|daten\w*)\b""",
        r"drop\s+table\b",
        r"(?:run|execute|eval)\b.{0,40}?(?:\brm\s+-rf|\bdrop\s+table|/etc/passwd|\bcurl\s+http)",
        r"""(?:send|post|upload|forward|e?mail|exfiltrate|leak)\b.{0,60}?\b(?:documents?|files|data
        |contents?|conversations?|history|everything|answers?)\b.{0,30}?\bto\s+
        (?:https?://|\S+@\S+\.\w|my\ (?:server|webhook|address|e?mail))""",
        r"""(?:write|create|build|generate|make|code|develop|give|draft|schreib\w*|erstell\w*|bau\w*)
        \b(?:\s+(?:me|us|mir|a|an|some|the|new|working|convincing|eine?n?|simple)\b)*\s+(?:malware
        |ransomware|(?:computer\ )?virus\b|keylogger|trojan|phishing\W?(?:e?mail|mail|page|site)\w*
        |spyware|botnet|schadsoftware|erpressungs\w+)""",
        r"""(?:make\ up|invent|fabricate|fake|forge|erfinde|fälsche)\b.{0,20}?\b
        (?:citations?|sources?|quotes?|quotations?|references|quellen?|zitate?|belege)\b""",
    )
)
"""What an order says; matched where an order begins."""

_QUESTIONS = tuple(
    _pattern(text)
    for text in (
        rf"(?:what|which)(?:\ is|\ are|['’]s|\ was|\ were)\b\s+your\s+{_GUARDED}{_ENDS}",
        rf"""(?:what|which)(?:\ is|\ are|['’]s)\b\s+(?:the\s+)?(?:(?:an)?other\ (?:users?|customers?
        |tenants?)['’]?s?|every(?:one|body)['’]?s|all\ users['’]?)\s+{_GUARDED}{_ENDS}""",
        r"""what(?:\ is|\ are|['’]s|\ was|\ were|\ does)\b\s+your\s+(?:\w+\s+)??
        (?:(?:system|initial|hidden|secret|developer|original)\W?(?:prompt|message|instructions?)|prompt)\b
        (?!\s+(?:delivery|payment|service|reply|response))""",
        rf"(?:wie|was)\ (?:lautet|ist|sind|lauten)\s+dein\w*\s+(?:system\W?prompt|{_GUARDED})",
        r"which\ (?:instructions|system\ prompt)\ (?:were|was|have)\ you\ (?:been\ )?given",
    )
)
"""Questions that ask for the assistant's own secrets."""

_FAKED_ROLE = _pattern(r"""
    ^\s*(?:<\|?(?:im_start|system|assistant)\|?>|\[/?(?:inst|system)\]|<</?sys>>|</?(?:system|context
    |sources?|documents?)>|\#{2,}\s*(?:system|instructions?|new\ instructions?)\s*:?\s*$)
""")
"""A line that plays the machine's own part."""

_JOINED = re.compile(r"[,:]\s*|\s+(?:and|then|und|dann|but|aber)\s+")
"""Where a second order may begin in a sentence that is none of the questions."""


def is_unsafe(question: str) -> bool:
    """Say whether the assistant itself is asked to break its rules, betray secrets or do harm."""
    folded = question.casefold().replace("\u200b", "").replace("\u00ad", "")
    if any(_FAKED_ROLE.match(line) for line in folded.splitlines()):
        return True
    return any(_is_unsafe_sentence(each) for each in _SENTENCE.split(folded) if each.strip())


def _is_unsafe_sentence(sentence: str) -> bool:
    text = _without_quotations(" ".join(sentence.split()))
    if any(rule.match(text.lstrip("\"'“‘ ")) for rule in _QUESTIONS):
        return True
    order = _bare(text)
    if _ASKS.match(order):
        return False
    starts = [order, *(_bare(part) for part in _parts(order))]
    return any(rule.match(start) for start in starts for rule in _ORDERS)


def _bare(text: str) -> str:
    """Return the text without courtesies before its verb."""
    polite = _POLITE.match(text)
    return text[polite.end() if polite else 0 :].lstrip("\"'“‘*#>- ")


def _parts(order: str) -> list[str]:
    return [order[found.end() :] for found in _JOINED.finditer(order)]


def _without_quotations(sentence: str) -> str:
    """Leave out what is quoted in a sentence that says something about it."""
    rest = _QUOTED.sub(" ", sentence)
    return rest if len(re.findall(r"\w+", rest)) >= _LEAST_LEFT else sentence
