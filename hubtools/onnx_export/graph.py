"""Torch to ONNX: one graph with the names that Transformers.js expects, and its int8 form."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch

from hubtools.evaluation.multitask import MultitaskClassifier
from hubtools.heads import Classification, Head
from hubtools.records.onnx import LOGITS

INPUTS = ("input_ids", "attention_mask")
# The oldest that the exporter writes without a conversion: older runtimes read it, newer ones fuse what it spells out.
OPSET = 18


class Classifier(torch.nn.Module):
    """A model of one task, from ``input_ids`` and ``attention_mask`` to its logits alone."""

    outputs: tuple[str, ...] = (LOGITS,)

    def __init__(self, head: Head, folder: Path) -> None:
        super().__init__()
        self.model = head.load_model(str(folder), dtype=torch.float32)
        self.eval()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor]:
        """Return logits: (texts, labels), or (texts, tokens, labels)."""
        return (self.model(input_ids=input_ids, attention_mask=attention_mask).logits,)


class SharedClassifier(torch.nn.Module):
    """One body with a head for each task, from ``input_ids`` and ``attention_mask`` to the logits of all of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        loaded = MultitaskClassifier(str(folder))
        self.body, self.heads = loaded.body, loaded.heads
        self.whole = {task: about["kind"] == Classification.granularity for task, about in loaded.about.items()}
        self.outputs = tuple(self.whole)
        self.eval()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return logits of each task, in the order of ``heads.json``."""
        hidden = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        # Padding has no share in the mean; special tokens have one.
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        logits = []
        for task, whole in self.whole.items():
            head = cast("torch.nn.ModuleDict", self.heads[task])
            logits.append(head["classifier"](head["head"](mean if whole else hidden)))
        return tuple(logits)


Graph = Classifier | SharedClassifier


def write_graph(model: Graph, path: Path) -> None:
    """Write ``model`` as one ONNX file that takes any number of texts and tokens."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    # Two texts of unlike length, so that the trace sees padding; the values themselves do not matter.
    ids = torch.ones((2, 16), dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    with _quiet():
        program = torch.onnx.export(
            model,
            (ids, mask),
            input_names=list(INPUTS),
            output_names=list(model.outputs),
            dynamic_shapes=dict.fromkeys(INPUTS, sizes),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # only where a path is handed over
    # The exporter notes at each node where in which file of this machine it comes from, for people who mend it.
    ClearMetadataAndDocStringPass()(program.model)
    # One file: browsers fetch no second one unless they are told its name.
    program.save(str(path), external_data=False)


def quantise(source: Path, target: Path) -> None:
    """Write the int8 form of an ONNX file: weights of matrices and of embeddings; activations as they come, by text."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        # A scale for each column costs 1% in size and keeps answers closer. Seven bits of the eight: the sums of full
        # ones overflow on processors without VNNI, and answers would depend on the machine. See docs/export.md for
        # what was tried besides.
        quantize_dynamic(str(prepared), str(target), weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter and the quantiser say to their own developers off the terminal."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
