"""Near-duplicates against brute force: all of them, nothing else, and little compared on the way."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_curation import near_pairs

from hubtools.curation import duplicates
from hubtools.curation.build import CurationInputs, curate
from hubtools.curation.duplicates import (
    NEAR,
    Clusters,
    cluster_near_duplicates,
    compute_jaccard,
    find_near_duplicates_of_earlier,
    make_shingles,
)
from hubtools.curation.split import SPLITS
from hubtools.curation.user_data import choose_sources
from hubtools.rows import Columns, make_comparison_key
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.workdir import TaskFolder


def edited(rng: random.Random, words: Sequence[str], vocabulary: Sequence[str], edits: int) -> list[str]:
    changed = list(words)
    for _ in range(edits):
        at = rng.randrange(len(changed) + 1)
        changed[at : at + rng.randrange(2)] = [rng.choice(vocabulary)] * rng.randrange(2)
    return changed


def corpus(rng: random.Random) -> list[str]:
    """Families of near-duplicates, and of texts just too different: short and long, some of few different words."""
    vocabulary = [f"w{i}" for i in range(rng.choice([3, 12, 200]))]
    texts = []
    for _ in range(rng.randrange(9)):
        words = [rng.choice(vocabulary) for _ in range(rng.choice([0, 1, 2, 3, 4, 5, 8, 15, 40, 90]))]
        family = [words]
        for _ in range(rng.randrange(6)):  # of the first, or of a copy: chains
            family.append(edited(rng, rng.choice(family), vocabulary, rng.randrange(4)))
        texts += [" ".join(words) for words in family]
    rng.shuffle(texts)
    return texts


def brute_force(keys: Sequence[str]) -> list[tuple[int, int]]:
    sets = [make_shingles(key) for key in keys]
    return [(i, j) for i, j in combinations(range(len(keys)), 2) if compute_jaccard(sets[i], sets[j]) >= NEAR]


def components(size: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    clusters = Clusters(size)
    for pair in pairs:
        clusters.join(*pair)
    return [clusters.find(i) for i in range(size)]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pairs of sets are compared, as a list of one number."""
    count = [0]

    def counting(a: frozenset[str], b: frozenset[str]) -> float:
        count[0] += 1
        return compute_jaccard(a, b)

    monkeypatch.setattr(duplicates, "compute_jaccard", counting)
    return count


# --- nothing is missed, nothing is made up ----------------------------------------------------------------------------


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.randoms(use_true_random=True))
def test_pairs_clusters_and_earlier_rows_are_those_of_brute_force(rng: random.Random) -> None:
    keys = corpus(rng)
    ranks = [rng.randrange(3) for _ in keys]
    expected = brute_force(keys)
    rows = range(len(keys))
    assert find_near_duplicates_of_earlier(keys, rows) == {later for _, later in expected}
    assert cluster_near_duplicates(keys) == components(len(keys), expected)
    assert find_near_duplicates_of_earlier(keys, ranks) == {
        max(pair, key=lambda row: ranks[row]) for pair in expected if ranks[pair[0]] != ranks[pair[1]]
    }


@pytest.mark.parametrize("size", range(1, 80))
def test_the_limit_is_met_to_the_shingle(size: int) -> None:
    """A set of shingles inside one of up to a quarter more is near it; with another more it is not."""
    words = [f"w{i}" for i in range(2 * size + 20)]
    most = size * 5 // 4
    assert cluster_near_duplicates([" ".join(words[: n + 2]) for n in (most, size)]) == [0, 0]
    assert cluster_near_duplicates([" ".join(words[: n + 2]) for n in (most + 1, size)]) == [0, 1]
    words = words[most + 1 :: -1]  # and the same at the other end
    assert cluster_near_duplicates([" ".join(words[-n - 2 :]) for n in (most, size)]) == [0, 0]


def test_texts_of_fewer_than_three_words_are_near_their_equals_alone() -> None:
    keys = ["", "a", "a b", "b a", "a", "a b", "a b c", "a b c d", "", "?!", "?!"]
    assert near_pairs(keys) == [(0, 8), (1, 4), (2, 5), (9, 10)]
    assert cluster_near_duplicates(keys) == [0, 1, 2, 3, 1, 2, 6, 7, 0, 9, 9]
    assert find_near_duplicates_of_earlier(keys, [1] * 4 + [2] * 6 + [0]) == {4, 5, 8, 9}


def test_repeated_shingles_count_once() -> None:
    keys = ["la " * 50, "la la la", "la " * 49 + "land", "la la", ("do re mi " * 9).strip(), "do re mi do re"]
    assert near_pairs(keys) == brute_force(keys) == [(0, 1), (4, 5)]


def test_a_text_of_half_a_pair_of_surrogates_is_compared() -> None:
    assert cluster_near_duplicates([make_comparison_key("\ud83d one two"), make_comparison_key("\ud83d ONE two")]) == [
        0,
        0,
    ]


def test_near_duplicates_far_apart_in_a_large_corpus_are_found() -> None:
    rng = random.Random(0)
    unrelated = [" ".join(f"w{rng.randrange(5000)}" for _ in range(25)) for _ in range(9000)]
    keys = [*unrelated, *(f"{key} indeed" for key in unrelated[::100])]
    clusters = cluster_near_duplicates(keys)
    assert clusters[:9000] == list(range(9000))
    assert clusters[9000:] == list(range(0, 9000, 100))


# --- the same, whatever the order and the process ---------------------------------------------------------------------


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.randoms(use_true_random=True))
def test_the_order_of_the_rows_changes_no_cluster(rng: random.Random) -> None:
    keys = corpus(rng)

    def partition(order: Sequence[int]) -> set[frozenset[int]]:
        members: dict[int, set[int]] = defaultdict(set)
        for row, cluster in zip(order, cluster_near_duplicates([keys[i] for i in order]), strict=True):
            members[cluster].add(row)
        return {frozenset(rows) for rows in members.values()}

    order = list(range(len(keys)))
    once = partition(order)
    rng.shuffle(order)
    assert partition(order) == once


def test_the_seed_of_pythons_hashes_changes_nothing() -> None:
    """Rows are proposed by ``hash``, which differs from process to process."""
    code = """
import random
from test_duplicates import corpus
from hubtools.curation.duplicates import cluster_near_duplicates, find_near_duplicates_of_earlier
for seed in range(40):
    keys = corpus(random.Random(seed))
    ranks = [i % 3 for i in range(len(keys))]
    print(cluster_near_duplicates(keys), sorted(find_near_duplicates_of_earlier(keys, ranks)))
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parent, env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1


# --- little is compared -----------------------------------------------------------------------------------------------


def test_a_template_filled_often_is_one_cluster_after_one_comparison_a_row(compared: list[int]) -> None:
    keys = [" ".join([*(f"t{i}" for i in range(40)), f"value{n}"]) for n in range(20_000)]
    assert set(cluster_near_duplicates(keys)) == {0}
    assert compared[0] == len(keys) - 1
    compared[0] = 0
    assert find_near_duplicates_of_earlier(keys, [min(n, 1) for n in range(len(keys))]) == set(range(1, len(keys)))
    assert compared[0] == len(keys) - 1


def test_fillings_that_are_just_too_different_are_not_even_compared(compared: list[int]) -> None:
    """Two in three shingles are the template's, 200 million pairs share them: MinHash would propose nearly all."""
    words = [f"t{i}" for i in range(30)]
    keys = [" ".join([*words[:15], f"one{n} two{n}", *words[15:], f"three{n}"]) for n in range(20_000)]
    assert 0.6 < compute_jaccard(make_shingles(keys[0]), make_shingles(keys[1])) < NEAR
    assert cluster_near_duplicates(keys) == list(range(len(keys)))
    assert compared[0] == 0


def test_unrelated_texts_are_hardly_compared(compared: list[int]) -> None:
    rng = random.Random(0)
    openings = [" ".join(f"o{rng.randrange(99)}" for _ in range(8)) for _ in range(5)]
    keys = [f"{rng.choice(openings)} " + " ".join(f"w{rng.randrange(300)}" for _ in range(20)) for _ in range(5000)]
    assert len(set(cluster_near_duplicates(keys))) == len(keys)
    assert compared[0] < len(keys)


# --- what the build promises ------------------------------------------------------------------------------------------


def curated(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all three splits after a real curation, each with its split."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "rows.csv")
        with path.open("w", newline="") as lines:
            writer = csv.DictWriter(lines, ["prompt", "type", "split"])
            writer.writeheader()
            writer.writerows(rows)
        sources, label_set = choose_sources(JAILBREAK, str(path), Columns("prompt", "type"), JAILBREAK.label_set())
        task = TaskFolder(Path(folder, "work", "jailbreak"))
        facts = curate(JAILBREAK, task, CurationInputs(sources, label_set))
        assert set(vars(facts.leakage).values()) == {0}
        return [row | {"split": split} for split in SPLITS for row in pq.read_table(task.split_file(split)).to_pylist()]


@pytest.mark.parametrize("official", [[""], ["", "test"], ["train", "validation", "test"], ["", *SPLITS]])
def test_no_near_duplicates_stand_in_two_splits_of_a_curated_dataset(official: list[str]) -> None:
    across = 0

    @settings(derandomize=True, deadline=None, max_examples=12)
    @given(st.randoms(use_true_random=True))
    def check(rng: random.Random) -> None:
        nonlocal across
        texts = [text for _ in range(4) for text in corpus(rng) if text]
        # The label is the text's own, or equal texts of two labels would be dropped; some rows that are like no other
        # so that no split lacks a class.
        texts += [f"unlike {i} any{i} other{i} text{i}" for i in range(90)]
        rows = [
            {"prompt": text, "type": ("benign", "jailbreak")[len(text) % 2], "split": rng.choice(official)}
            for text in texts
        ]
        for i, row in enumerate(rows[-90:]):
            row |= {"type": ("benign", "jailbreak")[i % 2], "split": official[i // 2 % len(official)]}
        across += sum(rows[i]["split"] != rows[j]["split"] for i, j in brute_force([row["prompt"] for row in rows]))
        kept = curated(rows)
        keys = [make_comparison_key(row["text"]) for row in kept]
        pairs = brute_force(keys)
        assert [(keys[i], keys[j]) for i, j in pairs if kept[i]["split"] != kept[j]["split"]] == []
        if official == [""]:  # then clusters go to one split whole, and no row needs to be dropped
            assert len(kept) == len(set(texts))

    check()
    assert across or len(official) == 1, "the corpora must put the promise to the test"
