"""The classifier before its training: a base with a new head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hubtools.spec import TaskSpec
from hubtools.training.inputs import config_of


def new_classifier(task: TaskSpec, names: Sequence[str], base_id: str, revision: str | None) -> Any:
    """A model of ``base_id`` with a head for ``names``, its labels in the order of their ids; weights are fp32."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    head = AutoModelForTokenClassification if task.kind == "token" else AutoModelForSequenceClassification
    extra = {"classifier_pooling": "mean"} if "modernbert" in config_of(base_id, revision).model_type else {}
    return head.from_pretrained(
        base_id, revision=revision, num_labels=len(names), id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)}, dtype=torch.float32, **extra,
    )  # fmt: skip
