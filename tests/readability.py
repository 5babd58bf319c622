"""How easily a page of Markdown reads: sentence length, Flesch's score, and how much of it is in the passive."""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass

import textstat

_IRREGULAR = (
    "begun|bound|broken|brought|built|chosen|cut|done|drawn|driven|fed|felt|found|forgotten|given|gone|got|held|hidden|"
    "hit|kept|known|laid|learnt|led|left|let|lost|made|meant|met|paid|put|read|run|said|seen|sent|set|shown|shut|"
    "spent|split|spoken|taken|taught|thrown|told|understood|undone|won|worn|written"
)
# A form of "to be", an adverb at most, a participle.
_PASSIVE = re.compile(
    rf"\b(?:am|is|are|was|were|be|been|being)\s+(?:not\s+|never\s+|\w+ly\s+)?(?:\w{{2,}}ed|{_IRREGULAR})\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Readability:
    """Figures of one page; ``passive`` is a share of its sentences."""

    sentences: int
    median_words: float
    flesch: float
    passive: float


def find_sentences(page: str) -> list[str]:
    """Return the sentences of a page: no code, tables, headings, comments, pictures or front matter."""
    text = re.sub(r"\A---\n.*?\n---\n", "", page, flags=re.DOTALL)
    text = re.sub(r"^( *)```.*?^\1```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->|<[^>\n]+>", "", text, flags=re.DOTALL)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "this", text)  # a name is one word that everybody reads at once
    text = re.sub(r"[*_]{1,2}(?=\S)|(?<=\S)[*_]{1,2}", "", text)
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        item = re.match(r"\s*(?:[-*+]|\d+\.)\s+(.*)", line)
        if not line.strip() or re.match(r"\s*(#|\||\||:?-{3,}|!!!)", line):
            blocks.append([])
        elif item:
            blocks.append([item.group(1)])
        else:
            blocks[-1].append(line.strip())
    found = []
    for block in blocks:
        for sentence in re.split(r"(?<=[.!?])[)\"”]*\s+(?=[\W\d]*[A-Z]|hubtools\b)", " ".join(block)):
            if len(re.findall(r"[^\W\d_]+", sentence)) > 2:
                found.append(sentence.strip())
    return found


def is_passive(sentence: str) -> bool:
    """Return whether a sentence holds a form of "to be" and a participle."""
    return bool(_PASSIVE.search(sentence))


def measure(page: str) -> Readability:
    """Return the figures of a page of Markdown with at least one sentence."""
    sentences = find_sentences(page)
    return Readability(
        sentences=len(sentences),
        median_words=statistics.median(len(re.findall(r"\w[\w'’.-]*", sentence)) for sentence in sentences),
        flesch=textstat.flesch_reading_ease(" ".join(f"{sentence.rstrip('.:;!?')}." for sentence in sentences)),
        passive=sum(map(is_passive, sentences)) / len(sentences),
    )
