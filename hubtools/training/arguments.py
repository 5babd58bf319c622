"""The flags of a training that are ours; every other is one of transformers' ``TrainingArguments``."""

from __future__ import annotations

import dataclasses
import math
from importlib.util import find_spec
from typing import TYPE_CHECKING

from hubtools.errors import UsageError
from hubtools.tasks import MULTI, TASKS
from hubtools.workdir import DEFAULT

if TYPE_CHECKING:
    from transformers import TrainingArguments

LONGEST = 8192  # tokens that ModernBERT reads
SHORTEST = 3  # a token between the two that begin and end a text
FINE_TUNING, SETFIT = METHODS = ("fine-tuning", "setfit")
AUTO, ON, OFF = COMPILE = ("auto", "on", "off")
MOST_SHOTS = 100


@dataclasses.dataclass(frozen=True)
class FinetuneArguments:
    """What is ours; everything else is TrainingArguments."""

    task: str = dataclasses.field(default="", metadata={"help": "one of: " + ", ".join((*TASKS, MULTI))})
    task_file: str | None = dataclasses.field(
        default=None, metadata={"help": "in place of --task: a YAML file that describes a task of your own"}
    )
    base: str | None = dataclasses.field(
        default=None, metadata={"help": "encoder to start from, a repo or folder [ModernBERT-base]"}
    )
    dataset: str | None = dataclasses.field(
        default=None, metadata={"help": "dataset folder or repo [curated, else pushed, else curated first]"}
    )
    label_set: str | None = dataclasses.field(default=None, metadata={"help": "a variant of the task's labels"})
    work_dir: str = dataclasses.field(default=str(DEFAULT), metadata={"help": "folder of the run's files"})
    hub: str | None = dataclasses.field(default=None, metadata={"help": '"local" for the embedded Hub'})
    max_length: int | None = dataclasses.field(
        default=None,
        metadata={"help": f"tokens of a text that are read, at most {LONGEST} [512, or all that the base can read]"},
    )
    patience: int | None = dataclasses.field(
        default=None, metadata={"help": "evaluations without a better primary metric before training stops"}
    )
    tokens_per_batch: int | None = dataclasses.field(
        default=None, metadata={"help": "tokens that go through the model at once, at most [16384, on a CPU 4096]"}
    )
    pack: bool = dataclasses.field(
        default=True, metadata={"help": "leave padding out of the model's layers where model and device can"}
    )
    compile: str = dataclasses.field(
        default=AUTO,
        metadata={
            "help": "compile the encoder's layers: on, off, or auto: where a measured figure says it pays [auto]"
        },
    )
    class_weights: str = dataclasses.field(
        default="auto",
        metadata={"help": "auto (as the task says), balanced: n/(k n_c), none, or a number a label: 1,2.5"},
    )
    balance: float | None = dataclasses.field(
        default=None,
        metadata={"help": "0 takes each row once an epoch, 1 each class of each source alike [as the task says]"},
    )
    focal_gamma: float = dataclasses.field(
        default=0.0, metadata={"help": "focal loss: what the model is sure of counts (1 - p) ** gamma"}
    )
    lora_rank: int = dataclasses.field(
        default=0,
        metadata={"help": "train LoRA adapters of this rank and the head, merged at the end [0: all weights train]"},
    )
    lora_alpha: int | None = dataclasses.field(
        default=None, metadata={"help": "adapters count alpha/rank [twice the rank]"}
    )
    lora_dropout: float = dataclasses.field(default=0.05, metadata={"help": "dropout before each adapter [0.05]"})
    lora_targets: str = dataclasses.field(
        default="all", metadata={"help": "linear layers that get an adapter, such as Wqkv,Wo [all of the encoder's]"}
    )
    freeze_layers: int = dataclasses.field(
        default=0, metadata={"help": "keep the embeddings and this many of the lowest layers as they are"}
    )
    layer_decay: float = dataclasses.field(
        default=1.0, metadata={"help": "learning rate of a layer, as a share of the one above it, such as 0.9 [1]"}
    )
    emissions: bool = dataclasses.field(
        default=False, metadata={"help": "measure energy and CO2 with codecarbon; needs --emissions_country"}
    )
    emissions_country: str | None = dataclasses.field(
        default=None, metadata={"help": "where the electricity comes from: an ISO code of three letters, such as USA"}
    )
    method: str = dataclasses.field(
        default=FINE_TUNING, metadata={"help": "fine-tuning, or setfit: few-shot training, not of spans [fine-tuning]"}
    )
    shots: int | None = dataclasses.field(default=None, metadata={"help": "with setfit: rows of each class [8]"})
    fingerprint: str = dataclasses.field(default="", metadata={"help": "what identifies this training; written down"})

    def __post_init__(self) -> None:
        """Values that no model and no data could make right stop here.

        Raises:
            UsageError: out of range, or of a package that is not installed.
        """
        for flag, right, expected in (
            ("max_length", self.max_length is None or SHORTEST <= self.max_length <= LONGEST,
             f"from {SHORTEST} to {LONGEST} tokens"),
            ("method", self.method in METHODS, " or ".join(METHODS)),
            ("shots", self.shots is None or 2 <= self.shots <= MOST_SHOTS,
             f"from 2 to {MOST_SHOTS} rows of each class, to make pairs of; with more, train on all rows"),
            ("shots", self.shots is None or self.method == SETFIT, f"--method {SETFIT} with it"),
            ("compile", self.compile in COMPILE, ", ".join(COMPILE)),
            ("patience", self.patience is None or self.patience > 0, "1 or more evaluations"),
            ("lora_rank", self.lora_rank >= 0, "0 for none, or a rank such as 16"),
            ("lora_alpha", self.lora_alpha is None or self.lora_alpha > 0, "more than 0"),
            ("lora_dropout", 0 <= self.lora_dropout < 1, "from 0 to below 1"),
            ("freeze_layers", self.freeze_layers >= 0, "0 for none, or a number of layers"),
            ("balance", self.balance is None or 0 <= self.balance <= 1, "from 0 to 1"),
            ("layer_decay", 0 < self.layer_decay <= 1, "above 0, and at most 1"),
            ("emissions_country", not self.emissions or self.emissions_country,
             "with --emissions, an ISO code of three letters: how clean electricity is depends on the country"),
        ):  # fmt: skip
            if not right:
                raise UsageError(
                    f"--{flag}", expected=expected, found=str(getattr(self, flag)), next="hubtools finetune --help"
                )
        for flag, package, extra in (("lora_rank", "peft", "lora"), ("emissions", "codecarbon", "emissions")):
            if getattr(self, flag) and not find_spec(package):
                raise UsageError(
                    f"--{flag} needs the package {package}", found="it is not installed",
                    next=f"pip install 'hubtools[{extra}]'",
                )  # fmt: skip


def check_steps(args: TrainingArguments, rows: int) -> None:
    """Check that a training has a step, and that it is evaluated once.

    Args:
        rows: of the training split.

    Raises:
        UsageError: it has none, or is not.
    """
    rows_a_step = max(1, args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size)
    an_epoch = rows // rows_a_step if args.dataloader_drop_last else -(-rows // rows_a_step)
    steps = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * an_epoch)
    if steps < 1 or an_epoch < 1:
        raise UsageError(
            "These flags leave no step to train", expected="one step or more",
            found=f"{args.num_train_epochs:g} epochs of {rows} rows, {rows_a_step} a step"
            + (", and what does not fill one is dropped" if args.dataloader_drop_last else ""),
            next="raise --num_train_epochs or --max_steps, or lower --per_device_train_batch_size",
        )  # fmt: skip
    # The last step is evaluated whatever --eval_steps says, but not before --eval_delay is over.
    delay, unit = args.eval_delay or 0, 1 if args.eval_strategy == "steps" else an_epoch
    if delay > math.ceil(steps / unit):
        raise UsageError(
            "The training would end before it is evaluated", expected="one evaluation or more: the best is released",
            found=f"{steps} steps, --eval_delay {delay:g}",
            next="leave --eval_delay out, or lower it",
        )  # fmt: skip


def check_evaluations(args: TrainingArguments) -> None:
    """Check that each evaluation leaves a checkpoint: the release is the best of those that were evaluated.

    Raises:
        UsageError: the last checkpoint is asked for in place of the best, or evaluations without one.
    """
    if not args.load_best_model_at_end:
        raise UsageError(
            "--load_best_model_at_end false", expected="the best checkpoint, which is scored and released",
            found="the last one", next="leave the flag out; --patience 1000 trains to the end all the same",
        )  # fmt: skip
    if args.eval_strategy == "no":
        raise UsageError(
            "--eval_strategy no", expected="steps or epoch: the checkpoint with the best score is released", found="no",
            next="leave the flag out",
        )  # fmt: skip
    if args.eval_strategy == "steps" and args.save_strategy == "steps" and args.eval_steps != args.save_steps:
        raise UsageError(
            f"--save_steps {args.save_steps:g}", expected="a checkpoint an evaluation: the best is released",
            found=f"--eval_steps {args.eval_steps:g}", next="leave --save_steps out: it follows --eval_steps",
        )  # fmt: skip
