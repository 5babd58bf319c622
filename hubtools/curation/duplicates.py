"""Duplicates and near-duplicates.

Two texts are the same when they agree after NFKC, casefolding and folding of punctuation and white space; they
are near-duplicates when the Jaccard similarity of their sets of word 3-grams is at least 0.8. MinHash only
proposes pairs, each is confirmed exactly.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

NEAR = 0.8
_PERMUTATIONS = 128
_BANDS = 32  # 32 bands of 4 rows propose a pair of similarity .8 with probability 1 - 5e-8
_FOLD = re.compile(r"[\W_]+")


def comparison_key(text: str) -> str:
    """``text`` as it is compared, never as it is trained on: words in lower case, one space between them.

    A text of punctuation alone is compared as it is, or all of them would be duplicates.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _FOLD.sub(" ", folded).strip() or folded


def content_hash(text: str) -> str:
    """SHA-256 of the comparison key, in hex: the identity of a text for duplicates and splits."""
    return hashlib.sha256(comparison_key(text).encode("utf-8", "surrogatepass")).hexdigest()


def shingles(key: str) -> frozenset[str]:
    """Word 3-grams of a comparison key; a text of fewer than three words is one shingle."""
    words = key.split()
    return frozenset(" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2)))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b)


def near_duplicate_pairs(keys: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of comparison keys that are near-duplicates, sorted."""
    from rensa import RMinHash, RMinHashLSH

    if len(keys) < 2:
        return []
    sets = [shingles(key) for key in keys]
    hashes = RMinHash.from_token_sets([sorted(s) for s in sets], num_perm=_PERMUTATIONS, seed=42)
    index = RMinHashLSH(threshold=NEAR, num_perm=_PERMUTATIONS, num_bands=_BANDS)
    pairs = []
    for i, minhash in enumerate(hashes):
        for j in index.query(minhash):
            if jaccard(sets[i], sets[j]) >= NEAR:
                pairs.append((j, i))
        index.insert(i, minhash)
    return sorted(pairs)


class Clusters:
    """Union-find over row numbers; a cluster's name is its smallest member."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        a, b = sorted((self.find(i), self.find(j)))
        self._parent[b] = a
