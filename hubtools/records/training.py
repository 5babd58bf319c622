"""``training.json``: what a training was given, and what it did."""

from __future__ import annotations

from dataclasses import dataclass, field

from hubtools.records import Record

# A whole number stays one when a file is read: a card shows "4 epochs", not 4.0.
Number = int | float


@dataclass(frozen=True, kw_only=True)
class TrainingValues(Record):
    """The settings of a training, as the card's table has them. Those of one method alone are None for the other.

    Attributes:
        epochs: that it was to run.
        batch_size: rows of an optimizer step.
        warmup: share of all steps where below 1, else steps.
        max_length: tokens of a text that are read.
        shots, pairs, max_length_of_pairs: of few-shot training.
    """

    shots: int | None = None
    pairs: int | None = None
    epochs: Number
    batch_size: int
    learning_rate: Number
    weight_decay: Number
    warmup: Number
    patience: int | None = None
    max_length: int
    max_length_of_pairs: int | None = None
    seed: int
    precision: str
    label_smoothing: Number | None = None
    focal_gamma: Number | None = None


@dataclass(frozen=True, kw_only=True)
class TaskTrainingValues(TrainingValues):
    """The settings of a training of one task.

    Attributes:
        class_weights: of each label in the loss; None for a plain loss.
        balance: how far sources and their classes were evened out; None where each row came once an epoch.
    """

    class_weights: list[float] | None
    balance: Number | None = None


@dataclass(frozen=True, kw_only=True)
class LoraOptions(Record):
    """Adapters that were trained and merged; ``targets`` are the last parts of the names of the adapted layers."""

    rank: int
    alpha: int
    dropout: Number
    targets: list[str]


@dataclass(frozen=True, kw_only=True)
class TuningOptions(Record):
    """Options of how a model trains; None for those that are not in use."""

    freeze_layers: int | None = None
    lora: LoraOptions | None = None
    layer_decay: Number | None = None
    gradient_checkpointing: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Truncation(Record):
    """What the limit of tokens costs a split: shares from 0 to 1; of spans None for classification."""

    max_length: int
    rows_cut_share: float
    tokens_cut_share: float
    spans_cut_share: float | None


@dataclass(frozen=True, kw_only=True)
class PlannedCommand(Record):
    """The command that a dry run would start."""

    # As a list, so that a path with a space in it stays one argument.
    command: list[str]


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
class Weights(Record):
    """What the files of weights hold together: their parameters, and their size in bytes."""

    parameters: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class TrainingRun(Record):
    """What every training writes down.

    Attributes:
        fingerprint: of all that decides the weights; "" where a person started the training without hubtools.
        base, base_revision: a repo and its commit; a folder has no revision.
        base_note: what the card must say of the base; "" for nothing.
        method: "fine-tuning", "setfit", or "multi" for tasks that are trained together.
        presets: where the defaults came from, a line a layer.
        few_shot: of few-shot training alone.
        history: what the Trainer logged: losses, and scores on the validation split as ``eval_<key>``.
        seconds: that this process trained; those before an interruption do not count.
        resumed: whether it went on from a checkpoint.
        path: how rows went through the model.
        expected_seconds: what it was expected to take; None where nothing like it was measured on this device.
        peak_gib: memory at most, of the GPU, or of the first process on a CPU.
        tokens_per_second: of the training split, evaluations counted as a third.
        trackio: address of the Space with its curves, where ``--trackio_space_id`` asked for one.
        weights: what was released; None in a file of an earlier version.
    """

    fingerprint: str
    base: str
    base_revision: str | None
    base_note: str
    method: str = "fine-tuning"
    presets: list[str]
    few_shot: FewShot | None = None
    arguments: TrainingValues
    options: TuningOptions = field(default_factory=TuningOptions)
    # What was done, where ``arguments`` are what was planned: patience may end a training early.
    steps: int
    epochs_run: Number
    # As the Trainer logs it: which keys an entry has depends on what was logged.
    history: list[dict[str, Number]]
    seconds: Number
    resumed: bool
    processes: int
    path: str
    expected_seconds: Number | None = None
    peak_gib: Number | None = None
    tokens_per_second: Number | None = None
    emissions: Emissions | None = None
    device: str
    versions: dict[str, str]
    trackio: str | None = None
    weights: Weights | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingRecord(TrainingRun):
    """The whole of a task's ``training.json``.

    Attributes:
        train_sha256: of the texts that it was trained on; see ``training/inputs.py``.
        truncation: by split.
        best_validation: the primary metric of the released checkpoint on the validation split, by its key.
        sources_alike: whether each source of that split counted alike when the checkpoint was chosen.
    """

    task: str
    label_set: str
    # None in a file of an earlier version: then nothing can be said of the rows.
    train_sha256: str | None = None
    arguments: TaskTrainingValues
    truncation: dict[str, Truncation] = field(default_factory=dict)
    best_validation: dict[str, Number | None]
    sources_alike: bool = False


@dataclass(frozen=True, kw_only=True)
class MultitaskRecord(TrainingRun):
    """``training.json`` of the tasks trained together.

    Attributes:
        best_validation: the mean of the tasks' primary metrics at the released checkpoint, by its key.
        rows: training rows of each task.
        loss_weights: of each task's loss.
        weights_sha256: of the model that was left for each task.
    """

    best_validation: dict[str, Number | None]
    rows: dict[str, int]
    loss_weights: dict[str, float]
    weights_sha256: dict[str, str]
