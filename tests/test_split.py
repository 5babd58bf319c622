"""What the split promises, as properties: of ``split_groups``, and of whole curations.

The claim about added rows, to the letter. A group's place is a function of its name and the seed alone (its *own*
place), with one exception: a label that stands in no group of a split, each in its own place, is given one by moving
a group that has it. So:

1. A group moves from its own place only where one of its labels, or of the labels that reach these through groups
   that have both, lacks a split. All others stand in their own place, and groups that are added move none of them
   as long as that is so; where every group has one label, it is so for good.
2. A group that has such a label may be moved, moved again, or go home, as groups are added.
3. Adding a group under an official split, where there was none, empties that split of all others: another source.

Rows are the same as long as their groups keep their names, which a new row changes only where it is a near-duplicate
of an old one: then it joins its cluster, and the cluster may move, but stays whole.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_curation import build, everything, files_of, jailbreak_rows, labelled, near, presidio_rows, rows_in, write

from hubtools.curation.duplicates import NEAR, compute_jaccard, make_shingles
from hubtools.curation.reading import read_rows
from hubtools.curation.split import SPLITS, hash_to_fraction, split_groups
from hubtools.curation.supplements import COPIES
from hubtools.curation.synthesis import fill_templates
from hubtools.rows import make_comparison_key
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.tasks.pii import PII, TEMPLATES, read_template_row

Labels = Mapping[str, list[str]]


def own_place(group: str, seed: int) -> str:
    u = hash_to_fraction(group, seed)
    return "test" if u < 0.1 else "validation" if u < 0.2 else "train"


def settled(labels: Labels, seed: int) -> set[str]:
    """Labels that no rescue can touch: they, and all that shares a group with them, stand in every split by place."""
    held: dict[str, set[str]] = defaultdict(set)
    for group, names in labels.items():
        for name in names:
            held[name].add(own_place(group, seed))
    reach = {name: {name} for name in held}
    for names in labels.values():
        for name in names[1:]:
            together = reach[names[0]] | reach[name]
            for member in together:
                reach[member] = together
    return {name for name in held if all(len(held[other]) == 3 for other in reach[name])}


def drawn(rng: random.Random, most: int) -> dict[str, list[str]]:
    """Up to 200 groups: of common labels, which may meet in a group, and of rare ones."""
    count = rng.randrange(200)
    labels = lambda: rng.sample("vw", rng.randint(1, most)) if rng.random() < 0.9 else [rng.choice("xyz")]  # noqa: E731
    groups = {f"group {rng.randrange(1000)}": labels() for _ in range(count)}
    if most > 1 and rng.random() < 0.3:  # a rare label beside a common one
        groups["both"] = ["v", "x"]
    return groups


@pytest.mark.parametrize("most", [1, 2])
def test_adding_groups_moves_only_what_a_lacking_label_moves(most: int) -> None:
    seen = {"kept": 0, "moved": 0, "home": 0, "unsettled": 0}

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(st.randoms(use_true_random=True), st.integers(0, 9))
    def check(rng: random.Random, seed: int) -> None:
        old = drawn(rng, most)
        new = {**drawn(rng, most), **old}
        before, after = split_groups(old, seed), split_groups(new, seed)
        firm_before, firm_after = settled(old, seed), settled(new, seed)
        for group, labels in old.items():
            place = own_place(group, seed)
            for split, firm in ((before, firm_before), (after, firm_after)):
                assert split[group] == place or not set(labels) <= firm
            if set(labels) <= firm_before & firm_after:
                assert before[group] == after[group]
                seen["kept"] += 1
            seen["moved"] += before[group] != place
            seen["home"] += before[group] != place == after[group]
            seen["unsettled"] += set(labels) <= firm_before and not set(labels) <= firm_after

    check()
    assert min(seen[case] for case in ("kept", "moved", "home")) > 20, f"the cases must occur: {seen}"
    assert (seen["unsettled"] == 0) == (most == 1)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(1, 5))])
@pytest.mark.parametrize("groups", [500, 5_000, 50_000])
def test_splits_have_80_10_and_10_percent_of_the_groups(groups: int, seed: int) -> None:
    split = split_groups({f"group {i}": ["ab"[i % 2]] for i in range(groups)}, seed)
    tolerance = 4 * (0.1 * 0.9 / groups) ** 0.5  # four standard deviations of a fair draw
    for name, share in zip(SPLITS, (0.8, 0.1, 0.1), strict=True):
        for parity in (0, 1):  # and so has each label
            mine = [split[f"group {i}"] for i in range(parity, groups, 2)]
            assert mine.count(name) / len(mine) == pytest.approx(share, abs=tolerance * 2**0.5 * 4 / 3)


# --- of whole curations -----------------------------------------------------------------------------------------------


def places(rows: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    return {row["text"]: split for split, part in rows.items() for row in part}


def curated(tmp_path: Path, name: str, rows: list[dict[str, Any]]) -> dict[str, str]:
    """The split of each text."""
    _, folder = build(JAILBREAK, tmp_path, labelled(tmp_path / name, rows), name=name)
    return places({split: rows_in(folder, split) for split in SPLITS})


def test_adding_rows_that_are_like_no_other_moves_no_old_row(tmp_path: Path) -> None:
    old = jailbreak_rows(60)
    old += [{**row, "prompt": near(row["prompt"])} for row in old[::5]]
    more = [*jailbreak_rows(40, seed=7), *old[:10]]  # and some once more
    random.Random(0).shuffle(more)
    before = curated(tmp_path, "before", old)
    after = curated(tmp_path, "after", [*more, *old])
    assert len(before) == 144
    assert {text: after[text] for text in before} == before
    assert len(after) == len(before) + 80


def test_adding_a_near_duplicate_may_move_its_cluster_and_never_tears_it(tmp_path: Path) -> None:
    old = jailbreak_rows(60)
    more = [{**row, "prompt": f"{row['prompt']} indeed"} for row in old[:40]]
    before, after = curated(tmp_path, "before", old), curated(tmp_path, "after", [*old, *more])
    for row, copy in zip(old[:40], more, strict=True):
        assert after[row["prompt"]] == after[copy["prompt"]]
    untouched = [row["prompt"] for row in old[40:]]
    assert {text: after[text] for text in untouched} == {text: before[text] for text in untouched}


def test_near_duplicates_of_near_duplicates_are_one_cluster(tmp_path: Path) -> None:
    """The first and the last of a chain are not alike, and still on one side."""
    words = [f"word{i}" for i in range(20)]
    chain = [" ".join([*words[i:], *(f"other{j}" for j in range(i))]) for i in range(10)]
    keys = [make_shingles(make_comparison_key(text)) for text in chain]
    assert all(compute_jaccard(a, b) >= NEAR for a, b in pairwise(keys))
    assert compute_jaccard(keys[0], keys[-1]) < NEAR / 2
    rows = [*jailbreak_rows(30), *({"prompt": text, "type": "benign"} for text in chain)]
    random.Random(1).shuffle(rows)
    for name, order in (("forwards", rows), ("backwards", rows[::-1])):
        _, folder = build(JAILBREAK, tmp_path, labelled(tmp_path / name, order), name=name)
        found = {row["text"]: row["group"] for row in everything(folder)}
        assert len({found[text] for text in chain}) == 1


@pytest.mark.parametrize("keeper", [0, 1])
def test_test_stays_before_validation_before_train(tmp_path: Path, keeper: int) -> None:
    order = ("test", "validation", "train")[keeper:]
    filling = [{**row, "split": SPLITS[i % 3]} for i, row in enumerate(jailbreak_rows(31))]
    text = "a b c d e f g h i j k l m n o p"
    copies = [{"prompt": f"{text}{' q' * i}", "type": "benign", "split": split} for i, split in enumerate(order)]
    for name, rows in (("one", [*filling, *copies]), ("two", [*copies[::-1], *filling])):
        found = curated(tmp_path, name, rows)
        assert [(row["prompt"], found.get(row["prompt"])) for row in copies] == [
            (row["prompt"], order[0] if i == 0 else None) for i, row in enumerate(copies)
        ]


def test_what_another_source_brings_for_training_yields_to_the_test_split(tmp_path: Path) -> None:
    """A document of our own synthesis, word for word, as an official test row of the public source."""
    packaged = Path(str(build.__globals__["__file__"])).parents[1] / "hubtools" / "starter" / TEMPLATES.id
    templates = [
        read_template_row(raw.row) for raw in read_rows(packaged / "templates.jsonl", TEMPLATES.columns) if raw.row
    ]
    rows = presidio_rows()
    for row in rows:
        row["split"] = "test" if row["template_id"] < 3 else "validation" if row["template_id"] < 6 else "train"
    plain, without = build(PII, tmp_path, files_of(PII, ("", write(tmp_path / "a.json", rows))), name="without")
    train = {row["text"] for row in rows_in(without, "train")}
    # Not every document is within the share of a supplement.
    documents = fill_templates(templates, "train", COPIES, 0)
    ours = next(document for document in documents if document.text in train and len(document.text.split()) > 12)
    spans = [
        {"entity_type": s.type, "entity_value": ours.text[s.start : s.end], "start_position": s.start,
         "end_position": s.end} for s in ours.spans
    ]  # fmt: skip
    rows.append({"full_text": ours.text, "spans": spans, "template_id": 0, "split": "test"})
    facts, folder = build(PII, tmp_path, files_of(PII, ("", write(tmp_path / "b.json", rows))), name="with")
    assert ours.text in {row["text"] for row in rows_in(folder, "test")}
    assert ours.text not in {row["text"] for row in rows_in(folder, "train")}
    assert set(facts["leakage"].values()) == {0}
    assert plain["counts"]["synthetic_train"] == facts["counts"]["synthetic_train"]
