"""Pictures for the card, drawn from ``metrics.json`` and ``training.json`` alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

# Read on white and on black pages alike: a white ground with dark ink, and colours that survive greyscale.
_STYLE: dict[Any, Any] = {
    "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "white", "text.color": "#1f2937",
    "axes.labelcolor": "#1f2937", "axes.edgecolor": "#9ca3af", "xtick.color": "#374151", "ytick.color": "#374151",
    "font.size": 10, "axes.titlesize": 11, "axes.spines.top": False, "axes.spines.right": False,
}  # fmt: skip
_INK, _SECOND = "#1d4ed8", "#c2410c"


def draw_plots(metrics: Mapping[str, Any], training: Mapping[str, Any], folder: Path) -> list[tuple[str, str]]:
    """Write the task's plots as PNG into ``folder``.

    Returns:
        (file name, caption) pairs, in the order of the card.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context(_STYLE):
        made = []
        if "confusion" in metrics["scores"]:
            made.append(("confusion.png", "Confusion matrix on the test split: rows are the true labels.",
                         _confusion(metrics, plt)))  # fmt: skip
        else:
            made.append(("per_type.png", "Strict F1 by type on the test split.", _per_type(metrics, plt)))
        if "roc" in metrics["scores"]:
            made.append(("roc.png", "ROC curve on the test split, with the shipped threshold.", _roc(metrics, plt)))
        if training.get("history"):
            made.append(("training.png", "Training loss, and the primary metric on the validation split.",
                         _training(training, metrics, plt)))  # fmt: skip
        for name, _, figure in made:
            # No date or version inside: the same numbers give the same bytes.
            figure.savefig(folder / name, dpi=120, bbox_inches="tight", metadata={"Software": None})
            plt.close(figure)
    return [(name, caption) for name, caption, _ in made]


def _confusion(metrics: Mapping[str, Any], plt: Any) -> Any:
    counts = np.array(metrics["scores"]["confusion"])
    names = [entry["label"].replace("_", " ") for entry in metrics["scores"]["per_class"]]
    size = max(3.6, 0.5 * len(names) + 1.6)
    figure, axes = plt.subplots(figsize=(size, size * 0.92))
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i in range(len(names)):
        for j in range(len(names)):
            if counts[i, j]:
                axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=8,
                          color="white" if share[i, j] > 0.55 else "#1f2937")  # fmt: skip
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.spines[:].set_visible(False)
    return figure


def _per_type(metrics: Mapping[str, Any], plt: Any) -> Any:
    entries = metrics["scores"]["per_class"]
    figure, axes = plt.subplots(figsize=(6, 0.42 * len(entries) + 1))
    axes.barh([e["label"] for e in entries], [e["f1"] for e in entries], color=_INK)
    for i, entry in enumerate(entries):
        axes.text(entry["f1"] + 0.01, i, f"{entry['f1']:.3f}  ({entry['support']} spans)", va="center", fontsize=8)
    axes.set_xlim(0, 1.25)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.set_xlabel("F1, exact span and type")
    axes.invert_yaxis()
    return figure


def _roc(metrics: Mapping[str, Any], plt: Any) -> Any:
    scores = metrics["scores"]
    figure, axes = plt.subplots(figsize=(4.6, 4.2))
    curve = np.array(scores["roc"])
    auc = f"AUC {scores['roc_auc']['value']:.3f}"
    axes.plot(curve[:, 0], curve[:, 1], color=_INK, drawstyle="steps-post", label=auc)
    axes.plot([0, 1], [0, 1], color="#9ca3af", linewidth=0.8, linestyle="--", label="chance")
    axes.plot(scores["fpr_at_threshold"], 1 - scores["fnr_at_threshold"], "o", color=_SECOND,
              label=f"threshold {scores['threshold']:g}")  # fmt: skip
    axes.set_xlabel("false positive rate (harmless prompts flagged)")
    axes.set_ylabel("recall (attacks caught)")
    axes.legend(loc="lower right", frameon=False)
    return figure


def _training(training: Mapping[str, Any], metrics: Mapping[str, Any], plt: Any) -> Any:
    history = training["history"]
    losses = [(h["epoch"], h["loss"]) for h in history if "loss" in h]
    key = "eval_" + metrics["primary"]["key"]
    scores = [(h["epoch"], h[key]) for h in history if key in h]
    figure, left = plt.subplots(figsize=(6, 3))
    if losses:
        left.plot(*zip(*losses, strict=True), color=_INK, label="training loss")
    left.set_xlabel("epoch")
    left.set_ylabel("training loss", color=_INK)
    left.set_ylim(bottom=0)
    right = left.twinx()
    right.spines["right"].set_visible(True)
    right.plot(*zip(*scores, strict=True), color=_SECOND, marker="o", markersize=3)
    right.set_ylabel("validation " + metrics["primary"]["title"], color=_SECOND)
    right.set_ylim(0, 1.02)
    return figure
