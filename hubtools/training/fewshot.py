"""Few-shot training: what it takes, what it refuses, which rows it draws. The training itself is in ``setfit.py``."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from hubtools.errors import UsageError
from hubtools.spec import BaseModel
from hubtools.task import TaskSpec
from hubtools.tasks import EMBEDDING
from hubtools.training.arguments import SETFIT
from hubtools.training.flags import TrainingFlags
from hubtools.training.presets import Preset, list_values

SHOTS = 8
MAX_LENGTH = 256  # tokens of a text in a pair: enough for a prompt, and contrastive training reads each many times
# The defaults of contrastive training are SetFit's own, for every base.
PRESET = Preset(1, 16, 2e-5, weight_decay=0.01, warmup=0.1, eval_steps=0, patience=0)
# The flags that mean something here. Any other would change nothing, and is refused.
TAKEN = {
    "task", "task_file", "base", "dataset", "label_set", "work_dir", "hub", "fingerprint", "method", "shots",
    "max_length", "seed", "use_cpu", "learning_rate", "num_train_epochs", "per_device_train_batch_size", "max_steps",
    "warmup_steps",
    "disable_tqdm",  # which whoever starts several trainings at once gives to each
}  # fmt: skip


def is_few_shot(flags: TrainingFlags) -> bool:
    """Return whether the flags of a training ask for this method."""
    return flags.ours.method == SETFIT


def list_preferred_bases(flags: TrainingFlags) -> tuple[BaseModel, ...]:
    """Return the bases to start from, before the usual ones, where none is asked for."""
    return (EMBEDDING,) if is_few_shot(flags) else ()


def check_method(flags: TrainingFlags, tasks: Sequence[TaskSpec], processes: int) -> None:
    """Refuse a few-shot training of what it cannot train, or with flags that it has no use for.

    Raises:
        UsageError: a task of spans, a flag that would change nothing, or several processes.
    """
    if not is_few_shot(flags):
        return
    spans = [task.name for task in tasks if not task.head.few_shot]
    if spans:
        others = ", ".join(task.name for task in tasks if task.head.few_shot) or "a task that labels texts as a whole"
        raise UsageError(
            f"SetFit labels whole texts, and {spans[0]!r} asks for spans", expected=others, found=f"--method {SETFIT}",
            next=f"train {spans[0]} by a command of its own, without --method and --shots",
        )  # fmt: skip
    unused = [spelled for name, spelled in flags.given.items() if name not in TAKEN]
    if unused:
        accepted = sorted(TAKEN - {"task", "task_file", "fingerprint"})
        raise UsageError(
            f"With --method {SETFIT}, {', '.join(unused)} would change nothing",
            expected="of " + ", ".join(f"--{name}" for name in accepted), found=", ".join(unused), next="leave it out",
        )  # fmt: skip
    if processes > 1:
        raise UsageError(
            "SetFit trains in one process: so few rows need no more", expected="one process",
            found=f"{processes} processes", next="leave --processes (or --num_processes) out",
        )  # fmt: skip


def choose_few_shot_preset() -> tuple[Preset, list[str]]:
    """Return the defaults of contrastive training, and the line that says so."""
    return PRESET, [f"method {SETFIT}: {describe_few_shot_preset()}"]


def describe_few_shot_preset() -> str:
    """Return the epochs, the batch size and the learning rate of contrastive training, as a log and a card say them."""
    return list_values({name: getattr(PRESET, name) for name in ("epochs", "batch_size", "learning_rate")})


def draw_shots(labels: Sequence[int], count: int, seed: int) -> list[int]:
    """Return row numbers: ``count`` of each label or all that it has, drawn by ``seed``; in the order of the labels."""
    rows: dict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        rows[label].append(row)
    draw = random.Random(seed)
    return [row for label in sorted(rows) for row in sorted(draw.sample(rows[label], min(count, len(rows[label]))))]
