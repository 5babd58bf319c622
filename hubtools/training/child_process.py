"""A training as a process of its own, which ends with whoever started it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hubtools.training.processes import FAILURE


class TrainingProcess:
    """A training under way, a group of processes that ends when :meth:`end` is called, if not before.

    Args:
        command: starts it.
        locks: descriptors that it inherits: those of the folders that it works in, which stay locked while it lives.
        failure: file that it leaves its message in.
        devices: environment variables that say which devices are its own.
    """

    def __init__(self, command: list[str], locks: Sequence[int], failure: Path, devices: Mapping[str, str]) -> None:
        with _defer_signals() as signals:
            self.process = subprocess.Popen(
                command,
                stdout=sys.stderr,  # line by line: our stdout is for data
                env=os.environ | {"PYTHONUNBUFFERED": "1", FAILURE: str(failure.resolve()), **devices},
                pass_fds=locks,
                start_new_session=True,  # Ctrl-C reaches us alone: no stack trace of each process
            )
        try:
            for number in signals:
                signal.raise_signal(number)
        except BaseException:
            self.end()
            raise

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""
        return self.process.poll()

    def wait(self) -> int:
        """Return its exit code when it has ended."""
        return self.process.wait()

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
def _defer_signals() -> Iterator[list[int]]:
    """Keep signals that would end us for later: one that comes while a child is started would leave it behind."""
    deferred: list[int] = []
    # No other thread may set handlers, and none is interrupted by a signal.
    is_main_thread = threading.current_thread() is threading.main_thread()
    before = {
        number: signal.signal(number, lambda number, _: deferred.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if is_main_thread
    }
    try:
        yield deferred
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
