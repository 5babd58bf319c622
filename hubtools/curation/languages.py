"""Which languages texts are in."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence

from hubtools.records.dataset import DatasetFacts
from hubtools.task import TaskSpec

_LOOKED_AT = 1_000  # texts: their shares are known to about 3 points
_LEAST_SHARE = 0.1  # of the texts: the library takes a short one for another language now and then
_MOST_CHARACTERS = 1_000  # of a text, whose language its beginning tells
_LETTERS = re.compile(r"[^\W\d_]")

# What the library tells apart by single characters, and a card's reader does not.
_SAME = {"yue": "zh", "wuu": "zh", "nb": "no", "nn": "no"}

UNKNOWN = "unknown"  # the Hub's own word


def list_languages(task: TaskSpec, facts: DatasetFacts) -> list[str]:
    """Return the languages of a dataset; of one that an earlier version made, those that the task names."""
    return [*(facts.languages or task.card.languages)]


def find_languages(texts: Sequence[str], seed: int) -> list[str]:
    """Return the languages of the texts as ISO 639 codes, the most frequent first; :data:`UNKNOWN` where none has
    letters.

    The same texts give the same answer, in any order.
    """
    # Sorted first: the order in which rows came is no property of theirs.
    worded = sorted(text for text in set(texts) if _LETTERS.search(text))
    sample = random.Random(seed).sample(worded, min(_LOOKED_AT, len(worded)))
    found: Counter[str] = Counter()
    for text in sample:
        found[find_language(text)] += 1
    ordered = sorted(found, key=lambda language: (-found[language], language))
    # Of many languages, none of which is frequent, the first is still named.
    return [name for n, name in enumerate(ordered) if not n or found[name] >= _LEAST_SHARE * len(sample)] or [UNKNOWN]


def find_language(text: str) -> str:
    """Return the language of a text as an ISO 639 code; "" where it has no letters."""
    from py3langid import classify

    if not _LETTERS.search(text):
        return ""
    language = str(classify(text[:_MOST_CHARACTERS])[0])
    return _SAME.get(language, language)
