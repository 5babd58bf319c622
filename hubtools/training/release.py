"""Make a saved model one that every runtime loads, calibrate it, and put it into the work folder with its record."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools import __version__
from hubtools.errors import TrainingFailed
from hubtools.records import write_json, write_record
from hubtools.records.training import TrainingRecord, Weights
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder, replace_folder

if TYPE_CHECKING:
    from datasets import Dataset

    from hubtools.training.batching import Collator


def complete_config(path: Path) -> None:
    """Write back the ModernBERT keys that transformers 5 leaves out.

    The Semantic Router and Text Embeddings Inference read ``global_rope_theta``, ``local_rope_theta``,
    ``global_attn_every_n_layers`` and ``layer_norm_eps`` at top level; without ``local_rope_theta`` the router
    takes the global one for local layers: wrong logits, and no error. Legacy keys that a base brought along say what
    the new ones say. transformers reloads the result to an equal configuration. Other architectures are left as they
    are.
    """
    config = json.loads(path.read_text("utf-8"))
    if config.get("model_type") != "modernbert":
        return
    rope = config.get("rope_parameters") or {}
    for key, kind, default in (
        ("global_rope_theta", "full_attention", 160_000.0),
        ("local_rope_theta", "sliding_attention", 10_000.0),
    ):
        config[key] = (rope.get(kind) or {}).get("rope_theta", config.get(key, default))
    config["layer_norm_eps"] = config.get("norm_eps", 1e-5)
    if "global_attn_every_n_layers" not in config:
        kinds = config.get("layer_types") or []
        full = [i for i, kind in enumerate(kinds) if kind == "full_attention"]
        # The first layer is a global one: the number of the second is the distance between them.
        config["global_attn_every_n_layers"] = full[1] if len(full) > 1 else max(1, len(kinds))
    write_json(path, config)


def make_label_mapping(task: TaskSpec, label_set: LabelSet) -> dict[str, dict[str, int] | dict[str, str]]:
    """Return the mapping file's content, in the keys that the router expects for this task."""
    labels = task.model_labels(label_set)
    return {
        f"{task.mapping_noun}_to_idx": {label: i for i, label in enumerate(labels)},
        f"idx_to_{task.mapping_noun}": {str(i): label for i, label in enumerate(labels)},
    }


# What transformers 5 alone writes: how the tokenizer was loaded, and the arguments of its last call.
NEW_TOKENIZER_KEYS = ("backend", "is_local", "local_files_only", "max_length", "stride", "truncation_strategy")
SPECIAL_TOKENS = (
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
    "additional_special_tokens",
)  # fmt: skip


def complete_tokenizer(folder: Path) -> None:
    """Make the tokenizer in ``folder`` one that transformers 4 and the Semantic Router load, with the same ids.

    transformers 5 names a class and keys that 4 lacks, no longer writes ``special_tokens_map.json``, and stores the
    truncation of its last call. Folders without ``tokenizer.json`` are left as they are.
    """
    from tokenizers import Tokenizer

    path, core = folder / "tokenizer_config.json", folder / "tokenizer.json"
    if not path.exists() or not core.exists():
        return
    tokenizer = Tokenizer.from_file(str(core))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(core))
    config = json.loads(path.read_text("utf-8"))
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    for key in NEW_TOKENIZER_KEYS:
        config.pop(key, None)
    if isinstance(config.get("extra_special_tokens"), list):  # 4 wants a map under this name
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    special = {key: config[key] for key in SPECIAL_TOKENS if config.get(key)}
    write_json(path, config)
    write_json(folder / "special_tokens_map.json", special)


def finish_release(folder: Path, task: TaskSpec, label_set: LabelSet) -> None:
    """Complete the files in ``folder`` and check them.

    Raises:
        TrainingFailed: weights are missing or sharded, or labels disagree.
    """
    complete_config(folder / "config.json")
    complete_tokenizer(folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    expected = {str(i): label for i, label in enumerate(task.model_labels(label_set))}
    # transformers' pipelines name labels from here, by their ids.
    if config.get("id2label") != expected:
        raise TrainingFailed(f"Labels of {folder}", expected=str(expected), found=str(config.get("id2label")))
    if not (folder / "model.safetensors").exists():
        raise TrainingFailed(f"{folder} lacks model.safetensors", expected="one file of weights")
    if task.mapping_file:
        write_json(folder / task.mapping_file, make_label_mapping(task, label_set))


def release_model(
    fresh: Path, folder: TaskFolder, task: TaskSpec, label_set: LabelSet, validation: Dataset,
    collator: Collator, record: TrainingRecord, sources: Sequence[str],
) -> None:  # fmt: skip
    """Complete and calibrate the model in ``fresh``, and make it the one of ``folder``: the end of a training.

    Args:
        fresh: beside ``folder.model``; a training that is killed before its end does not touch the model before.
        validation: the encoded validation split; ``collator`` makes batches of it.
        sources: of its rows; see :func:`list_sources`.
    """
    from hubtools.training.calibration import calibrate

    (fresh / "training_args.bin").unlink(missing_ok=True)  # a pickle: releases are safetensors and JSON only
    finish_release(fresh, task, label_set)
    calibration = calibrate(fresh, task, validation, collator, sources)
    print(f"[{task.name}] temperature {calibration.temperature:.3f}: {calibration.result}", flush=True)
    weights = measure_weights(fresh / "model.safetensors")
    with replace_folder(fresh, folder.model):  # no model stands beside another's training.json
        write_record(folder.training, replace(record, weights=weights))
    shutil.rmtree(folder.runs, ignore_errors=True)


def list_sources(split: Dataset) -> list[str]:
    """Return the source of each row of a split; none where the dataset does not say."""
    return list(split["source"]) if "source" in split.column_names else []


def measure_weights(*files: Path) -> Weights:
    """Return how many parameters files of weights hold together, and their size; only their headers are read."""
    from safetensors import safe_open

    parameters = 0
    for file in files:
        with safe_open(file, "pt") as tensors:
            names = tensors.keys()
            parameters += sum(math.prod(tensors.get_slice(name).get_shape()) for name in names)
    return Weights(parameters=parameters, bytes=sum(file.stat().st_size for file in files))


def read_versions(*more: str) -> dict[str, str]:
    """Return the versions of hubtools, Python and the libraries that decide a training, and of ``more`` packages."""
    names = ("torch", "transformers", "datasets", "accelerate", "huggingface_hub", "tokenizers", *more)
    return {"hubtools": __version__, "python": sys.version.split()[0], **{name: version(name) for name in names}}
