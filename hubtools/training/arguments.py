"""The flags of a training that are ours; every other is one of transformers' ``TrainingArguments``."""

from __future__ import annotations

import dataclasses

from hubtools.tasks import TASKS
from hubtools.workdir import DEFAULT


@dataclasses.dataclass
class FinetuneArguments:
    """What is ours; everything else is TrainingArguments."""

    task: str = dataclasses.field(metadata={"help": "one of: " + ", ".join(TASKS)})
    base: str | None = dataclasses.field(
        default=None, metadata={"help": "encoder to start from, a repo or folder [ModernBERT-base]"}
    )
    dataset: str | None = dataclasses.field(
        default=None, metadata={"help": "dataset folder or repo [the curated one, else the pushed one]"}
    )
    label_set: str | None = dataclasses.field(default=None, metadata={"help": "a variant of the task's labels"})
    work_dir: str = dataclasses.field(default=str(DEFAULT), metadata={"help": "folder of the run's files"})
    hub: str | None = dataclasses.field(default=None, metadata={"help": '"local" for the embedded Hub'})
    max_length: int = dataclasses.field(default=512, metadata={"help": "tokens of a text that are read, at most 8192"})
    patience: int | None = dataclasses.field(
        default=None, metadata={"help": "evaluations without a better primary metric before training stops"}
    )
    tokens_per_batch: int | None = dataclasses.field(
        default=None, metadata={"help": "tokens that go through the model at once, at most [16384, on a CPU 4096]"}
    )
    pack: bool = dataclasses.field(
        default=True, metadata={"help": "leave padding out of the model's layers where model and device can"}
    )
    class_weights: str = dataclasses.field(
        default="auto",
        metadata={"help": "auto (as the task says), balanced: n/(k n_c), none, or a number a label: 1,2.5"},
    )
    focal_gamma: float = dataclasses.field(
        default=0.0, metadata={"help": "focal loss: what the model is sure of counts (1 - p) ** gamma"}
    )
    fingerprint: str = dataclasses.field(default="", metadata={"help": "what identifies this training; written down"})
