"""Several processes on a CPU, and the message of the one that fails."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

FAILURE = "HUBTOOLS_FAILURE"  # names a file for the message of a process that fails, shown by whoever set it


def world_size() -> int:
    """How many processes this training has, as torch's launcher tells each of them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def start_processes(script: str, argv: list[str]) -> None:
    """Become the processes that ``accelerate launch --num_processes N`` was asked for where it started one.

    On a CPU it leaves several to mpirun, and without one starts a single process without a word. It does set the
    address at which they would meet; how many were asked for stands on its command line alone.
    """
    if "WORLD_SIZE" in os.environ or "MASTER_ADDR" not in os.environ:
        return
    import psutil

    # accelerate gives its children no flag or variable for this.
    asked = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    asked.add_argument("--num_processes", "--num-processes", type=int, default=1)
    parent = psutil.Process().parent()
    count = asked.parse_known_args(parent.cmdline() if parent else [])[0].num_processes
    if count < 2:
        return
    # torch's own launcher, which needs no mpirun.
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    with tempfile.TemporaryDirectory() as scratch:
        shown_above = FAILURE in os.environ
        note = Path(os.environ.setdefault(FAILURE, str(Path(scratch, "failure.json"))))
        launch = ["--standalone", "--nproc_per_node", str(count), script, *argv]
        try:
            run.run(run.parse_args(launch))  # type: ignore[no-untyped-call]
        except ChildFailedError as error:
            rank, first = error.get_first_failure()
            # One that was killed leaves no message.
            message = read_failure(note)[0] or f"process {rank} of {count}: {first.message}"
            if not shown_above:
                print(f"Error: {message}", file=sys.stderr)
            elif not note.exists():
                note.write_text(json.dumps({"message": message, "has_next": False}), encoding="utf-8")
            sys.exit(1)
    sys.exit(0)


def fail(message: str, code: int = 1, *, has_next: bool = False) -> None:
    """End this process with its message, which whoever started it shows where there are several.

    Args:
        has_next: whether the message says what to do next.
    """
    if world_size() > 1:
        message = f"process {os.environ['RANK']} of {world_size()}: {message}"
    if note := os.environ.get(FAILURE):
        with (
            contextlib.suppress(FileExistsError),
            open(note, "x", encoding="utf-8") as file,
        ):  # the first that fails is the cause
            json.dump({"message": message, "has_next": has_next}, file)
    else:
        print(f"Error: {message}", file=sys.stderr, flush=True)
    sys.exit(code)


def read_failure(note: Path) -> tuple[str, bool]:
    """Return the message in a file that :func:`fail` wrote, and whether it says what to do next; "" for none."""
    # On a full disk it may be empty.
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(note.read_text("utf-8"))
        return content["message"], content["has_next"]
    return "", False
