"""Fine-tune one classifier: what accelerate launches.

    accelerate launch hubtools/finetune.py --task pii
    accelerate launch --num_processes 2 hubtools/finetune.py --task jailbreak --learning_rate 3e-5
    accelerate launch hubtools/finetune.py --task multi

Reads ``--dataset`` (a folder or a repo on the Hub), else the curated dataset of the work folder, else the pushed one,
else curates it first. Trains with transformers' Trainer, and leaves the best checkpoint by the task's primary metric in
``<work-dir>/<task>/model``.
Every flag of ``TrainingArguments`` is taken; what is not given follows the size of the training split, the task
and the base model, and the log says which applied. The rows of a step, its loss and its gradient are the same however
many processes, accumulated batches and passes through the model share them. A training that was killed goes on from
its last checkpoint. ``--task multi`` trains all four tasks together on one body; ``--task-file FILE`` trains a task of
your own.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from pathlib import Path

if not __package__:  # started by path: the repository root, not hubtools/, must be what imports see first
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

# Threads that wait for one another without spinning: with another process on the same cores, spinning makes small
# models many times slower. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from hubtools.errors import TrainingFailed
from hubtools.library_errors import translate_error
from hubtools.training.flags import make_training_parser, parse_training_flags, read_hub
from hubtools.training.plan import Plan, plan_training
from hubtools.training.processes import fail, start_processes, world_size
from hubtools.training.run import run_training


def parse(argv: list[str]) -> Plan:
    """Return the training that the flags ask for, with everything decided that they leave open."""
    from hubtools.connection import connect

    connect(read_hub(argv))

    from transformers.utils.logging import set_verbosity

    set_verbosity(logging.ERROR)  # a new head is what fine-tuning is for: no report that it is missing
    if {"-h", "--help"} & set(argv):
        make_training_parser(prog="finetune.py", description=__doc__).print_help()
        sys.exit(0)
    return plan_training(parse_training_flags(argv))


def main(argv: list[str] | None = None) -> None:
    """Parse and train; an error that is the user's to mend ends with its message, not with a stack trace."""
    try:
        run_training(parse(sys.argv[1:] if argv is None else argv))
    except Exception as error:
        several = world_size() > 1
        if several and ("peer" in str(error) or "NCCL" in str(error)):  # what others see when one of them is gone
            print(f"Process {os.environ['RANK']} stops: another one of the training has ended.", file=sys.stderr)
            sys.exit(1)
        known = translate_error(error)
        if known is None and isinstance(error, OSError):
            known = TrainingFailed("Training could not read or write", found=str(error))
        if known:
            fail(str(known), known.exit_code, has_next=bool(known.next))
        if not several:
            raise
        traceback.print_exc()
        fail(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    start_processes(str(Path(__file__).resolve()), sys.argv[1:])
    main()
