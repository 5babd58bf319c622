"""Pictures for the card, drawn from ``metrics.json``, ``training.json`` and ``facts.json`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hubtools.heads import Head
from hubtools.heads.plots import GREY, INK, SECOND
from hubtools.records.dataset import DatasetFacts
from hubtools.records.metrics import Metrics
from hubtools.records.training import TrainingRecord

# Read on white and on black pages alike: a white ground with dark ink, and colours that survive greyscale.
_STYLE: dict[Any, Any] = {
    "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "white", "text.color": "#1f2937",
    "axes.labelcolor": "#1f2937", "axes.edgecolor": "#9ca3af", "xtick.color": "#374151", "ytick.color": "#374151",
    "font.size": 10, "axes.titlesize": 11, "axes.spines.top": False, "axes.spines.right": False,
}  # fmt: skip


def draw_plots(
    head: Head, metrics: Metrics, training: TrainingRecord, facts: DatasetFacts, folder: Path
) -> list[tuple[str, str]]:
    """Write the task's plots as PNG into ``folder``; the head says which it has of its own.

    Returns:
        (file name, caption) pairs, in the order of the card.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    answers, unit = head.words.answers, head.words.unit
    scaled = metrics.calibration.temperature != 1
    when = ", before and after the temperature." if scaled else "."
    with plt.rc_context(_STYLE):
        made = [(plot.file, plot.caption, plot.draw(metrics, plt)) for plot in head.plots(metrics)]
        caption = f"How often answers of a given probability are right ({answers} of the test split)" + when
        made.append(("reliability.png", caption, _draw_reliability(metrics, answers, scaled, plt)))
        caption = f"Training and test {unit} by label."
        made.append(("support.png", caption, _draw_support(metrics, facts, unit, plt)))
        if training.history:
            caption = "Training loss, and the primary metric on the validation split."
            made.append(("training.png", caption, _draw_training(training, metrics, plt)))
        for name, _, figure in made:
            # No date or version inside: the same numbers give the same bytes.
            figure.savefig(folder / name, dpi=120, bbox_inches="tight", metadata={"Software": None})
            plt.close(figure)
    return [(name, caption) for name, caption, _ in made]


def _draw_reliability(metrics: Metrics, unit: str, scaled: bool, plt: Any) -> Any:
    test = metrics.calibration.test
    lines = [("after", INK, "o", "full")]
    if scaled:
        lines.insert(0, ("before", SECOND, "s", "none"))
    figure, (axes, below) = plt.subplots(
        2, 1, figsize=(4.8, 5), sharex=True, height_ratios=(3, 1), gridspec_kw={"hspace": 0.12}
    )
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--", label="as sure as right")
    for when, colour, marker, filled in lines:
        bins = getattr(test, f"bins_{when}")
        axes.plot([b.confidence for b in bins], [b.accuracy for b in bins], color=colour, marker=marker,
                  markersize=5, fillstyle=filled, linewidth=1.2,
                  label=f"{when if scaled else 'the model'} (ECE {getattr(test, f'ece_{when}'):.3f})")  # fmt: skip
        shift = (-0.008 if when == "before" else 0.008) if scaled else 0
        below.bar([b.confidence + shift for b in bins], [b.rows for b in bins], width=0.014, color=colour)
    axes.set_ylabel("share of right answers")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=9)  # data may lie on either side
    below.set_yscale("log")
    below.set_ylabel(unit)
    below.set_xlabel("probability of the answer")
    return figure


def _draw_support(metrics: Metrics, facts: DatasetFacts, unit: str, plt: Any) -> Any:
    train = facts.splits["train"].labels
    names = [entry.label for entry in metrics.scores.per_class]
    sides = (("training", [train.get(name, 0) for name in names], INK),
             ("test", [entry.support for entry in metrics.scores.per_class], SECOND))  # fmt: skip
    figure, axes = plt.subplots(figsize=(6, 0.46 * len(names) + 1))
    for k, (name, counts, colour) in enumerate(sides):
        at = np.arange(len(names)) + (k - 0.5) * 0.38
        axes.barh(at, counts, height=0.36, color=colour, label=name)
        for y, count in zip(at, counts, strict=True):
            axes.text(count, y, f" {count:,}", va="center", fontsize=8)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_xlim(0, 1.12 * max(max(counts, default=1) for _, counts, _ in sides))
    axes.set_xlabel(unit)
    axes.invert_yaxis()
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.0 + 0.5 / len(names)), ncols=2, frameon=False, fontsize=9)
    return figure


def _draw_training(training: TrainingRecord, metrics: Metrics, plt: Any) -> Any:
    history = training.history
    losses = [(h["epoch"], h["loss"]) for h in history if "loss" in h]
    key = "eval_" + metrics.primary.key
    scores = [(h["epoch"], h[key]) for h in history if key in h]
    figure, left = plt.subplots(figsize=(6, 3))
    if losses:
        left.plot(*zip(*losses, strict=True), color=INK, label="training loss")
    left.set_xlabel("epoch")
    left.set_ylabel("training loss", color=INK)
    left.set_ylim(bottom=0)
    right = left.twinx()
    right.spines["right"].set_visible(True)
    right.plot(*zip(*scores, strict=True), color=SECOND, marker="o", markersize=3)
    right.set_ylabel("validation " + metrics.primary.title, color=SECOND)
    right.set_ylim(0, 1.02)
    return figure
