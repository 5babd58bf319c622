"""Changes to a text that leave its meaning: case, typos, look-alikes, invisible characters, a few words around it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType

from hubtools.metrics.spans import SpanDict

# Letters of other scripts that most fonts draw as the Latin ones.
LOOK_ALIKES = MappingProxyType(dict(zip("aceijopsxyABCEHIKMNOPSTXYZ", "асеіјорѕхуАВСЕНІКМΝОРЅТХΥΖ", strict=True)))
ZERO_WIDTH = "\u200b"
AROUND = (
    ("Hello! ", ""), ("Good morning. ", " Thank you."), ("", " Thanks in advance!"), ("Hi there, ", ""),
    ("Just a quick question. ", " Best wishes"), ("", "\n\nHave a nice day."), ("Dear all,\n\n", "\n\nKind regards"),
)  # fmt: skip

_TYPO, _TWIN, _INVISIBLE = 0.2, 0.3, 0.3  # of the words with four letters or more, and of the letters
_LEAST = 4  # letters of a word in which somebody mistypes: short ones would become others


@dataclass(frozen=True)
class Changed:
    """A changed text.

    Attributes:
        pieces: what each character of the text before has become; in front of it stands ``before``.
    """

    pieces: Sequence[str]
    before: str = ""
    behind: str = ""

    @property
    def text(self) -> str:
        """The text as it is now."""
        return "".join((self.before, *self.pieces, self.behind))

    def move(self, spans: Sequence[SpanDict]) -> list[SpanDict]:
        """Return spans of the text before at their new places."""
        ends = [len(self.before), *accumulate((len(piece) for piece in self.pieces), initial=len(self.before))][1:]
        return [{**span, "start": ends[span["start"]], "end": ends[span["end"]]} for span in spans]


Change = Callable[[str, random.Random], Changed]


def _lower(text: str, rng: random.Random) -> Changed:
    return Changed([character.lower() for character in text])


def _upper(text: str, rng: random.Random) -> Changed:
    return Changed([character.upper() for character in text])


def _mistype(text: str, rng: random.Random) -> Changed:
    """Swap, drop or double an inner letter of one word in five."""
    pieces = list(text)
    for start, end in _find_runs(text):
        if end - start < _LEAST or rng.random() >= _TYPO:
            continue
        at = rng.randrange(start + 1, end - 2) if end - start > _LEAST else start + 1
        kind = rng.randrange(3)
        if kind == 0:
            pieces[at], pieces[at + 1] = pieces[at + 1], pieces[at]
        else:
            pieces[at] = "" if kind == 1 else 2 * pieces[at]
    return Changed(pieces)


def _find_runs(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each run of letters."""
    runs, start = [], None
    for i, character in enumerate(f"{text} "):
        if character.isalpha():
            start = i if start is None else start
        elif start is not None:
            runs.append((start, i))
            start = None
    return runs


def _disguise(text: str, rng: random.Random) -> Changed:
    return Changed([LOOK_ALIKES[c] if c in LOOK_ALIKES and rng.random() < _TWIN else c for c in text])


def _hide(text: str, rng: random.Random) -> Changed:
    """Put an invisible character behind letters, never at the end of a word."""
    return Changed([
        c + ZERO_WIDTH if c.isalpha() and text[i + 1 : i + 2].isalpha() and rng.random() < _INVISIBLE else c
        for i, c in enumerate(text)
    ])  # fmt: skip


def _surround(text: str, rng: random.Random) -> Changed:
    before, behind = rng.choice(AROUND)
    return Changed(list(text), before, behind)


# By the name that cards give them.
CHANGES: Mapping[str, Change] = MappingProxyType({
    "in lower case": _lower,
    "in capitals": _upper,
    "a typo in every fifth word": _mistype,
    "letters of other scripts that look alike": _disguise,
    "invisible characters within words": _hide,
    "a greeting or thanks around it": _surround,
})  # fmt: skip
