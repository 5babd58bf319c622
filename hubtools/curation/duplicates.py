"""Duplicates and near-duplicates.

Two texts are the same when they agree after NFKC, casefolding and folding of punctuation and white space; they
are near-duplicates when the Jaccard similarity of their sets of word 3-grams is at least 0.8. Where a
script puts no spaces between words, 4-grams of characters stand for these: see ``make_comparison_key``.

Every near-duplicate is found, by prefix filtering (AllPairs, Bayardo et al. 2007; PPJoin, Xiao et al. 2008): of two
sets so alike, the rarest fifth of each holds a shingle of the other's, so only rows that share a rare shingle are
compared. MinHash would miss some, and would propose all copies of a template, however they are filled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

NEAR = 0.8
_SLACK = 1e-9  # against rounding: a pair too many is compared, and is not alike
_BLOCK = 2**12  # rows that are coded together


def make_shingles(key: str) -> frozenset[str]:
    """Return the word 3-grams of a comparison key; a text of fewer than three words is one shingle."""
    words = key.split()
    return frozenset(" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2)))


def compute_jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Return the Jaccard similarity of two sets of shingles, from 0 to 1: what both hold, of what either holds."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def cluster_near_duplicates(keys: Sequence[str]) -> list[int]:
    """Return, for each comparison key, the smallest row number of its cluster; its own where nothing is like it.

    A cluster holds all rows that near-duplicates lead to, from one to the next.
    """
    clusters = Clusters(len(keys))
    near = _make_comparison(keys)
    for bucket in _iterate_buckets(keys):
        # Rows that are in one cluster already need not be compared with one another.
        by_cluster: dict[int, list[_Entry]] = defaultdict(list)
        for entry in bucket:
            by_cluster[clusters.find(entry.row)].append(entry)
        groups = list(by_cluster.values())
        while groups:
            group = groups.pop()
            for other in groups:
                if any(near(a, b) for a in group for b in other):
                    clusters.join(group[0].row, other[0].row)
                    other += group  # compared with the groups that are left, as part of this one
                    break
    return [clusters.find(row) for row in range(len(keys))]


def find_near_duplicates_of_earlier(keys: Sequence[str], ranks: Sequence[int]) -> set[int]:
    """Return the rows that have a near-duplicate among the rows of a lower rank."""
    near_earlier: set[int] = set()
    near = _make_comparison(keys)
    for bucket in _iterate_buckets(keys):
        by_rank: dict[int, list[_Entry]] = defaultdict(list)
        for entry in bucket:
            by_rank[ranks[entry.row]].append(entry)
        earlier: list[_Entry] = []
        for rank in sorted(by_rank):
            # One partner is enough: what has one already is not compared again.
            candidates = [b for b in by_rank[rank] if b.row not in near_earlier]
            near_earlier.update(b.row for b in candidates if any(near(a, b) for a in earlier))
            earlier += by_rank[rank]
    return near_earlier


class Clusters:
    """Union-find over row numbers; a cluster's name is its smallest member."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, i: int) -> int:
        """Return the name of the cluster that row ``i`` is in."""
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]  # halves the path for the next who asks
            i = self._parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        """Make one cluster of those of rows ``i`` and ``j``."""
        a, b = sorted((self.find(i), self.find(j)))
        self._parent[b] = a


class _Entry(NamedTuple):
    """A row in a bucket: how many shingles it has, and how many of them from the bucket's own on, rarest first."""

    row: int
    size: int
    rest: int


def _make_comparison(keys: Sequence[str]) -> Callable[[_Entry, _Entry], bool]:
    """Return whether two entries of one bucket are near-duplicates, where the bucket's shingle is the first they share.

    Then they share no more than the lesser ``rest``; of two sets, those of similarity t share t / (1 + t) of the
    sum of their sizes. Near-duplicates meet in the bucket of the first shingle they share, among others.
    """
    # A row is compared with many in a row; sets of all rows at once would not fit in memory.
    shingles_of = lru_cache(maxsize=256)(lambda row: make_shingles(keys[row]))

    def near(a: _Entry, b: _Entry) -> bool:
        if min(a.rest, b.rest) * (1 + NEAR) < (a.size + b.size) * NEAR - _SLACK:
            return False
        return compute_jaccard(shingles_of(a.row), shingles_of(b.row)) >= NEAR

    return near


def _iterate_buckets(keys: Sequence[str]) -> Iterator[list[_Entry]]:
    """Yield rows that share a shingle among the rarest of each.

    Any two near-duplicates are in one bucket together.
    """
    import numpy as np

    if not keys:
        return
    blocks = [_code_shingles(keys[start : start + _BLOCK]) for start in range(0, len(keys), _BLOCK)]
    # How often a shingle occurs, counted by its leading bits, to a power of two: it becomes what leads its code.
    bits = min(22, sum(len(codes) for codes, _ in blocks).bit_length() + 1)
    counts = np.zeros(2**bits, np.int64)
    for codes, _ in blocks:
        np.add.at(counts, codes >> np.uint64(64 - bits), 1)
    frequency = np.frexp(counts)[1].astype(np.uint64) << np.uint64(58)
    parts = []
    for number, (codes, sizes) in enumerate(blocks):
        shingle, row, size, rest = _pick_rarest(frequency[codes >> np.uint64(64 - bits)] | codes >> np.uint64(6), sizes)
        parts.append((shingle, np.stack([row + number * _BLOCK, size, rest]).astype(np.int32)))
    shingle = np.concatenate([part[0] for part in parts])
    row, size, rest = np.concatenate([part[1] for part in parts], axis=1)
    del blocks, parts
    order = np.argsort(shingle)
    first = np.r_[True, shingle[order[1:]] != shingle[order[:-1]], True]
    bucket, several = np.cumsum(first[:-1]), ~(first[:-1] & first[1:])
    order, bucket = order[several], bucket[several]
    by_size = np.lexsort((size[order], bucket))
    order, bucket = order[by_size], bucket[by_size] << 32  # so that sizes in all buckets are one rising series
    row, size, rest = row[order], size[order], rest[order]

    # The bound in _make_comparison, solved for the other's size: how large it may be at most. A row that cannot be the
    # smaller of a pair stays only where a smaller one can have it. A bucket of 50,000 often falls to a few so.
    most = np.floor(rest * (1 + 1 / NEAR) + _SLACK).astype(np.int64) - size
    best = np.maximum.accumulate(np.r_[0, bucket + most])
    stays = (most >= size) | (best[np.searchsorted(bucket + size, bucket + most, side="right")] >= bucket + size)
    bucket, row, size, rest = bucket[stays], row[stays], size[stays], rest[stays]
    cuts = np.flatnonzero(np.diff(bucket, prepend=0, append=0))
    for a, b in pairwise(cuts.tolist()):
        if b - a > 1:
            yield list(map(_Entry, row[a:b].tolist(), size[a:b].tolist(), rest[a:b].tolist()))


def _code_shingles(keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return all shingles of all rows as numbers, uint64, row after row; and how many each row has, repeats included.

    Two shingles share a number with a chance of 2^-58. It decides what is compared, never what is found alike.
    """
    import numpy as np

    lengths: list[int] = []

    def words() -> Iterator[str]:
        for key in keys:
            padded = key.split()
            padded += [""] * (3 - len(padded))
            lengths.append(len(padded))
            yield from padded

    # Python's own hash differs between processes: it decides what is compared, and so no result depends on it.
    hashes = np.fromiter(map(hash, words()), np.int64).view(np.uint64)
    odd = np.uint64(0x9E3779B97F4A7C15)
    codes = (hashes[:-2] * odd + hashes[1:-1]) * odd + hashes[2:]
    within = np.ones(len(codes), bool)
    ends = np.cumsum(lengths[:-1], dtype=np.int64)
    within[ends - 1] = within[ends - 2] = False  # two rows' words
    return codes[within], np.array(lengths) - 2


def _pick_rarest(codes: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    """Return the lowest codes of each row, as many as it must share one of with a near-duplicate.

    Returns:
        Four arrays of one length: code, row, number of the row's codes, number from this code on.
    """
    import numpy as np

    starts = np.cumsum(sizes) - sizes
    by_size = np.argsort(sizes, kind="stable")
    parts = []
    for rows in np.split(by_size, np.flatnonzero(np.diff(sizes[by_size])) + 1):
        width = int(sizes[rows[0]])
        table = codes[starts[rows, None] + np.arange(width)]
        table.sort(axis=1)
        again = np.zeros(table.shape, bool)
        again[:, 1:] = table[:, 1:] == table[:, :-1]
        if again.any():  # a set holds a shingle once
            table[again] = np.iinfo(np.uint64).max
            table.sort(axis=1)
        size = width - again.sum(axis=1)
        rest = size[:, None] - np.arange(width)
        prefix = rest >= NEAR * size[:, None] - _SLACK  # near-duplicates share that many
        line = np.nonzero(prefix)[0]
        parts.append((table[prefix], rows[line], size[line], rest[prefix]))
    return [np.concatenate(column) for column in zip(*parts, strict=True)]
