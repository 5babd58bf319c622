"""Where a model is right and where it is wrong: by length, by family, by pair of labels. From predictions alone."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from hubtools.heads.values import Rows
from hubtools.lazy_numpy import np
from hubtools.metrics.detection import DetectionAnswers, matched_roc_auc, roc_auc
from hubtools.metrics.intervals import bootstrap, measure_share, number_groups, score_metric
from hubtools.metrics.labels import LabelAnswers
from hubtools.metrics.spans import ENTITY_F1, SpanAnswers, SpanDict, overlap_prf, strict_prf
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
SHOWN = 5  # families, and pairs of labels, that a card lists
WORST = 2  # mistakes shown of each pair of labels

_OWN_ID = re.compile(r" [0-9a-f]{8}$")


def divide_by_length(characters: Sequence[int]) -> list[tuple[str, np.ndarray]]:
    """Return (name, row numbers) of each slice that has rows, the shortest first."""
    slice_index = np.searchsorted(LENGTHS, np.asarray(characters))
    names = [f"up to {LENGTHS[0]:,}"]
    names += [f"{low + 1:,} to {high:,}" for low, high in itertools.pairwise(LENGTHS)]
    names.append(f"over {LENGTHS[-1]:,}")
    # A slice without rows has no score, and no line in the card's table.
    return [(name, np.flatnonzero(slice_index == i)) for i, name in enumerate(names) if (slice_index == i).any()]


def find_family(group: str) -> str:
    """Return the family of a group: templates of our own have a kind and an id; "" for a group without a name."""
    return "" if group.startswith("text ") else _OWN_ID.sub("", group)


def find_lowest_families(
    names: Sequence[str], score: Callable[[np.ndarray], float], counted: np.ndarray | None = None
) -> list[tuple[str, int, float]]:
    """Return (family, rows, score) of the families with the lowest scores, of those with enough rows.

    Args:
        score: from row numbers to the score that decides.
        counted: (rows,) where given, a family without such a row is left out.
    """
    # A small family has a low score by chance; the worst of many small ones would fill the list.
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


def slice_classification(answers: LabelAnswers, rows: Rows) -> ClassificationSlices:
    """Return accuracy by length, and the families with the lowest."""
    right, groups = answers.right, number_groups(rows["group"])
    return ClassificationSlices(
        length=[
            LengthSlice(slice=name, rows=len(r), accuracy=measure_share(right[r], groups[r]))
            for name, r in divide_by_length(rows["characters"])
        ],
        families=_lowest_accuracy(right, rows),
    )


def _lowest_accuracy(right: np.ndarray, rows: Rows) -> list[Family]:
    families = [find_family(group) for group in rows["group"]]
    return [
        Family(family=name, rows=count, accuracy=share)
        for name, count, share in find_lowest_families(families, lambda r: float(right[r].mean()))
    ]


def slice_detection(answers: DetectionAnswers, rows: Rows) -> DetectionSlices:
    """Return the same with the rates at the threshold, and what length alone, and alarming words, would explain."""
    right, positive, score, flagged = answers.right, answers.positive, answers.score, answers.flagged
    groups = number_groups(rows["group"])
    length = []
    for name, r in divide_by_length(rows["characters"]):
        positive_rows, negative_rows = r[positive[r]], r[~positive[r]]
        auc = roc_auc(positive[r], score[r])
        length.append(
            DetectionLengthSlice(
                slice=name,
                rows=len(r),
                accuracy=measure_share(right[r], groups[r]),
                positives=len(positive_rows),
                negatives=len(negative_rows),
                fnr=measure_share(~flagged[positive_rows], groups[positive_rows]),
                fpr=measure_share(flagged[negative_rows], groups[negative_rows]),
                roc_auc=None if auc != auc else auc,  # nan, where one class is missing
            )
        )
    return DetectionSlices(
        length=length,
        families=_lowest_accuracy(right, rows),
        length_matched=_match_lengths(answers, np.asarray(rows["characters"]), groups),
        # Only where the task names alarming words do the predictions have the column.
        alarming=_count_alarming(answers, np.asarray(rows["alarming"], dtype=bool), groups)
        if "alarming" in rows
        else None,
    )


def _match_lengths(answers: DetectionAnswers, characters: np.ndarray, groups: np.ndarray) -> LengthMatched:
    positive, score = answers.positive, answers.score
    # Half octaves: the lengths of a pair differ by a factor of 1.41 at most.
    stratum = np.floor(2 * np.log2(np.maximum(characters, 1))).astype(int)
    # Only a pair of a positive and a negative row within a stratum tells whether more than length was learned.
    pairs = int(sum(positive[stratum == s].sum() * (~positive[stratum == s]).sum() for s in set(stratum.tolist())))
    matched = bootstrap(lambda r: matched_roc_auc(positive[r], score[r], stratum[r]), groups) if pairs else None
    # The positive texts may be the longer ones or the shorter ones.
    length_alone = max(roc_auc(positive, characters), roc_auc(positive, -characters))
    return LengthMatched(roc_auc=matched, pairs=pairs, length_alone=length_alone)


def _count_alarming(answers: DetectionAnswers, alarming: np.ndarray, groups: np.ndarray) -> Alarming:
    # Negative rows alone: a harmless text that sounds alarming is what a detector that knows words alone flags.
    masks = [mask & ~answers.positive for mask in (alarming, ~alarming)]
    false_alarms, of_others = (measure_share(answers.flagged[mask], groups[mask]) for mask in masks)
    return Alarming(
        rows=int(masks[0].sum()),
        false_alarms=false_alarms,
        others=int(masks[1].sum()),
        false_alarms_of_others=of_others,
    )


def list_classification_mistakes(answers: LabelAnswers, rows: Rows, labels: Sequence[str]) -> ClassificationMistakes:
    """Return the most confident mistakes by their row's id.

    They are those of the pairs of labels that are confused most often, and of the slices that have one: each length,
    and prompts with an alarming word where the predictions tell.
    """
    truth, predicted, confidence = answers.labels, answers.predicted, answers.confidence
    pairs: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i in np.flatnonzero(~answers.right):
        pairs[int(truth[i]), int(predicted[i])].append(int(i))
    # A mistake on a short text and one on a long text have different causes: both are shown.
    parts = divide_by_length(rows["characters"])
    slice_of = {int(i): name for name, r in parts for i in r}

    def worst(r: Sequence[int], count: int) -> list[Mistake]:
        # By id where two are equally sure, so that the same predictions give the same file.
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


def slice_spans(answers: SpanAnswers, rows: Rows) -> SpanSlices:
    """Return strict F1 by length of the document, and the templates with the lowest."""
    names = np.array([find_family(group) for group in rows["group"]])
    annotated = ~answers.clean

    def total(r: np.ndarray) -> np.ndarray:
        return answers.take(r).total

    family_f1 = [strict_prf(total(names == name))[2] for name in sorted({*names[annotated].tolist()} - {""})]
    lowest = find_lowest_families(names.tolist(), lambda r: strict_prf(total(r))[2], annotated)
    # Negated, as the lowest come first: those of the most false alarms.
    clean = find_lowest_families(np.where(annotated, "", names).tolist(), lambda r: -float(answers.predicted[r].mean()))
    return SpanSlices(
        length=[
            SpanLengthSlice(
                slice=name,
                rows=len(r),
                entity_f1=score_metric(ENTITY_F1, answers.take(r), number_groups([rows["group"][i] for i in r])),
            )
            for name, r in divide_by_length(rows["characters"])
        ],
        families=[
            SpanFamily(family=name, rows=count, entity_f1=f1, overlap_f1=overlap_prf(total(names == name))[2])
            for name, count, f1 in lowest
        ],
        # The same of documents without a true span: where one is predicted, and how often.
        clean_families=[
            CleanFamily(family=name, rows=count, false_alarms=-share) for name, count, share in clean if share
        ],
        family_count=len(family_f1),
        # Each family counts once: what to expect of a template that the model has never seen.
        family_mean=float(np.mean(family_f1)) if family_f1 else None,
    )


def list_span_mistakes(rows: Rows, types: Sequence[str]) -> SpanMistakes:
    """Return what became of the spans of each type, and the most confident wrong ones without a character of text."""
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in types}
    wrong = []
    for i, (true, predicted) in enumerate(zip(rows["spans"], rows["predicted_spans"], strict=True)):
        for span in true:
            outcomes[types[span["label"]]][_describe_outcome(span, predicted)] += 1
        for prediction in predicted:
            overlapped = [span for span in true if _overlap(span, prediction)]
            name = types[prediction["label"]]
            if not overlapped:
                outcomes[name]["false alarm"] += 1
            if all(_bounds_and_label(span) != _bounds_and_label(prediction) for span in overlapped):
                # The first of several: a card shows one line a mistake.
                label = types[overlapped[0]["label"]] if overlapped else "nothing"
                wrong.append(
                    SpanMistake(
                        id=rows["id"][i],
                        label=label,
                        predicted=name,
                        kind="false alarm" if not overlapped else "other bounds" if label == name else "other type",
                        confidence=float(prediction["score"]),
                        characters=prediction["end"] - prediction["start"],
                        family=find_family(rows["group"][i]),
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
            for name, count in outcomes.items()
        ],
        worst=_most_confident(wrong),
    )


def _describe_outcome(span: SpanDict, predicted: Sequence[SpanDict]) -> str:
    """Return what became of a true span: the best of what the predicted spans that overlap it are."""
    overlapping = [prediction for prediction in predicted if _overlap(span, prediction)]
    if not overlapping:
        return "missed"
    if any(_bounds_and_label(span) == _bounds_and_label(prediction) for prediction in overlapping):
        return "exact"
    return "other bounds" if any(p["label"] == span["label"] for p in overlapping) else "other type"


def _overlap(a: SpanDict, b: SpanDict) -> bool:
    return a["start"] < b["end"] and b["start"] < a["end"]


def _bounds_and_label(span: SpanDict) -> tuple[int, int, int]:
    return span["start"], span["end"], span["label"]


def _most_confident(mistakes: Sequence[SpanMistake]) -> list[SpanMistake]:
    """Return the most confident ones, at most :data:`WORST` of a pair of types and a kind."""
    # Otherwise one frequent mistake, such as a name taken for a company, would fill the list.
    count: Counter[tuple[str, str, str]] = Counter()
    shown = []
    for mistake in sorted(mistakes, key=lambda mistake: (-mistake.confidence, mistake.id)):
        pair = (mistake.label, mistake.predicted, mistake.kind)
        count[pair] += 1
        if count[pair] <= WORST:
            shown.append(mistake)
    return shown[: 2 * SHOWN]
