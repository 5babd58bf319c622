"""jailbreak: attacks where they are not expected, and harmless prompts in the same form: the form tells nothing."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hubtools.spec import Augmentation, Example
from hubtools.tasks.noise import add_noise

_POSITIVE = "jailbreak"
_LONGEST_HIDDEN = 1_500  # characters of what is put into a document
_SHORTEST_DOCUMENT = 200
_LONGEST = 2_200  # with what is put in: about as much as a window holds
# Where something can be put between: behind a sentence, or at a line break.
_SEAM = re.compile(r"(?<=[.!?])\s+(?=\S)|\n+(?=\S)")


def _divide(rows: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Return the attacks and the harmless rows."""
    return [row for row in rows if row.label == _POSITIVE], [row for row in rows if row.label != _POSITIVE]


def hide_attacks(rows: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    """Yield harmless texts with another row at a random place in them: an attack in one, a harmless row in the next.

    Of a long text it is a passage, so that a model reads what was put in. A row keeps the source of what was put in,
    and is of both rows' splits: training's.
    """
    attacks, harmless = _divide(rows)
    attacks = [row for row in attacks if len(row.text) <= _LONGEST_HIDDEN]
    short = [row for row in harmless if len(row.text) <= _LONGEST_HIDDEN]
    documents = [row.text for row in harmless if len(row.text) >= _SHORTEST_DOCUMENT]
    if not (attacks and short and documents):
        return
    while True:
        for pool in (attacks, short):
            hidden = rng.choice(pool)
            document = _take_passage(rng.choice(documents), _LONGEST - len(hidden.text), rng)
            seams = [(0, 0), *(match.span() for match in _SEAM.finditer(document)), (len(document),) * 2]
            start, end = rng.choice(seams)
            gap = rng.choice((" ", "\n", "\n\n"))
            before, after = document[:start].rstrip(), document[end:].lstrip()
            yield replace(hidden, text=gap.join(part for part in (before, hidden.text.strip(), after) if part))


def _take_passage(text: str, most: int, rng: random.Random) -> str:
    """Return a text, or where it has more than ``most`` characters a part of it that begins a sentence or a line."""
    if len(text) <= most:
        return text
    start = rng.choice([0, *(match.end() for match in _SEAM.finditer(text, 0, len(text) - _SHORTEST_DOCUMENT))])
    return text[start : start + most]


def surround(rows: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    """Yield rows, attacks and others in turns, with a few harmless words before, behind, or on both sides."""
    attacks, harmless = _divide(rows)
    if not (attacks and harmless):
        return

    def take_words() -> str:
        words = rng.choice(harmless).text.split()
        first = rng.randrange(len(words))
        return " ".join(words[first : first + rng.randint(1, 12)])

    while True:
        for pool in (attacks, harmless):
            row, form = rng.choice(pool), rng.random()
            before = take_words() if form < 0.7 else ""
            after = take_words() if form > 0.4 else ""
            gap = rng.choice((" ", " ", "\n", ". "))
            yield replace(row, text=gap.join(part for part in (before, row.text.strip(), after) if part))


def roughen(rows: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    """Yield rows, attacks and others in turns, in other case, with odd spacing, typing errors or disguise."""
    attacks, harmless = _divide(rows)
    if not (attacks and harmless):
        return
    while True:
        for pool in (attacks, harmless):
            row = rng.choice(pool)
            yield replace(row, text=add_noise(row.text, rng))


# Also of the starter corpus: docs/robustness.md says what the demo's model catches with these rows, and without.
AUGMENTATIONS = (
    Augmentation(
        "hidden", 0.25, hide_attacks, "attacks at a random place of harmless texts, harmless rows likewise",
        of_starter=True,
    ),
    Augmentation(
        "surrounded", 0.1, surround, "harmless words before and behind attacks, and harmless rows likewise",
        of_starter=True,
    ),
    Augmentation(
        "noise", 0.2, roughen, "rows in other case, with odd spacing, typing errors or look-alike letters",
        of_starter=True,
    ),
)  # fmt: skip
