"""Files of the model that is released, which may be another one than the work folder holds by now."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from hubtools.publishing.release_history import download
from hubtools.records.release import Published
from hubtools.workdir import TaskFolder


def find_released_file(folder: TaskFolder, model: Published, name: str) -> Path | None:
    """Return a file of the released model by its name in the repo; None where the release has none of that name.

    It is that of the work folder where this still has the weights that were released; else it comes from the Hub.
    """
    if model.weights_sha256 in (None, _find_scored_weights(folder)):
        # Scores, training and predictions lie beside the model, as the release has no folders.
        path = folder.model / name
        path = path if path.exists() else folder.root / name
        return path if path.exists() else None
    return _fetch(model, name)


def read_published_file(model: Published, name: str) -> dict[str, Any]:
    """Return the JSON object in a file of a release, from the Hub; {} where it has none, or no object in it."""
    path = _fetch(model, name)
    with contextlib.suppress(ValueError):
        content = json.loads(path.read_text("utf-8")) if path else {}
        return content if isinstance(content, dict) else {}
    return {}


def _fetch(model: Published, name: str) -> Path | None:
    from huggingface_hub import HfApi

    return download(HfApi(), model.repo, "model", name, model.revision)


def read_released(folder: TaskFolder, model: Published, name: str, command: str = "") -> dict[str, Any]:
    """Return the JSON object in a file of the released model, unchecked; {} where the release has none.

    Args:
        command: that writes it, of a file that every release has.

    Raises:
        MissingStage: such a file is not there.
    """
    path = find_released_file(folder, model, name)
    if path is None and command:
        path = folder.need(folder.model / name, command)
    return folder.read(path, command or "evaluate") if path else {}


def _find_scored_weights(folder: TaskFolder) -> str | None:
    """Return the hash of the weights whose scores are in the work folder; None where there are none."""
    with contextlib.suppress(OSError, ValueError):
        found: str | None = json.loads(folder.metrics.read_text("utf-8")).get("weights_sha256")
        return found
    return None
