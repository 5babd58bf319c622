"""``model.safetensors`` by its header: names, shapes and types against a model without memory."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubtools.errors import VerificationFailed
from hubtools.router_contract.check import Check, failed, passed

WEIGHTS = "model.safetensors"
BYTES_OF_A_FLOAT = 4


@dataclass(frozen=True)
class Tensor:
    """What a header says of one tensor: its type, such as ``"F32"``, and its shape."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name; reads no weights.

    Raises:
        VerificationFailed: the file is cut off.
        ValueError, KeyError, TypeError: it is no safetensors file.
    """
    with path.open("rb") as file:
        # The format: eight bytes with the header's length, the header as JSON, then the tensors.
        size = int.from_bytes(file.read(8), "little")
        if size > path.stat().st_size - 8:
            raise VerificationFailed("the header is longer than the file")
        header = json.loads(file.read(size))
    # Free words of whoever saved the file, no tensor.
    header.pop("__metadata__", None)
    # A download that was cut off has a whole header and too few bytes.
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if path.stat().st_size != 8 + size + end:
        raise VerificationFailed(f"{path.stat().st_size} bytes, where the header tells of {8 + size + end}")
    return {name: Tensor(entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}


def check_weights(folder: Path, config: Mapping[str, Any]) -> list[Check]:
    """Return what is wrong with the tensors of a model with this ``config``, or one passed check."""
    try:
        found = read_header(folder / WEIGHTS)
    except (VerificationFailed, ValueError, KeyError, TypeError, OSError) as error:
        return [failed("weights", WEIGHTS, "cannot be read", expected="a whole safetensors file", found=str(error))]
    try:
        expected = _expected_shapes(folder, str(config["architectures"][0]))
    except Exception as error:  # transformers has many ways to say that a configuration makes no model
        return [failed("weights", "config.json", "transformers makes no model of it", found=f"{error}".split("\n")[0],
                       expected="a configuration of a ModernBERT classifier")]  # fmt: skip
    problems = [
        failed("weights", WEIGHTS, f"the tensor {name} is missing", expected=f"{name} {list(expected[name])}",
               found="no such tensor")
        for name in sorted(expected.keys() - found.keys())
    ] + [
        failed("weights", WEIGHTS, f"the tensor {name} is not the model's", expected="no such tensor",
               found=f"{name} {list(found[name].shape)}")
        for name in sorted(found.keys() - expected.keys())
    ] + [
        failed("weights", WEIGHTS, f"the tensor {name} has another shape", expected=f"{list(expected[name])}, as "
               "config.json says", found=str(list(found[name].shape)))
        for name in sorted(found.keys() & expected.keys()) if found[name].shape != expected[name]
    ]  # fmt: skip
    problems += [
        failed("weights", WEIGHTS, f"the tensor {name} is not float32", expected="F32", found=tensor.dtype)
        for name, tensor in sorted(found.items())
        if tensor.dtype != "F32"
    ]
    # The runtime compares the count of parameters exactly.
    elements = sum(math.prod(tensor.shape) for tensor in found.values())
    size = elements * BYTES_OF_A_FLOAT / 1e6
    good = passed("weights", WEIGHTS, f"{len(found)} tensors of float32 as config.json says, {size:.1f} MB",
                  tensors=len(found), elements=elements)  # fmt: skip
    return problems or [good]


def load_config(folder: Path) -> Any:
    """Return transformers' configuration; without a ``pad_token_id`` it has none, where transformers takes
    ModernBERT-base's, which need not be in the vocabulary.
    """
    from transformers import AutoConfig

    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return AutoConfig.from_pretrained(folder, **({} if "pad_token_id" in content else {"pad_token_id": None}))


def _expected_shapes(folder: Path, architecture: str) -> dict[str, tuple[int, ...]]:
    import torch
    import transformers

    config = load_config(folder)
    # Shapes alone: no memory, no random numbers, whatever the size of the model.
    with torch.device("meta"):
        model = getattr(transformers, architecture)(config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
