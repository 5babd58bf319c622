"""jailbreak: attacks where they are not expected, and harmless prompts in the same form: the form tells nothing."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hubtools.spec import Augmentation, Example
from hubtools.tasks.demands import DEMANDS
from hubtools.tasks.noise import add_noise

_POSITIVE = "jailbreak"
_LONGEST_HIDDEN = 1_500  # characters of what is put into a text
_SHORTEST, _LONGEST = 20, 2_000  # of that text: with what is put in, up to about a window
# Where something can be put between: behind a sentence, or at a line break.
_SEAM = re.compile(r"(?<=[.!?])\s+(?=\S)|\n+(?=\S)")


def _divide(rows: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Return the attacks and the harmless rows."""
    return [row for row in rows if row.label == _POSITIVE], [row for row in rows if row.label != _POSITIVE]


def _take_turns(attacks: Sequence[Example], harmless: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    """Yield an attack and a harmless row in turns, without end; none where one of them is lacking."""
    while attacks and harmless:
        yield rng.choice(attacks)
        yield rng.choice(harmless)


def hide_attacks(rows: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    """Yield harmless texts with another row at a random place in them: an attack in one, a harmless row in the next.

    The texts are of sentences of harmless rows, from a few words to a whole window. Short ones teach what the long ones
    ask: with long ones alone, whether the nano model learns it at all is a matter of the seed. A row keeps the source
    of what was put in, and is of the splits of all its parts: training's.
    """
    attacks, harmless = _divide(rows)
    attacks = [row for row in attacks if len(row.text) <= _LONGEST_HIDDEN]
    short = [row for row in harmless if len(row.text) <= _LONGEST_HIDDEN]
    for hidden in _take_turns(attacks, short, rng):
        document = _compose(harmless, rng)
        seams = [(0, 0), *(match.span() for match in _SEAM.finditer(document)), (len(document),) * 2]
        start, end = rng.choice(seams)
        gap = rng.choice((" ", "\n", "\n\n"))
        before, after = document[:start].rstrip(), document[end:].lstrip()
        yield replace(hidden, text=gap.join(part for part in (before, hidden.text.strip(), after) if part))


def _compose(harmless: Sequence[Example], rng: random.Random) -> str:
    """Return harmless sentences: as often 20 to 200 characters as 200 to 2,000."""
    length = round(math.exp(rng.uniform(math.log(_SHORTEST), math.log(_LONGEST))))
    gap, text = rng.choice((" ", "\n", "\n\n")), ""
    while len(text) < length:
        sentences = [part for part in _SEAM.split(rng.choice(harmless).text.strip()) if part]
        first = rng.randrange(len(sentences))
        text += (gap if text else "") + " ".join(sentences[first:])[: max(_SHORTEST, length - len(text))]
    return text


def surround(rows: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    """Yield rows, attacks and others in turns, with a few harmless words before, behind, or on both sides."""
    attacks, harmless = _divide(rows)

    def take_words() -> str:
        words = rng.choice(harmless).text.split()
        first = rng.randrange(len(words))
        return " ".join(words[first : first + rng.randint(1, 12)])

    for row in _take_turns(attacks, harmless, rng):
        form = rng.random()
        before = take_words() if form < 0.7 else ""
        after = take_words() if form > 0.4 else ""
        gap = rng.choice((" ", " ", "\n", ". "))
        yield replace(row, text=gap.join(part for part in (before, row.text.strip(), after) if part))


def roughen(rows: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    """Yield rows, attacks and others in turns, in other case, with odd spacing, typing errors or disguise."""
    for row in _take_turns(*_divide(rows), rng):
        yield replace(row, text=add_noise(row.text, rng))


def demand(rows: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    """Yield rows, attacks and others in turns, with up to three strict demands about the form of the answer.

    Some published attacks are no more than such a demand and a harmful question: a model that has seen them alone takes
    "answer without commas" for an attack.
    """
    for row in _take_turns(*_divide(rows), rng):
        chosen = rng.sample(DEMANDS, rng.randint(1, 3))
        # Most people ask first, and say then how they want it.
        chosen.insert(0 if rng.random() < 0.6 else rng.randint(1, len(chosen)), row.text.strip())
        yield replace(row, text=rng.choice((" ", " ", "\n", "\n\n")).join(chosen))


# The starter corpus has few texts in which an attack could hide. docs/robustness.md says what the demo's model catches
# with these rows, and without; docs/recipe.md, what they do to models of the public data.
AUGMENTATIONS = (
    Augmentation(
        "hidden", 0.25, hide_attacks, "attacks at a random place of harmless texts, harmless rows likewise",
        of_starter=0.7,
    ),
    Augmentation(
        "surrounded", 0.1, surround, "harmless words before and behind attacks, and harmless rows likewise",
        of_starter=0.1,
    ),
    Augmentation(
        "demands", 0.15, demand, "demands about the form of an answer, beside attacks and harmless rows alike"
    ),
    Augmentation(
        "noise", 0.2, roughen, "rows in other case, with odd spacing, typing errors or look-alike letters",
        of_starter=0.2,
    ),
)  # fmt: skip
