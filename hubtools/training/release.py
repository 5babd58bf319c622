"""Make a saved model one that every runtime loads: legacy configuration keys and the label mapping."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hubtools.errors import TrainingFailed
from hubtools.spec import LabelSet, TaskSpec
from hubtools.workdir import write_json


def complete_config(path: Path) -> None:
    """Write back the ModernBERT keys that transformers 5 leaves out.

    The Semantic Router and Text Embeddings Inference read ``global_rope_theta``, ``local_rope_theta``,
    ``global_attn_every_n_layers`` and ``layer_norm_eps`` at top level; without ``local_rope_theta`` the router
    takes the global one for local layers: wrong logits, and no error. transformers reloads the result to an
    equal configuration. Other architectures are left as they are.
    """
    config = json.loads(path.read_text())
    if config.get("model_type") != "modernbert":
        return
    rope = config.get("rope_parameters") or {}
    for key, kind, default in (
        ("global_rope_theta", "full_attention", 160_000.0),
        ("local_rope_theta", "sliding_attention", 10_000.0),
    ):
        config.setdefault(key, (rope.get(kind) or {}).get("rope_theta", default))
    config.setdefault("layer_norm_eps", config.get("norm_eps", 1e-5))
    if "global_attn_every_n_layers" not in config:
        kinds = config.get("layer_types") or []
        full = [i for i, kind in enumerate(kinds) if kind == "full_attention"]
        config["global_attn_every_n_layers"] = full[1] if len(full) > 1 else max(1, len(kinds))
    write_json(path, config)


def label_mapping(task: TaskSpec, label_set: LabelSet) -> dict[str, dict[str, Any]]:
    """The mapping file's content, in the keys that the router expects for this task."""
    labels = task.model_labels(label_set)
    noun = "category" if task.name == "category" else "label"
    return {
        f"{noun}_to_idx": {label: i for i, label in enumerate(labels)},
        f"idx_to_{noun}": {str(i): label for i, label in enumerate(labels)},
    }


def finish_release(folder: Path, task: TaskSpec, label_set: LabelSet) -> None:
    """Complete the files in ``folder`` and check them.

    Raises:
        TrainingFailed: weights are missing or sharded, or labels disagree.
    """
    complete_config(folder / "config.json")
    config = json.loads((folder / "config.json").read_text())
    expected = {str(i): label for i, label in enumerate(task.model_labels(label_set))}
    if config.get("id2label") != expected:
        raise TrainingFailed(f"Labels of {folder}", expected=str(expected), found=str(config.get("id2label")))
    if not (folder / "model.safetensors").exists():
        raise TrainingFailed(f"{folder} lacks model.safetensors", expected="one file of weights")
    if task.mapping_file:
        write_json(folder / task.mapping_file, label_mapping(task, label_set))
