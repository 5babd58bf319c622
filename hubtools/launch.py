"""The training as a process of its own: whether it would take its flags, and that it ends when we do."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hubtools.errors import UsageError


def check_training_flags(flags: Sequence[str]) -> None:
    """Flags that finetune.py does not know stop here, before anything is done.

    Raises:
        UsageError: an unknown flag, or a value of the wrong type.
    """
    if not flags:
        return
    from transformers import HfArgumentParser, TrainingArguments

    from hubtools.training.arguments import FinetuneArguments

    def refuse(message: str) -> Any:
        raise UsageError(
            "These flags are neither ours nor the training's", expected="flags of hubtools and of TrainingArguments",
            found=message, next="python hubtools/finetune.py --help lists those of the training",
        )  # fmt: skip

    kinds: list[Any] = [FinetuneArguments, TrainingArguments]
    parser = HfArgumentParser(kinds, allow_abbrev=False)
    parser.error = refuse  # type: ignore[method-assign]
    _, unknown = parser.parse_known_args(["--task", "", *flags])
    if unknown:
        refuse(" ".join(unknown))


class Training:
    """A training under way, a group of processes that ends when :meth:`end` is called, if not before.

    Args:
        command: starts it.
        held: a descriptor that it inherits.
        failure: where it leaves its message.
    """

    def __init__(self, command: list[str], held: int, failure: Path) -> None:
        from hubtools.training.processes import FAILURE

        with _signals_kept() as signals:
            self.process = subprocess.Popen(
                command,
                stdout=sys.stderr,  # line by line: our stdout is for data
                env=os.environ | {"PYTHONUNBUFFERED": "1", FAILURE: str(failure.resolve())},
                pass_fds=(held,),
                start_new_session=True,  # Ctrl-C reaches us alone: no stack trace of each process
            )
        try:
            for number in signals:
                signal.raise_signal(number)
        except BaseException:
            self.end()
            raise

    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.process.poll()

    def end(self) -> None:
        """Stop it where it still runs. accelerate does not pass a signal on to the training: the whole group ends."""
        if self.process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def _signals_kept() -> Iterator[list[int]]:
    """Signals that would end us, kept for later: one that comes while a child is started would leave it alone."""
    kept: list[int] = []
    ours = threading.current_thread() is threading.main_thread()  # no other may set handlers, or is interrupted
    before = {
        number: signal.signal(number, lambda number, _: kept.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if ours
    }
    try:
        yield kept
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
