"""Texts as people and attackers write them: other case, odd spacing, typing errors, disguise. Labels stay."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from hubtools.heads.changes import LOOK_ALIKES

INVISIBLE = ("\u200b", "\u200c", "\u2060", "\u00ad")  # zero width space and non-joiner, word joiner, soft hyphen

_NEIGHBOURS = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wqwryuiopisapdfghjksxzcvbn", strict=True))


def change_case(text: str, rng: random.Random) -> str:
    """Return the text in small letters, in capitals, with a capital for each word, or with capitals anywhere."""
    form = rng.random()
    if form < 0.5:
        return text.lower()
    if form < 0.7:
        return text.upper()
    if form < 0.85:
        return text.title()
    return "".join(c.upper() if rng.random() < 0.3 else c.lower() for c in text)


def change_spacing(text: str, rng: random.Random) -> str:
    """Return the text with some spaces doubled, left out, or as line breaks; a few words are spelt out."""
    pieces = re.split(r"( )", text)
    for i, piece in enumerate(pieces):
        chance = rng.random()
        if piece == " " and chance < 0.08:
            pieces[i] = "" if chance < 0.03 else rng.choice(("  ", "\n", "   "))
        elif piece.isalpha() and len(piece) > 3 and chance < 0.04:
            pieces[i] = " ".join(piece)
    return "".join(pieces)


def mistype(text: str, rng: random.Random) -> str:
    """Return the text with about one letter in thirty left out, doubled, exchanged with the next, or hit beside."""
    letters = list(text)
    i = 0
    while i < len(letters):
        if letters[i].isalpha() and rng.random() < 0.033:
            kind = rng.randrange(4)
            if kind == 0:
                letters[i] = ""
            elif kind == 1:
                letters[i] *= 2
            elif kind == 2 and i + 1 < len(letters):
                letters[i], letters[i + 1] = letters[i + 1], letters[i]
                i += 1
            else:
                letters[i] = _NEIGHBOURS.get(letters[i], letters[i])
        i += 1
    return "".join(letters)


def disguise(text: str, rng: random.Random) -> str:
    """Return the text with letters of other scripts that look alike, or with invisible characters within words."""
    share = rng.uniform(0.05, 0.5)
    if rng.random() < 0.5:
        return "".join(LOOK_ALIKES[c] if c in LOOK_ALIKES and rng.random() < share else c for c in text)
    mark = rng.choice(INVISIBLE)
    inside = (c.isalpha() and behind.isalpha() for c, behind in zip(text, text[1:] + " ", strict=True))
    return "".join(c + mark if within and rng.random() < share else c for c, within in zip(text, inside, strict=True))


CHANGES: tuple[Callable[[str, random.Random], str], ...] = (change_case, change_spacing, mistype, disguise)


def add_noise(text: str, rng: random.Random) -> str:
    """Return the text with one change, or with two."""
    for change in rng.sample(CHANGES, 1 if rng.random() < 0.7 else 2):
        text = change(text, rng)
    return text
