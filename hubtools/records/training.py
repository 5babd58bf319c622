"""``training.json``: what a training was given, and what it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hubtools.records import Record


@dataclass(frozen=True, kw_only=True)
class TrainingValues(Record):
    """The settings of a training, as the card's table has them. Those of one method alone are None for the other.

    Attributes:
        batch_size: rows of an optimizer step.
        warmup: share of all steps where below 1, else steps.
        max_length: tokens of a text that are read.
        shots, pairs, max_length_of_pairs: of few-shot training.
    """

    shots: int | None = None
    pairs: int | None = None
    epochs: float | int  # as it was given: "4" on a card, not "4.0"
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float
    patience: int | None = None
    max_length: int
    max_length_of_pairs: int | None = None
    seed: int
    precision: str
    label_smoothing: float | None = None
    focal_gamma: float | None = None
    class_weights: list[float] | None


@dataclass(frozen=True, kw_only=True)
class Truncation(Record):
    """What the limit of tokens costs a split: shares from 0 to 1; of spans None for classification."""

    max_length: int
    rows_cut_share: float
    tokens_cut_share: float
    spans_cut_share: float | None


@dataclass(frozen=True, kw_only=True)
class FewShot(Record):
    """Training rows that a few-shot training took, and labels that had fewer than it asked for."""

    rows: int
    fewer: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Emissions(Record):
    """Energy (kWh) and CO2 equivalents (kg) of a training, as codecarbon measured them."""

    co2_kg: float
    energy_kwh: float
    country: str | None
    tool: str


@dataclass(frozen=True, kw_only=True)
class TrainingRecord(Record):
    """The whole of a task's ``training.json``.

    Attributes:
        fingerprint: of all that decides the weights; "" where a person started the training without hubtools.
        base, base_revision: a repo and its commit; a folder has no revision.
        base_note: what the card must say of the base; "" for nothing.
        method: "fine-tuning", "setfit", or "multi" for a task trained together with the others.
        train_sha256: of the texts that it was trained on; see ``training/inputs.py``.
        presets: where the defaults came from, a line a layer.
        options: those of how it trains that are in use, such as LoRA's.
        best_validation: the primary metric of the released checkpoint on the validation split, by its key.
        history: what the Trainer logged: losses, and scores on the validation split as ``eval_<key>``.
        path: how rows went through the model.
    """

    task: str
    fingerprint: str
    base: str
    base_revision: str | None
    base_note: str
    method: str = "fine-tuning"
    label_set: str
    train_sha256: str | None = None
    presets: list[str]
    few_shot: FewShot | None = None
    arguments: TrainingValues
    options: dict[str, Any] = field(default_factory=dict)
    truncation: dict[str, Truncation] = field(default_factory=dict)
    steps: int
    epochs_run: float
    best_validation: dict[str, float | None]
    history: list[dict[str, float]]
    seconds: float
    resumed: bool
    processes: int
    path: str
    emissions: Emissions | None = None
    device: str
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class MultitaskRecord(Record):
    """``training.json`` of the tasks trained together; see :class:`TrainingRecord` for what both have.

    Attributes:
        rows: training rows of each task.
        loss_weights: of each task's loss.
        weights_sha256: of the model that was left for each task.
    """

    fingerprint: str
    base: str
    base_revision: str | None
    base_note: str
    method: str
    presets: list[str]
    arguments: TrainingValues
    options: dict[str, Any]
    steps: int
    epochs_run: float
    best_validation: dict[str, float | None]
    history: list[dict[str, float]]
    seconds: float
    resumed: bool
    processes: int
    path: str
    emissions: Emissions | None = None
    device: str
    versions: dict[str, str]
    rows: dict[str, int]
    loss_weights: dict[str, float]
    weights_sha256: dict[str, str]
