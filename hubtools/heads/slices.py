"""Where a model is right and where it is wrong: by length, by family, by pair of labels. From predictions alone."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from hubtools.heads.values import Rows
from hubtools.lazy_numpy import np
from hubtools.metrics.detection import DetectionAnswers, matched_roc_auc, roc_auc
from hubtools.metrics.intervals import bootstrap, rate, score_metric
from hubtools.metrics.labels import LabelAnswers
from hubtools.metrics.spans import ENTITY_F1, SpanAnswers, overlap_prf, strict_prf
from hubtools.records.slices import (
    Alarming,
    ClassificationMistakes,
    ClassificationSlices,
    CleanFamily,
    ConfusedPair,
    DetectionLengthSlice,
    DetectionSlices,
    Family,
    LengthMatched,
    LengthSlice,
    Mistake,
    SpanFamily,
    SpanLengthSlice,
    SpanMistake,
    SpanMistakes,
    SpanSlices,
    TypeMistakes,
    WrongSlice,
)

LENGTHS = (100, 300, 1000)  # characters: the bounds of the slices, each in the slice below it
FAMILY_ROWS = 5  # families with fewer test rows say nothing on their own
SHOWN = 5
WORST = 2  # mistakes shown of each pair of labels

_OWN_ID = re.compile(r" [0-9a-f]{8}$")


def length_slices(characters: Sequence[int]) -> list[tuple[str, np.ndarray]]:
    """Return (name, row numbers) of each slice that has rows, the shortest first."""
    place = np.searchsorted(LENGTHS, np.asarray(characters))
    names = [f"up to {LENGTHS[0]:,}"]
    names += [f"{low + 1:,} to {high:,}" for low, high in itertools.pairwise(LENGTHS)]
    names.append(f"over {LENGTHS[-1]:,}")
    return [(name, np.flatnonzero(place == i)) for i, name in enumerate(names) if (place == i).any()]


def family_of(group: str) -> str:
    """Return the family of a group: templates of our own have a kind and an id; "" for a group without a name."""
    return "" if group.startswith("text ") else _OWN_ID.sub("", group)


def lowest_families(
    names: Sequence[str], score: Callable[[np.ndarray], float], counted: np.ndarray | None = None
) -> list[tuple[str, int, float]]:
    """Return (family, rows, score) of the families with the lowest scores, of those with enough rows.

    Args:
        score: from row numbers to the score that decides.
        counted: (rows,) where given, a family without such a row is left out.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        rows[name].append(i)
    scored = [
        (name, len(r), score(np.array(r)))
        for name, r in sorted(rows.items())
        if name and len(r) >= FAMILY_ROWS and (counted is None or counted[r].any())
    ]
    return sorted(scored, key=lambda entry: entry[2])[:SHOWN]


# --- labels ---------------------------------------------------------------------------------------------------------


def classification_slices(answers: LabelAnswers, rows: Rows) -> ClassificationSlices:
    """Return accuracy by length, and the families with the lowest."""
    right = answers.right
    return ClassificationSlices(
        length=[
            LengthSlice(slice=name, rows=len(r), accuracy=rate(int(right[r].sum()), len(r)))
            for name, r in length_slices(rows["characters"])
        ],
        families=_lowest_accuracy(right, rows),
    )


def _lowest_accuracy(right: np.ndarray, rows: Rows) -> list[Family]:
    families = [family_of(group) for group in rows["group"]]
    return [
        Family(family=name, rows=count, accuracy=share)
        for name, count, share in lowest_families(families, lambda r: float(right[r].mean()))
    ]


def detection_slices(answers: DetectionAnswers, rows: Rows) -> DetectionSlices:
    """Return the same with the rates at the threshold, and what length alone, and alarming words, would explain."""
    right, positive, score, flagged = answers.right, answers.positive, answers.score, answers.flagged
    length = []
    for name, r in length_slices(rows["characters"]):
        yes, no = r[positive[r]], r[~positive[r]]
        auc = roc_auc(positive[r], score[r])
        length.append(
            DetectionLengthSlice(
                slice=name,
                rows=len(r),
                accuracy=rate(int(right[r].sum()), len(r)),
                positives=len(yes),
                negatives=len(no),
                fnr=rate(int((~flagged[yes]).sum()), len(yes)),
                fpr=rate(int(flagged[no].sum()), len(no)),
                roc_auc=None if auc != auc else auc,
            )
        )
    return DetectionSlices(
        length=length,
        families=_lowest_accuracy(right, rows),
        length_matched=_match_lengths(answers, np.asarray(rows["characters"])),
        # Only where the task names alarming words do the predictions have the column.
        alarming=_count_alarming(answers, np.asarray(rows["alarming"], dtype=bool)) if "alarming" in rows else None,
    )


def _match_lengths(answers: DetectionAnswers, characters: np.ndarray) -> LengthMatched:
    positive, score = answers.positive, answers.score
    # Half octaves: the lengths of a pair differ by a factor of 1.41 at most.
    stratum = np.floor(2 * np.log2(np.maximum(characters, 1))).astype(int)
    pairs = int(sum(positive[stratum == s].sum() * (~positive[stratum == s]).sum() for s in set(stratum.tolist())))
    matched = bootstrap(lambda r: matched_roc_auc(positive[r], score[r], stratum[r]), len(answers)) if pairs else None
    alone = max(roc_auc(positive, characters), roc_auc(positive, -characters))
    return LengthMatched(roc_auc=matched, pairs=pairs, length_alone=alone)


def _count_alarming(answers: DetectionAnswers, alarming: np.ndarray) -> Alarming:
    loud, calm = (answers.flagged[on & ~answers.positive] for on in (alarming, ~alarming))
    return Alarming(
        rows=len(loud),
        false_alarms=rate(int(loud.sum()), len(loud)),
        others=len(calm),
        false_alarms_of_others=rate(int(calm.sum()), len(calm)),
    )


def classification_mistakes(answers: LabelAnswers, rows: Rows, labels: Sequence[str]) -> ClassificationMistakes:
    """Return the most confident mistakes by their row's id.

    They are those of the pairs of labels that are confused most often, and of the slices that have one: each length,
    and prompts with an alarming word where the predictions tell.
    """
    truth, predicted, confidence = answers.labels, answers.predicted, answers.confidence
    pairs: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i in np.flatnonzero(~answers.right):
        pairs[int(truth[i]), int(predicted[i])].append(int(i))
    parts = length_slices(rows["characters"])
    slice_of = {int(i): name for name, r in parts for i in r}

    def worst(r: Sequence[int], count: int) -> list[Mistake]:
        first = sorted(r, key=lambda i: (-confidence[i], rows["id"][i]))[:count]
        return [
            Mistake(
                id=rows["id"][i],
                label=labels[truth[i]],
                predicted=labels[predicted[i]],
                confidence=float(confidence[i]),
                slice=slice_of[i],
            )
            for i in first
        ]

    confused = [
        ConfusedPair(label=labels[label], predicted=labels[answer], rows=len(r), worst=worst(r, WORST))
        for (label, answer), r in sorted(pairs.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:SHOWN]
    ]
    parts = [(f"{name} characters", r) for name, r in parts]
    if "alarming" in rows:
        parts.append(("with an alarming word", np.flatnonzero(rows["alarming"])))
    wrong = [(name, len(r), [int(i) for i in r if predicted[i] != truth[i]]) for name, r in parts]
    return ClassificationMistakes(
        pairs=confused,
        slices=[
            WrongSlice(slice=name, rows=count, wrong=len(r), worst=worst(r, 1)[0]) for name, count, r in wrong if r
        ],
    )


# --- spans ----------------------------------------------------------------------------------------------------------


def span_slices(answers: SpanAnswers, rows: Rows) -> SpanSlices:
    """Return strict F1 by length of the document, and the templates with the lowest."""
    names = np.array([family_of(group) for group in rows["group"]])
    marked = ~answers.clean

    def total(r: np.ndarray) -> np.ndarray:
        return answers.take(r).total

    each = [strict_prf(total(names == name))[2] for name in sorted({*names[marked].tolist()} - {""})]
    lowest = lowest_families(names.tolist(), lambda r: strict_prf(total(r))[2], marked)
    clean = lowest_families(np.where(marked, "", names).tolist(), lambda r: -float(answers.predicted[r].mean()))
    return SpanSlices(
        length=[
            SpanLengthSlice(slice=name, rows=len(r), entity_f1=score_metric(ENTITY_F1, answers.take(r)))
            for name, r in length_slices(rows["characters"])
        ],
        families=[
            SpanFamily(family=name, rows=count, entity_f1=f1, overlap_f1=overlap_prf(total(names == name))[2])
            for name, count, f1 in lowest
        ],
        # The same of documents without a true span: where one is predicted, and how often.
        clean_families=[
            CleanFamily(family=name, rows=count, false_alarms=-share) for name, count, share in clean if share
        ],
        family_count=len(each),
        # Each family counts once: what to expect of a template that the model has never seen.
        family_mean=float(np.mean(each)) if each else None,
    )


def span_mistakes(rows: Rows, truth: str, answer: str, types: Sequence[str]) -> SpanMistakes:
    """Return what became of the spans of each type, and the most confident wrong ones without a character of text.

    Args:
        truth, answer: the columns of true and predicted spans.
    """
    kinds: dict[str, Counter[str]] = {name: Counter() for name in types}
    worst = []
    for i, (true, predicted) in enumerate(zip(rows[truth], rows[answer], strict=True)):
        for span in true:
            near = [f for f in predicted if f["start"] < span["end"] and span["start"] < f["end"]]
            same = [f for f in near if f["label"] == span["label"]]
            exact = any((f["start"], f["end"]) == (span["start"], span["end"]) for f in same)
            kind = "exact" if exact else "other bounds" if same else "other type" if near else "missed"
            kinds[types[span["label"]]][kind] += 1
        for f in predicted:
            near = [s for s in true if f["start"] < s["end"] and s["start"] < f["end"]]
            name = types[f["label"]]
            if not near:
                kinds[name]["false alarm"] += 1
            if all((s["start"], s["end"], s["label"]) != (f["start"], f["end"], f["label"]) for s in near):
                label = "nothing" if not near else types[near[0]["label"]]
                worst.append(
                    SpanMistake(
                        id=rows["id"][i],
                        label=label,
                        predicted=name,
                        kind="false alarm" if not near else "other bounds" if label == name else "other type",
                        confidence=float(f["score"]),
                        characters=f["end"] - f["start"],
                        family=family_of(rows["group"][i]),
                    )
                )
    return SpanMistakes(
        kinds=[
            TypeMistakes(
                label=name,
                exact=count["exact"],
                other_bounds=count["other bounds"],
                other_type=count["other type"],
                missed=count["missed"],
                false_alarm=count["false alarm"],
            )
            for name, count in kinds.items()
        ],
        worst=_most_confident(worst),
    )


def _most_confident(mistakes: Sequence[SpanMistake]) -> list[SpanMistake]:
    """Return the most confident ones, at most :data:`WORST` of a pair of types and a kind."""
    seen: Counter[tuple[str, str, str]] = Counter()
    shown = []
    for entry in sorted(mistakes, key=lambda entry: (-entry.confidence, entry.id)):
        pair = (entry.label, entry.predicted, entry.kind)
        seen[pair] += 1
        if seen[pair] <= WORST:
            shown.append(entry)
    return shown[: 2 * SHOWN]
