"""What a training says while it runs: a line an evaluation or a log, and a stop where a loss is no number."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hubtools.errors import TrainingFailed
from hubtools.records.figures import describe_seconds
from hubtools.spec import Metric


def check_loss(loss: float, step: int) -> None:
    """Raise :class:`TrainingFailed` where the loss of a step is no number: the weights are lost."""
    # Left alone, the Trainer trains on with NaN to its last step.
    if not math.isfinite(loss):
        raise TrainingFailed(
            f"The loss is {loss} at step {step}",
            expected="a number",
            next="lower --learning_rate; with ModernBERT use bf16 or fp32, never --fp16",
        )


class Progress(TrainerCallback):
    """One line an evaluation: epoch, the loss if one was logged, the primary metric and whether it is the best so far.

    Args:
        others: titles of further scores that the line shows, by the key of their metric.
    """

    def __init__(self, name: str, primary: Metric, others: Mapping[str, str] | None = None) -> None:
        self.name, self.primary, self.others, self.loss = name, primary, others or {}, ""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        logs: Mapping[str, float] | None = None, **kwargs: object,
    ) -> None:  # fmt: skip
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        check_loss(float(loss), state.global_step)
        self.loss = f"loss {float(loss):.4f}  "

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        metrics: Mapping[str, float] | None = None, **kwargs: object,
    ) -> None:  # fmt: skip
        scores = metrics or {}
        # A person may let another metric choose the checkpoint; the line shows the primary one all the same.
        key_of_choice = (args.metric_for_best_model or self.primary.key).removeprefix("eval_")
        score, chosen = (float(scores[f"eval_{key}"]) for key in (self.primary.key, key_of_choice))
        if state.is_world_process_zero:
            # The Trainer notes the best after this; a training that goes on knows it from its checkpoint.
            before = state.best_metric
            better = before is None or (chosen > before if args.greater_is_better else chosen < before)
            best = "  best so far" if better else ""
            others = "".join(f", {title} {scores[f'eval_{key}']:.4f}" for key, title in self.others.items())
            print(
                f"[{self.name}] epoch {state.epoch:5.2f}/{args.num_train_epochs:g}  step {state.global_step}"
                f"/{state.max_steps}  {self.loss}validation {self.primary.title} {score:.4f}{others}{best}",
                flush=True,
            )


class Pace(TrainerCallback):
    """A line every half minute, where no bar shows how far a training is.

    Args:
        tokens: tells how many real tokens this process has trained on.
    """

    EVERY = 30.0  # seconds

    def __init__(self, name: str, tokens: Callable[[], int]) -> None:
        self.name, self.tokens = name, tokens
        self.began = self.said = time.monotonic()
        self.first_step = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.began = self.said = time.monotonic()
        self.first_step = state.global_step

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self._say(args, state)

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self._say(args, state, ", evaluating")

    def _say(self, args: TrainingArguments, state: TrainerState, doing: str = "") -> None:
        now = time.monotonic()
        if now - self.said < self.EVERY or not state.is_world_process_zero:
            return
        self.said = now
        done, seconds = state.global_step - self.first_step, now - self.began
        left = describe_seconds((state.max_steps - state.global_step) * seconds / done) if done else "an unknown time"
        speed = self.tokens() * args.world_size / seconds
        print(
            f"[{self.name}] step {state.global_step}/{state.max_steps}{doing}, {speed:,.0f} tokens a second, "
            f"{left} left at most",
            flush=True,
        )


class PairProgress(TrainerCallback):
    """A line whenever contrastive training logs its loss, and how long it was.

    Attributes:
        steps, epoch: that it has run.
    """

    steps, epoch = 0, 0.0

    def __init__(self, name: str) -> None:
        self.name = name

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        logs: Mapping[str, float] | None = None, **kwargs: object,
    ) -> None:  # fmt: skip
        loss = (logs or {}).get("embedding_loss")
        if loss is not None:
            check_loss(float(loss), state.global_step)
            print(
                f"[{self.name}] pairs: step {state.global_step}/{state.max_steps}  loss {float(loss):.4f}", flush=True
            )

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.steps, self.epoch = state.global_step, float(state.epoch or 0)
