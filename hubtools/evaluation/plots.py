"""Pictures for the card, drawn from ``metrics.json``, ``training.json`` and ``facts.json`` alone."""

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
_INK, _SECOND, _GREY = "#1d4ed8", "#c2410c", "#9ca3af"
# Where a curve is worked at, each with its mark.
_POINTS = (("shipped", "o", _SECOND), ("router_default", "s", "#374151"))


def draw_plots(
    metrics: Mapping[str, Any], training: Mapping[str, Any], facts: Mapping[str, Any], folder: Path
) -> list[tuple[str, str]]:
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
            made.append(("confusion.png", "Confusion matrix on the test split: rows are the true labels, shades the "
                         "share of a row.", _confusion(metrics, plt)))  # fmt: skip
        else:
            made.append(("per_type.png", "Strict F1 by type on the test split.", _per_type(metrics, plt)))
        if "roc" in metrics["scores"]:
            made.append(("roc.png", "ROC curve on the test split, with the shipped threshold and the router's default. "
                         "The scale of the false positive rate is logarithmic: what matters lies at its left.",
                         _roc(metrics, plt)))  # fmt: skip
            made.append(("pr.png", "Precision and recall on the test split, with the shipped threshold and the "
                         "router's default. Where attacks are rarer than in this split, precision is lower.",
                         _pr(metrics, plt)))  # fmt: skip
        if "abstention" in metrics:
            made.append(("abstention.png", "Accuracy, and macro F1 over the classes that occur, of the rows of the "
                         "test split that are answered, the surest first; with the shipped threshold and the "
                         "router's default.",
                         _abstention(metrics, plt)))  # fmt: skip
        of = "tokens" if "spans" in metrics["calibration"]["test"] else "rows"
        scaled = metrics["calibration"]["temperature"] != 1
        made.append(("reliability.png", f"How often answers of a given probability are right ({of} of the test split)"
                     + (", before and after the temperature." if scaled else "."),
                     _reliability(metrics, of, scaled, plt)))  # fmt: skip
        made.append(("support.png", "Training and test " + ("spans" if of == "tokens" else "rows") + " by label.",
                     _support(metrics, facts, plt)))  # fmt: skip
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
    scores, chosen = metrics["scores"], metrics["thresholds"]
    figure, axes = plt.subplots(figsize=(5.4, 4.2))
    curve = np.array(scores["roc"])
    floor = 0.5 / max(1, scores["negatives"])  # where a rate of zero is drawn: below that of a single row
    rates = np.maximum(curve[:, 0], floor)
    auc = f"AUC {scores['roc_auc']['value']:.3f}"
    axes.plot(rates, curve[:, 1], color=_INK, drawstyle="steps-post", label=auc)
    chance = np.geomspace(floor, 1, 50)
    axes.plot(chance, chance, color=_GREY, linewidth=0.8, linestyle="--", label="chance")
    for name, marker, colour in _POINTS:
        at = chosen[name]["test"]
        axes.plot(max(at["fpr"]["value"], floor), 1 - at["fnr"]["value"], marker, color=colour, clip_on=False,
                  label=_named(chosen, name))  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(floor, 1)
    ticks = [t for t in (0.001, 0.01, 0.05, 0.1, 0.5, 1) if t > 1.5 * floor]
    axes.set_xticks([floor, *ticks], ["0", *(f"{t:.1%}" if t < 0.01 else f"{t:.0%}" for t in ticks)])
    axes.minorticks_off()
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("false positive rate (harmless prompts flagged)")
    axes.set_ylabel("recall (attacks caught)")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9)
    return figure


def _pr(metrics: Mapping[str, Any], plt: Any) -> Any:
    scores, chosen = metrics["scores"], metrics["thresholds"]
    figure, axes = plt.subplots(figsize=(5.4, 4.2))
    curve = np.array(scores["pr"])
    axes.plot(curve[:, 0], curve[:, 1], color=_INK, drawstyle="steps-post",
              label=f"average precision {scores['pr_auc']['value']:.3f}")  # fmt: skip
    share = scores["positives"] / (scores["positives"] + scores["negatives"])
    axes.axhline(share, color=_GREY, linewidth=0.8, linestyle="--", label=f"chance: {share:.0%} are attacks")
    for name, marker, colour in _POINTS:
        at = chosen[name]["test"]
        caught, flagged = (1 - at["fnr"]["value"]) * at["positives"], at["fpr"]["value"] * at["negatives"]
        if caught + flagged:  # where nothing is flagged there is no precision
            axes.plot(caught / at["positives"], caught / (caught + flagged), marker, color=colour, clip_on=False,
                      label=_named(chosen, name))  # fmt: skip
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall (attacks caught)")
    axes.set_ylabel("precision (flags that are attacks)")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9)
    return figure


def _abstention(metrics: Mapping[str, Any], plt: Any) -> Any:
    curve, chosen = metrics["abstention"], metrics["thresholds"]
    figure, axes = plt.subplots(figsize=(5.4, 4.2))
    share = [at["answered"] for at in curve]
    for key, title, line in (("accuracy", "accuracy", "-"), ("macro_f1", "macro F1", "--")):
        axes.plot(share, [at[key] for at in curve], color=_INK, linestyle=line, label=title)
    for name, marker, colour in _POINTS:
        at = chosen[name]["test"]
        if at["accuracy_of_answered"]:  # where nothing is answered there is none
            both = [at["accuracy_of_answered"]["value"], at["macro_f1_of_answered"]]
            axes.plot([at["answered"]["value"]] * 2, both, marker, color=colour, clip_on=False,
                      label=_named(chosen, name))  # fmt: skip
    axes.set_xlim(0, 1.02)
    axes.set_ylim(max(0.0, min(at[key] for at in curve for key in ("accuracy", "macro_f1")) - 0.1), 1.02)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("share of rows that are answered")
    axes.set_ylabel("score of what is answered")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9)
    return figure


def _named(chosen: Mapping[str, Any], name: str) -> str:
    return f"{name.replace('_', ' ')}: threshold {chosen[name]['threshold']:g}"


def _reliability(metrics: Mapping[str, Any], of: str, scaled: bool, plt: Any) -> Any:
    found = metrics["calibration"]["test"]
    lines = [("after", _INK, "o", "full")]
    if scaled:
        lines.insert(0, ("before", _SECOND, "s", "none"))
    figure, (axes, below) = plt.subplots(
        2, 1, figsize=(4.8, 5), sharex=True, height_ratios=(3, 1), gridspec_kw={"hspace": 0.12}
    )
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle="--", label="as sure as right")
    for when, colour, marker, filled in lines:
        bins = found[f"bins_{when}"]
        axes.plot([b["confidence"] for b in bins], [b["accuracy"] for b in bins], color=colour, marker=marker,
                  markersize=5, fillstyle=filled, linewidth=1.2,
                  label=f"{when if scaled else 'the model'} (ECE {found[f'ece_{when}']:.3f})")  # fmt: skip
        shift = (-0.008 if when == "before" else 0.008) if scaled else 0
        below.bar([b["confidence"] + shift for b in bins], [b["rows"] for b in bins], width=0.014, color=colour)
    axes.set_ylabel("share of right answers")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=9)  # data may lie on either side
    below.set_yscale("log")
    below.set_ylabel(of)
    below.set_xlabel("probability of the answer")
    return figure


def _support(metrics: Mapping[str, Any], facts: Mapping[str, Any], plt: Any) -> Any:
    train = facts["splits"]["train"]["labels"]
    names = [entry["label"] for entry in metrics["scores"]["per_class"]]
    sides = (("training", [train.get(name, 0) for name in names], _INK),
             ("test", [entry["support"] for entry in metrics["scores"]["per_class"]], _SECOND))  # fmt: skip
    figure, axes = plt.subplots(figsize=(6, 0.46 * len(names) + 1))
    for k, (name, counts, colour) in enumerate(sides):
        at = np.arange(len(names)) + (k - 0.5) * 0.38
        axes.barh(at, counts, height=0.36, color=colour, label=name)
        for y, count in zip(at, counts, strict=True):
            axes.text(count, y, f" {count:,}", va="center", fontsize=8)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_xlim(0, 1.12 * max(max(counts, default=1) for _, counts, _ in sides))
    axes.set_xlabel("spans" if "entity_f1" in metrics["scores"] else "rows")
    axes.invert_yaxis()
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.0 + 0.5 / len(names)), ncols=2, frameon=False, fontsize=9)
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
