"""category: questions as people ask them, and not as an examination does."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hubtools.spec import Augmentation, Example

# What only an examination says: each with what stands in its place.
_EXAM_FORM = (
    (r"\bwhich (?:one )?of (?:the following|these|the below)\b", "which"),
    (r"\b(?:of|in|from|among) the following\b", ""),
    (r"\b(?:choose|select|pick|mark) the (?:correct|best|right|most \w+) (?:answer|option|choice)s?\b[.:]?", ""),
    (r"\b(?:except|not true|incorrect)\s*:?\s*$", ""),
    (r"[:.]?\s*(?:answer|options?|choices?)\s*:\s*$", ""),
    (r"\s*_{2,}\s*", " something "),
    (r"\s*[:,]\s*$", ""),
)  # fmt: skip
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), instead) for pattern, instead in _EXAM_FORM)

# A sentence that an examination leaves open, to be completed by one of the options.
_OPEN_END = re.compile(
    r"\b(?:is|are|was|were|of|by|to|the|a|an|that|as|because|with|for|in|from|called|means?)\s*$", re.I
)

_OPENINGS = (
    "hey, ", "hi! ", "quick question: ", "can you help me with this? ", "i don't get this: ", "please explain: ",
    "so ", "ok so ", "my friend asked me ", "for a project i need to know ", "could you tell me ", "i was wondering, ",
    "help pls ", "hello there. ", "i have to write about this: ", "someone told me to look into this. ", "one more: ",
    "we talked about this today. ", "short answer please: ", "i'm stuck. ",
)  # fmt: skip
_CLOSINGS = (
    "", "", "", " thanks", " thanks!", " pls explain", " explain it simply please", " i need it for tomorrow",
    " and why?", " can you show the steps?", " keep it short", " what do you think", " any idea", " thank you so much!",
)  # fmt: skip


def drop_exam_form(text: str) -> str:
    """Return a question without the words of an examination; the text itself where it has none."""
    plain = text.strip()
    for pattern, instead in _COMPILED:
        plain = pattern.sub(instead, plain)
    plain = re.sub(r"[ \t]{2,}", " ", plain).strip()
    if _OPEN_END.search(plain):
        plain = "complete this and explain: " + plain
    # Whatever is left must still say what it is about.
    return plain if len(plain) >= 15 else text


def ask_plainly(rows: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    """Yield rows whose text has the form of an examination without it, each once, in an order by chance."""
    for row in rng.sample(rows, len(rows)):
        text = drop_exam_form(row.text)
        if text != row.text.strip():
            yield replace(row, text=text)


def chat(rows: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    """Yield rows as they are typed in a chat: not in the form of an examination, loosely, with words around."""
    if not rows:
        return
    while True:
        row = rng.choice(rows)
        text = drop_exam_form(row.text)
        if rng.random() < 0.6:
            text = text.lower()
        if rng.random() < 0.4:
            # Signs that calculate stay: without them a formula is another one.
            text = re.sub(r"[.?!,;:'\"](?=\s|$)", "", text)
        if rng.random() < 0.8:
            text = rng.choice(_OPENINGS) + text
        yield replace(row, text=text + rng.choice(_CLOSINGS))


AUGMENTATIONS = (
    Augmentation("plain", 0.1, ask_plainly, "questions without the form of an examination"),
    Augmentation("chat", 0.15, chat, "questions as people type them in a chat"),
)
