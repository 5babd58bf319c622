"""An ONNX file where a pipeline has its model, so that it is read and scored as the torch model is."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from transformers.modeling_outputs import TokenClassifierOutput

from hubtools.heads.values import Pipeline
from hubtools.onnx_export.graph import INPUTS

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from transformers import PreTrainedConfig, PreTrainedModel


def open_session(path: Path, threads: int = 0) -> InferenceSession:
    """Return a session on the CPU.

    Args:
        threads: 0 for all cores.
    """
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = threads
    return InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_session(
    session: InferenceSession, ids: np.ndarray, mask: np.ndarray, outputs: Sequence[str]
) -> list[np.ndarray]:
    """Return the logits of each of ``outputs`` for a batch: int64 ids and mask, (texts, tokens)."""
    logits: list[np.ndarray] = session.run(list(outputs), dict(zip(INPUTS, (ids, mask), strict=True)))
    return logits


class OnnxModel(torch.nn.Module):
    """What a pipeline asks of its model, answered by an ONNX file.

    Args:
        output: which of the file's outputs answers.
        config: of the torch model that it was made of.
    """

    device = torch.device("cpu")

    def __init__(self, session: InferenceSession, output: str, config: PreTrainedConfig) -> None:
        super().__init__()
        self.session, self.output, self.config = session, output, config

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: object) -> TokenClassifierOutput:
        """Answer each text by itself, as a router asks: int8 scales its numbers by all of a batch, padding included."""
        rows = []
        for ids, mask in zip(input_ids.cpu(), attention_mask.cpu().bool(), strict=True):
            kept = ids[mask].numpy()[None]
            [logits] = run_session(self.session, kept, np.ones_like(kept), [self.output])
            answer = torch.from_numpy(logits[0])
            if logits.ndim == 3:
                row = answer.new_zeros((len(ids), answer.shape[-1]))
                row[mask] = answer
                answer = row
            rows.append(answer)
        return TokenClassifierOutput(logits=torch.stack(rows))


def replace_model(classifier: Pipeline, session: InferenceSession, output: str) -> Pipeline:
    """Return a pipeline like ``classifier`` that asks ``output`` of an ONNX file."""
    replaced = copy.copy(classifier)
    replaced.model = cast("PreTrainedModel", OnnxModel(session, output, classifier.model.config))
    return replaced
