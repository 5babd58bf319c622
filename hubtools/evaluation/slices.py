"""Where a model is right and where it is wrong: by length, by family, by pair of labels. From predictions alone."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hubtools.evaluation.scores import (
    interval,
    matched_roc_auc,
    overlap_prf,
    rate,
    roc_auc,
    span_counts,
    span_scores,
    strict_prf,
)
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec

LENGTHS = (100, 300, 1000)  # characters: the bounds of the slices, each in the slice below it
FAMILY_ROWS = 5  # families with fewer test rows say nothing on their own
SHOWN = 5
WORST = 2  # mistakes shown of each pair of labels

_OWN_ID = re.compile(r" [0-9a-f]{8}$")


def length_slices(characters: Sequence[int]) -> list[tuple[str, np.ndarray]]:
    """(name, row numbers) of each slice that has rows, the shortest first."""
    place = np.searchsorted(LENGTHS, np.asarray(characters))
    names = [f"up to {LENGTHS[0]:,}"]
    names += [f"{low + 1:,} to {high:,}" for low, high in itertools.pairwise(LENGTHS)]
    names.append(f"over {LENGTHS[-1]:,}")
    return [(name, np.flatnonzero(place == i)) for i, name in enumerate(names) if (place == i).any()]


def family_of(group: str) -> str:
    """The family of a group: templates of our own are named by their kind and an id; "" for a group without a name."""
    return "" if group.startswith("text ") else _OWN_ID.sub("", group)


def sequence_slices(task: TaskSpec, label_set: LabelSet, rows: Mapping[str, Any], threshold: float) -> dict[str, Any]:
    """Scores of a sequence task by length and by family; of a detector also what length alone would get."""
    labels = np.asarray(rows["label"])
    p = np.asarray(rows["probabilities"], dtype=float)
    right = p.argmax(1) == labels
    parts = length_slices(rows["characters"])
    found: dict[str, Any] = {
        "length": [{"slice": name, "rows": len(r), "accuracy": rate(int(right[r].sum()), len(r))} for name, r in parts],
        "families": worst_families(
            [family_of(group) for group in rows["group"]], lambda r: float(right[r].mean()), "accuracy"
        ),
    }
    if not task.positive:
        return found
    index = label_set.labels.index(task.positive)
    positive, score = labels == index, p[:, index]
    flagged, characters = score >= threshold, np.asarray(rows["characters"])
    for entry, (_, r) in zip(found["length"], parts, strict=True):
        yes, no = r[positive[r]], r[~positive[r]]
        auc = roc_auc(positive[r], score[r])
        entry |= {
            "positives": len(yes), "negatives": len(no), "fnr": rate(int((~flagged[yes]).sum()), len(yes)),
            "fpr": rate(int(flagged[no].sum()), len(no)), "roc_auc": None if auc != auc else auc,
        }  # fmt: skip
    # Half octaves: the lengths of a pair differ by a factor of 1.41 at most.
    stratum = np.floor(2 * np.log2(np.maximum(characters, 1))).astype(int)
    pairs = int(sum(positive[stratum == s].sum() * (~positive[stratum == s]).sum() for s in set(stratum.tolist())))
    alone = max(roc_auc(positive, characters), roc_auc(positive, -characters))
    matched = interval(lambda r: matched_roc_auc(positive[r], score[r], stratum[r]), len(labels)) if pairs else None
    found["length_matched"] = {"roc_auc": matched, "pairs": pairs, "length_alone": alone}
    alarming = np.asarray(rows["alarming"], dtype=bool)
    loud, calm = flagged[alarming & ~positive], flagged[~alarming & ~positive]
    found["alarming"] = {
        "rows": len(loud), "false_alarms": rate(int(loud.sum()), len(loud)),
        "others": len(calm), "false_alarms_of_others": rate(int(calm.sum()), len(calm)),
    }  # fmt: skip
    return found


def token_slices(label_set: LabelSet, rows: Mapping[str, Any]) -> dict[str, Any]:
    """Scores of a token task by length of the document and by family of its template."""

    def part(r: np.ndarray) -> tuple[list[Any], list[Any]]:
        return [rows["spans"][i] for i in r], [rows["found"][i] for i in r]

    counts = span_counts(rows["spans"], rows["found"], len(label_set.labels)).sum(1)
    names = np.array([family_of(group) for group in rows["group"]])
    marked, found = (np.array([bool(spans) for spans in rows[key]]) for key in ("spans", "found"))
    each = [strict_prf(counts[names == name].sum(0))[2] for name in {*names[marked].tolist()} - {""}]
    lowest = worst_families(names.tolist(), lambda r: strict_prf(counts[r].sum(0))[2], "entity_f1", marked)
    clean = worst_families(np.where(marked, "", names).tolist(), lambda r: -float(found[r].mean()), "false_alarms")
    return {
        "length": [
            {"slice": name, "rows": len(r), "entity_f1": span_scores(*part(r), label_set.labels)["entity_f1"]}
            for name, r in length_slices(rows["characters"])
        ],
        "families": [
            family | {"overlap_f1": overlap_prf(counts[names == family["family"]].sum(0))[2]} for family in lowest
        ],
        # The same of documents without personal data: where something is found in them, and how often.
        "clean_families": [
            family | {"false_alarms": -family["false_alarms"]} for family in clean if family["false_alarms"]
        ],
        "family_count": len(each),
        # Each family counts once: what to expect of a template that the model has never seen.
        "family_mean": float(np.mean(each)) if each else None,
    }


def worst_families(
    names: Sequence[str], score: Callable[[np.ndarray], float], key: str, counted: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """The families with the lowest scores, of those with enough rows, of which one at least is ``counted``."""
    rows: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        rows[name].append(i)
    found: list[dict[str, Any]] = [
        {"family": name, "rows": len(r), key: score(np.array(r))}
        for name, r in sorted(rows.items())
        if name and len(r) >= FAMILY_ROWS and (counted is None or counted[r].any())
    ]
    return sorted(found, key=lambda entry: entry[key])[:SHOWN]


def sequence_mistakes(label_set: LabelSet, rows: Mapping[str, Any]) -> dict[str, Any]:
    """The most confident mistakes by their row's id: of the ``pairs`` of labels that are confused most often, and of
    the ``slices`` that have one: each length, and prompts with an alarming word where the rows tell.
    """
    labels = np.asarray(rows["label"])
    p = np.asarray(rows["probabilities"], dtype=float)
    chosen = p.argmax(1)
    pairs: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i in np.flatnonzero(chosen != labels):
        pairs[int(labels[i]), int(chosen[i])].append(int(i))
    parts = length_slices(rows["characters"])
    slice_of = {int(i): name for name, r in parts for i in r}

    def worst(r: Sequence[int], count: int) -> list[dict[str, Any]]:
        first = sorted(r, key=lambda i: (-p[i, chosen[i]], rows["id"][i]))[:count]
        return [{"id": rows["id"][i], "label": label_set.labels[labels[i]], "as": label_set.labels[chosen[i]],
                 "confidence": float(p[i, chosen[i]]), "slice": slice_of[i]} for i in first]  # fmt: skip

    found = []
    for (label, answer), r in sorted(pairs.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:SHOWN]:
        found.append({"label": label_set.labels[label], "as": label_set.labels[answer], "rows": len(r),
                      "worst": worst(r, WORST)})  # fmt: skip
    parts = [(f"{name} characters", r) for name, r in parts]
    if "alarming" in rows:
        parts.append(("with an alarming word", np.flatnonzero(rows["alarming"])))
    wrong = [(name, len(r), [int(i) for i in r if chosen[i] != labels[i]]) for name, r in parts]
    return {
        "pairs": found,
        "slices": [{"slice": name, "rows": count, "wrong": len(r), "worst": worst(r, 1)[0]}
                   for name, count, r in wrong if r],
    }  # fmt: skip


def token_mistakes(label_set: LabelSet, rows: Mapping[str, Any]) -> dict[str, Any]:
    """What kinds of mistakes each type suffers, and the most confident ones, described without a character of text."""
    kinds: dict[str, Counter[str]] = {name: Counter() for name in label_set.labels}
    worst = []
    for i, (true, found) in enumerate(zip(rows["spans"], rows["found"], strict=True)):
        for span in true:
            near = [f for f in found if f["start"] < span["end"] and span["start"] < f["end"]]
            same = [f for f in near if f["label"] == span["label"]]
            exact = any((f["start"], f["end"]) == (span["start"], span["end"]) for f in same)
            kind = "exact" if exact else "other bounds" if same else "other type" if near else "missed"
            kinds[label_set.labels[span["label"]]][kind] += 1
        for f in found:
            near = [s for s in true if f["start"] < s["end"] and s["start"] < f["end"]]
            name = label_set.labels[f["label"]]
            if not near:
                kinds[name]["false alarm"] += 1
            if all((s["start"], s["end"], s["label"]) != (f["start"], f["end"], f["label"]) for s in near):
                truth = "nothing" if not near else label_set.labels[near[0]["label"]]
                kind = "false alarm" if not near else "other bounds" if truth == name else "other type"
                worst.append({"id": rows["id"][i], "label": truth, "as": name, "kind": kind,
                              "confidence": float(f["score"]), "characters": f["end"] - f["start"],
                              "family": family_of(rows["group"][i])})  # fmt: skip
    order = ("exact", "other bounds", "other type", "missed", "false alarm")
    seen: Counter[tuple[str, str, str]] = Counter()
    shown = []
    for entry in sorted(worst, key=lambda entry: (-entry["confidence"], entry["id"])):
        pair = (entry["label"], entry["as"], entry["kind"])
        seen[pair] += 1
        if seen[pair] <= WORST:
            shown.append(entry)
    return {
        "kinds": [{"label": name, **{kind: count[kind] for kind in order}} for name, count in kinds.items()],
        "worst": shown[: 2 * SHOWN],
    }
