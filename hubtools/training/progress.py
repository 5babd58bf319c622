"""What a training says while it runs: a line an evaluation, and a stop where the loss is no number."""

from __future__ import annotations

import math
from typing import Any

from transformers import TrainerCallback

from hubtools.errors import TrainingFailed
from hubtools.spec import Metric


class Progress(TrainerCallback):
    """One line an evaluation: epoch, loss, the primary metric and whether it is the best so far."""

    def __init__(self, primary: Metric) -> None:
        self.primary, self.loss, self.best = primary, float("nan"), -math.inf

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        self.loss = float(loss)
        if not math.isfinite(self.loss):
            raise TrainingFailed(
                f"The loss is {self.loss} at step {state.global_step}",
                expected="a number",
                next="lower --learning_rate; with ModernBERT use bf16 or fp32, never --fp16",
            )

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        score = float((metrics or {})[f"eval_{self.primary.key}"])
        if state.is_world_process_zero:
            best = "  best so far" if score > self.best else ""
            print(
                f"  epoch {state.epoch:5.2f}/{args.num_train_epochs:g}  step {state.global_step}/{state.max_steps}  "
                f"loss {self.loss:.4f}  validation {self.primary.title} {score:.4f}{best}",
                flush=True,
            )
        self.best = max(self.best, score)
