"""``figures.json``: how fast trainings were, by the device and the size of the encoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hubtools.errors import DamagedRecord
from hubtools.records import Record, from_json, to_json, write_json


@dataclass(frozen=True, kw_only=True)
class Figure(Record):
    """What one training measured, or a benchmark of one.

    Attributes:
        device: as ``training.json`` names it.
        layers, width: of the encoder: how many, and its hidden size.
        path: how rows went through the model.
        compiled: whether its layers were.
        tokens_per_second: real ones of the training split, evaluations left out.
        peak_gib: of the device's memory, or of the process on a CPU.
        compile_seconds: until the first step, for compiling.
    """

    device: str
    layers: int
    width: int
    path: str
    compiled: bool
    tokens_per_second: float
    peak_gib: float
    compile_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Estimate(Record):
    """What a training is expected to take, before it begins."""

    seconds: float
    peak_gib: float


def read_figures(*files: Path) -> list[Figure]:
    """Return the figures of several files, the newest last; a file that is not there, or damaged, has none."""
    figures = []
    for file in files:
        try:
            figures += [from_json(entry, Figure) for entry in json.loads(file.read_text("utf-8"))]
        # Only an estimate depends on it.
        except (OSError, ValueError, TypeError, DamagedRecord):
            continue
    return figures


def keep_figure(file: Path, figure: Figure) -> None:
    """Write a figure in place of an older one of the same device, encoder and path."""

    def key(one: Figure) -> tuple[object, ...]:
        return one.device, one.layers, one.width, one.path, one.compiled

    kept = [one for one in read_figures(file) if key(one) != key(figure)]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, [to_json(one) for one in (*kept, figure)])


def find_figure(
    figures: Sequence[Figure], device: str, layers: int, width: int, compiled: bool | None = None
) -> Figure | None:
    """Return the newest figure of a device and an encoder's size; None where nothing was measured."""
    fitting = (
        figure
        for figure in reversed(figures)
        if (figure.device, figure.layers, figure.width) == (device, layers, width)
        and compiled in (None, figure.compiled)
    )
    return next(fitting, None)


def does_compiling_pay(figures: Sequence[Figure], device: str, layers: int, width: int, tokens: float) -> bool:
    """Return whether a training of so many tokens ends sooner with compiled layers, by what was measured."""
    plain, compiled = (find_figure(figures, device, layers, width, of) for of in (False, True))
    if not (plain and compiled):
        return False
    return tokens / compiled.tokens_per_second + compiled.compile_seconds < tokens / plain.tokens_per_second


def estimate_training(figure: Figure, tokens: float, evaluated: float) -> Estimate:
    """Return how long a training takes and how much memory.

    Args:
        tokens: of all its steps.
        evaluated: tokens of all its evaluations, which compute no gradients.
    """
    seconds = (tokens + evaluated / 3) / figure.tokens_per_second + figure.compile_seconds
    return Estimate(seconds=round(seconds, 1), peak_gib=figure.peak_gib)


def describe_seconds(seconds: float) -> str:
    """Return a duration in the largest unit that has a whole one, such as "40 s", "12 minutes" or "3.5 hours"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 90 * 60 else f"{seconds / 3600:.1f} hours"
