"""One temperature, fitted on the validation split and folded into the classifier's last layer.

A network says "0.99" more often than it is right 99 times in 100. Dividing the logits by one number, which changes
no answer, mends most of that (Guo et al. 2017, arXiv:1706.04599). Folded into the weights, it is there for every
runtime that loads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hubtools.heads.values import IGNORED
from hubtools.heads.word_marks import clear_marks
from hubtools.metrics.calibration import measure_reliability
from hubtools.records import write_record
from hubtools.records.thresholds import Temperature
from hubtools.task import TaskSpec

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import nn
    from transformers import PreTrainedModel

    from hubtools.training.batching import Collator

BOUNDS = (0.25, 10.0)
FILE = "calibration.json"


def fit_temperature(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the temperature of the smallest negative log likelihood, within :data:`BOUNDS`.

    The targets are smoothed as Platt's are, by one row more of each class: without a mistake on the validation
    split, nothing else would keep the temperature from falling until every answer is certain.

    Args:
        logits: (rows, classes).
        labels: (rows,).
        weights: (rows,), how much each row counts; None for all alike.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    rows, classes = logits.shape
    target = np.full_like(logits, 1 / (rows + classes), dtype=float)
    target[np.arange(rows), labels] = (rows + 1) / (rows + classes)

    def loss(log_temperature: float) -> float:
        losses = -(target * log_softmax(logits / np.exp(log_temperature), axis=1)).sum(1)
        return float(np.average(losses, weights=weights))

    fitted = minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded", options={"xatol": 1e-5})
    return float(np.exp(fitted.x))


def measure_calibration_error(
    logits: np.ndarray, labels: np.ndarray, temperature: float, weights: np.ndarray | None = None
) -> float:
    """Return the expected calibration error, from 0 to 1, of the answers at ``temperature``."""
    from scipy.special import softmax

    answers = softmax(logits / temperature, axis=1)
    return measure_reliability(answers.max(1), answers.argmax(1) == labels, weights)[0]


def weigh_by_source(sources: Sequence[str]) -> np.ndarray:
    """Return (answers,) weights with which each source counts alike, however many answers are of it; their mean is 1.

    Args:
        sources: of each answer.
    """
    _, index, counts = np.unique(np.asarray(sources, dtype=str), return_inverse=True, return_counts=True)
    weights: np.ndarray = len(index) / (len(counts) * counts[index])
    return weights


def calibrate(
    folder: Path, task: TaskSpec, encoded: Dataset, collator: Collator, sources: Sequence[str] = ()
) -> Temperature:
    """Fit a temperature on ``encoded``, fold it into the weights in ``folder``, and write down there what was done.

    Folded once: this belongs to the end of a training, on a folder that nobody else has seen. The temperature is 1
    where another would make the calibration error on the validation split worse, or where the model's last layer is
    not a linear one.

    Args:
        encoded: the validation split as the training has it, with ``labels``.
        sources: of its rows, each of which is to count alike; none where they are not known.
    """
    model = task.head.load_model(str(folder))
    model.train(False)
    logits, labels, rows = compute_logits(model, encoded, collator)
    # A large source would decide the temperature alone: what is sure there may be wrong elsewhere.
    weights = weigh_by_source([sources[row] for row in rows]) if sources else None
    temperature = fit_temperature(logits, labels, weights)
    before, after = (measure_calibration_error(logits, labels, t, weights) for t in (1.0, temperature))
    outcome = "fitted"
    if not after < before:
        temperature, outcome = 1.0, "left at 1: another would make the calibration error on validation worse"
    elif not fold(folder / "model.safetensors", model, temperature):
        temperature, outcome = 1.0, "left at 1: the last layer of this model is not a linear one"
    record = Temperature(temperature=temperature, split="validation", answers=len(labels), result=outcome)
    write_record(folder / FILE, record)
    return record


def compute_logits(
    model: nn.Module, encoded: Dataset, collator: Collator, batch: int = 32
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits (answers, labels), labels and row numbers (answers,).

    An answer is a row, or a token that is not ignored.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]["input_ids"]))  # a batch is padded to its longest
    answers, true, of_row = [], [], []
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            rows = collator([encoded[i] for i in order[start : start + batch]])
            inputs = {name: value.to(device) for name, value in rows.items() if isinstance(value, torch.Tensor)}
            labels = inputs.pop("labels")
            numbers = np.repeat(order[start : start + batch], labels[0].numel())
            labels = clear_marks(labels.reshape(-1))
            logits = model(**inputs).logits.float().reshape(len(labels), -1)
            kept = labels != IGNORED
            answers.append(logits[kept].cpu().numpy())
            true.append(labels[kept].cpu().numpy())
            of_row.append(numbers[kept.cpu().numpy()])
    model.to("cpu")
    return np.concatenate(answers).astype(float), np.concatenate(true), np.concatenate(of_row)


def fold(weights: Path, model: PreTrainedModel, temperature: float) -> bool:
    """Divide the last linear layer in ``weights`` by ``temperature``; False where ``model`` ends in no such layer."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    layers = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == model.config.num_labels
    ]
    with safe_open(weights, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if not layers or not _is_last(model, layers[-1]):
        return False
    # A layer that shares its weights with another is saved under that one's name, and cannot be divided alone.
    names = [f"{layers[-1]}.{part}" for part in ("weight", "bias") if f"{layers[-1]}.{part}" in tensors]
    if not names:
        return False
    for name in names:
        tensors[name] = tensors[name] / temperature
    save_file(tensors, weights, metadata)
    return True


def _is_last(model: PreTrainedModel, name: str) -> bool:
    """Return whether the output of the layer ``name`` is the output of the model."""
    import torch

    outputs: list[torch.Tensor] = []
    hook = model.get_submodule(name).register_forward_hook(lambda _, __, output: outputs.append(output))
    try:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[1, 2]]), attention_mask=torch.tensor([[1, 1]])).logits
    finally:
        hook.remove()
    return len(outputs) == 1 and outputs[0].shape == logits.shape and bool(torch.equal(outputs[0], logits))
