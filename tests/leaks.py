"""What leaks from one split to another, found again by code that shares nothing with the product's.

Texts are compared with Unicode form (NFKC), case, punctuation and white space folded; near-duplicates are those whose
sets of word 3-grams have a Jaccard similarity of at least 0.8, all of them, by counting shared 3-grams.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

Rows = Mapping[str, Sequence[Mapping[str, Any]]]  # by split


def words(text: str) -> list[str]:
    """The words of a text, and its symbols, which tell texts apart; one of punctuation alone is its own word."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    signs = (f" {c} " if unicodedata.category(c)[0] == "S" else c if c.isalnum() else " " for c in folded)
    return "".join(signs).split() or [folded]


def three_grams(text: str) -> frozenset[tuple[str, ...]]:
    found = words(text)
    return frozenset(tuple(found[i : i + 3]) for i in range(max(1, len(found) - 2)))


def exact(rows: Rows) -> list[str]:
    """Texts that stand in more than one split."""
    return _shared({split: {" ".join(words(row["text"])) for row in part} for split, part in rows.items()})


def groups(rows: Rows, of: str = "group") -> list[str]:
    """Values of a column that stand in more than one split."""
    return _shared({split: {str(row[of]) for row in part} for split, part in rows.items()})


def near(rows: Rows) -> list[tuple[str, str]]:
    """Pairs of texts in two splits that are near-duplicates."""
    texts = {split: [row["text"] for row in part] for split, part in rows.items()}
    grams = {split: [three_grams(text) for text in part] for split, part in texts.items()}
    found = []
    for larger, smaller in combinations(sorted(rows, key=lambda split: -len(rows[split])), 2):
        holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for i, held in enumerate(grams[larger]):
            for gram in held:
                holders[gram].append(i)
        for j, held in enumerate(grams[smaller]):
            shared = Counter(i for gram in held for i in holders.get(gram, ()))
            for i, count in shared.items():
                if count * 10 >= 8 * (len(held) + len(grams[larger][i]) - count):
                    found.append((texts[larger][i], texts[smaller][j]))
    return found


def _shared(values: Mapping[str, set[str]]) -> list[str]:
    return sorted({value for a, b in combinations(values, 2) for value in values[a] & values[b]})
