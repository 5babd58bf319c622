"""The pictures for a card that depend on the head, drawn from ``metrics.json`` alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from hubtools.heads.wording import ClassNouns
from hubtools.lazy_numpy import np
from hubtools.records.metrics import Metrics
from hubtools.records.scores import ClassificationScores, DetectionScores, SpanScores
from hubtools.records.thresholds import AbstentionThresholds, DetectionThresholds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SECOND, GREY = "#1d4ed8", "#c2410c", "#9ca3af"


class Plot(NamedTuple):
    """A picture: its file's name, its caption, and the function that draws it with the style that is set."""

    file: str
    caption: str
    draw: Callable[[Metrics], Figure]


def _draw_confusion(metrics: Metrics) -> Figure:
    import matplotlib.pyplot as plt

    assert isinstance(metrics.scores, ClassificationScores)
    counts = np.array(metrics.scores.confusion)
    names = [entry.label.replace("_", " ") for entry in metrics.scores.per_class]
    size = max(3.6, 0.5 * len(names) + 1.6)  # inches: half a one for each label, and room for their names
    figure, axes = plt.subplots(figsize=(size, size * 0.92))
    # Shades are shares of a row, as classes differ in size; the numbers in the cells are the counts.
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i in range(len(names)):
        for j in range(len(names)):
            if counts[i, j]:
                colour = "white" if share[i, j] > 0.55 else "#1f2937"  # readable on the shade of the cell
                axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.spines[:].set_visible(False)
    return figure


def _draw_types(metrics: Metrics) -> Figure:
    import matplotlib.pyplot as plt

    assert isinstance(metrics.scores, SpanScores)
    entries = metrics.scores.per_class
    figure, axes = plt.subplots(figsize=(6, 0.42 * len(entries) + 1))
    axes.barh([e.label for e in entries], [e.f1 for e in entries], color=INK)
    for i, entry in enumerate(entries):
        axes.text(entry.f1 + 0.01, i, f"{entry.f1:.3f}  ({entry.support} spans)", va="center", fontsize=8)
    axes.set_xlim(0, 1.25)  # room for the text beside a full bar
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.set_xlabel("F1, exact span and type")
    axes.invert_yaxis()
    return figure


def _read_detection(metrics: Metrics) -> tuple[DetectionScores, DetectionThresholds]:
    assert isinstance(metrics.scores, DetectionScores)
    assert isinstance(metrics.thresholds, DetectionThresholds)
    return metrics.scores, metrics.thresholds


def _draw_roc(nouns: ClassNouns, metrics: Metrics) -> Figure:
    import matplotlib.pyplot as plt

    scores, chosen = _read_detection(metrics)
    figure, axes = plt.subplots(figsize=(5.4, 4.2))
    curve = np.array(scores.roc)
    floor = 0.5 / max(1, scores.negatives)  # where a rate of zero is drawn: below that of a single row
    rates = np.maximum(curve[:, 0], floor)  # a logarithmic scale has no zero
    auc = f"AUC {scores.roc_auc.value:.3f}"
    axes.plot(rates, curve[:, 1], color=INK, drawstyle="steps-post", label=auc)
    # Many points: on a logarithmic scale the diagonal is a curve.
    chance = np.geomspace(floor, 1, 50)
    axes.plot(chance, chance, color=GREY, linewidth=0.8, linestyle="--", label="chance")
    assert chosen.test.fpr is not None
    assert chosen.test.fnr is not None
    rate = max(chosen.test.fpr.value, floor)
    axes.plot(rate, 1 - chosen.test.fnr.value, "o", color=SECOND, clip_on=False, label=_legend(chosen))
    axes.set_xscale("log")
    axes.set_xlim(floor, 1)
    # A tick beside the floor would print over its "0".
    ticks = [t for t in (0.001, 0.01, 0.05, 0.1, 0.5, 1) if t > 1.5 * floor]
    axes.set_xticks([floor, *ticks], ["0", *(f"{t:.1%}" if t < 0.01 else f"{t:.0%}" for t in ticks)])
    axes.minorticks_off()
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(f"false positive rate ({_plain(nouns.negatives)} flagged)")
    axes.set_ylabel(f"recall ({_plain(nouns.positives)} caught)")
    _add_legend_above(axes)
    return figure


def _draw_precision_recall(nouns: ClassNouns, metrics: Metrics) -> Figure:
    import matplotlib.pyplot as plt

    scores, chosen = _read_detection(metrics)
    figure, axes = plt.subplots(figsize=(5.4, 4.2))
    curve = np.array(scores.pr)
    area = f"average precision {scores.pr_auc.value:.3f}"
    axes.plot(curve[:, 0], curve[:, 1], color=INK, drawstyle="steps-post", label=area)
    # Who flags rows at random is right as often as they occur.
    share = scores.positives / (scores.positives + scores.negatives)
    axes.axhline(
        share, color=GREY, linewidth=0.8, linestyle="--", label=f"chance: {share:.0%} are {_plain(nouns.positives)}"
    )
    point = chosen.test
    assert point.fpr is not None
    assert point.fnr is not None
    hits, false_alarms = (1 - point.fnr.value) * point.positives, point.fpr.value * point.negatives
    if hits + false_alarms:  # where nothing is flagged there is no precision
        recall, precision = hits / point.positives, hits / (hits + false_alarms)
        axes.plot(recall, precision, "o", color=SECOND, clip_on=False, label=_legend(chosen))
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(f"recall ({_plain(nouns.positives)} caught)")
    axes.set_ylabel(f"precision (flags that are {_plain(nouns.positives)})")
    _add_legend_above(axes)
    return figure


def _draw_abstention(metrics: Metrics) -> Figure:
    import matplotlib.pyplot as plt

    curve, chosen = metrics.abstention, metrics.thresholds
    assert curve
    assert isinstance(chosen, AbstentionThresholds)
    figure, axes = plt.subplots(figsize=(5.4, 4.2))
    share = [step.answered for step in curve]
    axes.plot(share, [step.accuracy for step in curve], color=INK, linestyle="-", label="accuracy")
    axes.plot(share, [step.macro_f1 for step in curve], color=INK, linestyle="--", label="macro F1")
    point = chosen.test
    if point.answered and point.accuracy_of_answered and point.macro_f1_of_answered is not None:
        # One marker on each of the two lines.
        both = [point.accuracy_of_answered.value, point.macro_f1_of_answered]
        axes.plot([point.answered.value] * 2, both, "o", color=SECOND, clip_on=False, label=_legend(chosen))
    axes.set_xlim(0, 1.02)
    # From a little below the lowest score: good models differ in the last tenth.
    axes.set_ylim(max(0.0, min(min(step.accuracy, step.macro_f1) for step in curve) - 0.1), 1.02)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("share of rows that are answered")
    axes.set_ylabel("score of what is answered")
    _add_legend_above(axes)
    return figure


def _add_legend_above(axes: Axes) -> None:
    # Above the frame: a curve may run through any corner of it.
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9)


def _legend(chosen: DetectionThresholds | AbstentionThresholds) -> str:
    return f"shipped: threshold {chosen.threshold:g}"


CONFUSION = Plot(
    "confusion.png",
    "Confusion matrix on the test split: rows are the true labels, shades the share of a row.",
    _draw_confusion,
)
TYPES = Plot("per_type.png", "Strict F1 by type on the test split.", _draw_types)
ABSTENTION = Plot(
    "abstention.png",
    "Accuracy, and macro F1 over the classes that occur, of the rows of the test split that are answered, the surest "
    "first; with the shipped threshold.",
    _draw_abstention,
)


def make_detection_plots(nouns: ClassNouns) -> tuple[Plot, Plot]:
    """Return the two curves of a detection, which call its rows as its cards do."""
    roc = Plot(
        "roc.png",
        "ROC curve on the test split, with the shipped threshold. The scale of the false "
        "positive rate is logarithmic: what matters lies at its left.",
        functools.partial(_draw_roc, nouns),
    )
    precision_recall = Plot(
        "pr.png",
        "Precision and recall on the test split, with the shipped threshold. Where "
        f"{nouns.positives} are rarer than in this split, precision is lower.",
        functools.partial(_draw_precision_recall, nouns),
    )
    return roc, precision_recall


def _plain(noun: str) -> str:
    """Return a noun without Markdown, which a picture does not read."""
    return noun.replace("`", "")
