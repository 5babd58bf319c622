"""What one training has of its own, so that ``finetune.py`` runs all of them in the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """A training that is ready to begin.

    Attributes:
        trainer: transformers' Trainer with model, rows and loss.
        splits: the encoded splits that it reads.
        rows: what it says of its training rows.
        limit: tokens of a text that are read.
        options: those in use of how it trains.
        lines: what else it says before it begins.
        leave: makes the release of the folder that the trained model was saved to, and of what is known of the
            training so far.
    """

    trainer: Any
    splits: list[Any]
    rows: str
    limit: int
    options: dict[str, Any]
    lines: list[str]
    leave: Callable[[Path, dict[str, Any]], None]
