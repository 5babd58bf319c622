"""Rules that tell the kinds of attack; ``docs/robustness.md`` says how often they err."""

from __future__ import annotations

import re

from hubtools.spec import TextKind

_RULES = r"instruction|direction|rule|guideline|polic|restriction|prompt|filter|limit|safeguard|guardrail|safety"
_LIFTED = r"off|lifted|disabled|withdrawn|void|suspended|repealed|gone|cancel|revoked|set aside|expired|over\b"
_DOCUMENT = (
    r"e?-?mails?|pages?|documents?|articles?|candidates?|cv|r[eé]sum[eé]|reviews?|tickets?|transcripts?|subtitles?|"
    r"minutes|calendars?|invites?|files?|forms?|spreadsheets?|sheets?|table|comments?|logs?"
)

# Of each kind: names of families of a source that hold it, and what texts of it say. A text may be of several, or none.
ATTACK_KINDS = tuple(
    TextKind(name, re.compile("|".join(patterns), re.IGNORECASE | re.DOTALL), re.compile(families))
    for name, families, patterns in (
        (
            "role play",
            r"roleplay|role-play|actor-|game-master|simulated-|grandmother|odd-jobs",
            (
                r"\bact(?:ing)? (?:\w+ ){0,2}?(?:as|like)\b", r"\bpretend", r"\brole-? ?play", r"\bimpersonat",
                r"\b(?:re)?emulate", r"\bsimulate\b", r"\b(?:respond|answer|answering|reply|speak|talk)\w* as\b",
                r"\byou(?:['’]re| are|r)? (?:now|going to (?:act|play|be|become)|about to (?:immerse|become))\b",
                r"\b(?:play|take|assume|adopt)(?:ing)? (?:on )?(?:the|a) (?:\w+ )?(?:role|part|identity|persona|char)",
                r"(?:^|[.!?:]\s+)be (?:a|an|the|my) [a-z]", r"\b(?:you(?:['’]re| are)|ur) (?:a|an|my) [a-z]",
                r"\bin character\b", r"\bfrom now on,? you(?:['’]re| are|r)?\b", r"\bin the role of\b",
                r"\byou are replaced by\b", r"(?-i:\b[Yy]ou(?:['’]re| are) [A-Z]\w)",
                r"\bnew persona\b", r"\b(?:i am|i'm|im) (?:ur|your|the) (?:\w+ )?(?:therapist|director|master|captain)",
                r"\byou be the\b",
            ),
        ),
        (
            "invented character",
            r"persona|do-anything-now|evil-twin|-sidekick|split-personality|unrestricted-model",
            (
                r"\b(?:called|named|known as|goes? by the name)\b", r"\bi (?:shall |will )?(?:name|call)\b",
                r"\b(?:your|ur|his|her|its) (?:new )?name (?:is|was|will be)\b", r"\bidentity of\b",
                r"\bstands? for\b", r"\bdo anything now\b", r"(?-i:\bDAN\b)", r"(?-i:\b(?![Cc]hatGPT\b)\w+GPT\b)",
                r"(?-i:\b(?:[Yy]ou(?:['’]re| are)|(?:[Aa]ct|ing|[Rr]espond|[Aa]nswer|[Rr]eply|[Rr]oleplay) as)"
                r"(?: an?)? (?!I\b|AI\b|[Cc]hat|GPT\b)[A-Z]\w+)",
                r"\bpersonas?\b", r"\bpersonalit", r"\b(?:evil|good) twin\b", r"\balter ego\b",
                r"\bfictional character\b", r"\bcharacter (?:called|named|with)\b", r"\bthe part of (?-i:[A-Z])",
            ),
        ),
        (
            "hypothetical",
            r"hypothe|dream|simulation-in|lawless-world|time-travel|novel|banned-chapter",
            (
                r"\bhypothe", r"\bimagin", r"\bsuppose\b", r"\bfiction", r"\b(?:in|for) (?:a|this|another|my) "
                r"(?:\w+ )?(?:world|universe|story|novel|dream|film|movie|scene|simulation|timeline)\b",
                r"\bwhat (?:if|would)\b", r"\bassume that\b", r"\bthought experiment\b", r"\bnovel\b", r"\bdream",
                r"\bonce upon a time\b", r"\bfar future\b", r"\bsimulation\b",
                r"\bwe(?:['’]re| are) in (?:a|the year)\b",
                r"\btell me a (?:\w+ )?story\b", r"\bthe year (?:is )?(?:19|2[0-9])\d\d",
                r"\b(?:fake|imaginary|parallel) (?:world|universe)\b", r"\blet \w+ be\b", r"\bin my play\b",
            ),
        ),
        (
            "overridden instructions",
            r"ignore-previous|override|policy-update|rule-cancel|memory-reset|unlock-code|developer-mode|"
            r"expired-licence|config-block|fake-system|constitution",
            (
                rf"\b(?:ignor|disregard|forget|overrid|overrul|bypass|drop|cancel|revok|repeal|abolish|suspend|lift|"
                rf"set aside|delet|wip|skip|disabl|scrap|switch off|turn off)\w*\b[^.\n]{{0,40}}?\b(?:{_RULES})",
                rf"\b(?:{_RULES})\w*\b[^.\n]{{0,30}}?\b(?:{_LIFTED})",
                rf"\bnew (?:\w+ )?(?:{_RULES}|order)", r"\bno more (?:rules|limits|filters?|restrictions)\b",
                r"\b(?:forget|ignore) (?:everything|all|any|what)\b", r"\b(?:developer|debug\w*|god|admin|safe) mode\b",
                r"\bmode (?:on|enabled|beneath)\b", r"\bLIMITS ?= ?0\b", r"\bno longer (?:have to|follow|bound)\b",
                r"\bexempt from\b", r"\brelieved of\b", r"\bnull and void\b",
                r"\bunlock(?:ed)? (?:code|mode|yourself)\b",
            ),
        ),
        (
            "hidden in a document",
            r"injection|hidden-document|indirect",
            (
                r"<!--", r"<(?:html|body|meta|title)\b",
                r"\[(?:function|tool|api|search|browser)[ _-]?(?:result|output|call)",
                rf"\b(?:summari[sz]e|translate|proofread|reply to|screen|describe|review|classify|sort|shorten|read|"
                rf"check|extract|rate|answer) (?:\w+ ){{0,4}}(?:{_DOCUMENT})\b",
                r"\b(?:notes?|remarks?|message|instructions?|attention|hint|memo|comment) (?:to|for) (?:\w+ ){0,2}"
                r"(?:ais?|assistants?|bots?|models?|llms?|software|readers?|agents?|systems?)\b",
                r"\breturned \d{3}\b", r"(?:^|\n)\s*(?:from|subject):", r"\d\d:\d\d(?::\d\d)?[,.]?\d* ?-+> ?",
                r"\b(?:reply|respond|answer) to (?:this|the) (?:e?-?mail|letter|ticket|review)",
                r"\b(?:ais?|machines?|assistants?|models?|bots?|engines?) (?:that |which )?(?:read|process|summari)\w*",
                r"\b(?:small|white|invisible) (?:text|print)\b", r"(?:#|//|/\*) ?(?:todo|ai|note)\b",
                r"\bdear (?:\w+ ){0,2}(?:ai|model|engine|assistant|bot)\b",
            ),
        ),
    )
)  # fmt: skip
