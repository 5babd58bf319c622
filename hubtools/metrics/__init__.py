"""Scores of answers, each of them once: arrays in, numbers out, with no model, no text and no network.

``labels``, ``detection`` and ``spans`` hold the metrics of the three kinds of answers, ``intervals`` what is said of
their uncertainty, ``calibration`` how sure answers are. ``span_f1``, ``recall_at_fpr`` and
``expected_calibration_error`` are modules of the library ``evaluate``, over the same functions:

    evaluate.load(str(hubtools.metrics.script("span_f1")))
"""

from __future__ import annotations

from pathlib import Path


def script(name: str) -> Path:
    """Return the file that ``evaluate.load`` takes for one of the three; it needs no network."""
    return Path(__file__).with_name(f"{name}.py")
