"""The ONNX files that stand beside weights, and whether they are of these very weights and scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from hubtools.errors import DamagedRecord
from hubtools.records import from_json
from hubtools.records.metrics import Metrics
from hubtools.records.onnx import FOLDER, PARITY, OnnxExport
from hubtools.workdir import sha256_of


def find_export(model: Path, metrics: Mapping[str, Metrics]) -> tuple[OnnxExport | None, str]:
    """Return the record of the ONNX files in ``model``, or why they must not be released.

    Args:
        model: the folder of the weights.
        metrics: of each task that the model answers.

    Returns:
        (record, ""), (None, reason), or (None, "") where there are no ONNX files.
    """
    folder = model / FOLDER
    if not folder.is_dir():
        return None, ""
    try:
        record = from_json(json.loads((folder / PARITY).read_text(encoding="utf-8")), OnnxExport)
    except (OSError, ValueError, DamagedRecord):
        return None, f"{PARITY} is missing, damaged or of another version"
    # By content: files of another training have the same names.
    if any(hash_or_none(model / name) != known for name, known in record.weights_sha256.items()):
        return None, "they were made of other weights"
    if any(hash_or_none(folder / name) != file.sha256 for name, file in record.files.items()):
        return None, "a file was changed since"
    # What the record says of metrics and thresholds follows from the scores and their target.
    if {name: task.scores_of for name, task in record.tasks.items()} != {n: m.fingerprint for n, m in metrics.items()}:
        return None, "the model was scored again since"
    return record, ""


def list_files(model: Path, record: OnnxExport | None) -> dict[str, Path]:
    """Return the ONNX files of a release and their record, by their paths in the repo."""
    names = [] if record is None else [*record.files, PARITY]
    return {f"{FOLDER}/{name}": model / FOLDER / name for name in names}


def hash_or_none(path: Path) -> str | None:
    """Return the SHA-256 of a file; None where there is none."""
    return sha256_of(path) if path.is_file() else None
