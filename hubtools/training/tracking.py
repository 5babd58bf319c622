"""Where the curves of a training go: TensorBoard files in the work folder, or what ``--report_to`` names."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from hubtools.errors import UsageError
from hubtools.records import write_json
from hubtools.workdir import TaskFolder

if TYPE_CHECKING:
    from transformers import Trainer

PROJECT = "hubtools"
_SPACES = "https://huggingface.co/spaces/"


def choose_report() -> str:
    """Return where curves go unless a flag says so."""
    return "tensorboard" if find_spec("tensorboard") else "none"


def prepare_reports(names: Sequence[str], folder: TaskFolder) -> None:
    """Check what ``--report_to`` names before anything is built, and tell Trackio where to keep its files.

    Raises:
        UsageError: a name that is unknown, or whose package is not installed.
    """
    from transformers.integrations.integration_utils import get_available_reporting_integrations

    available = get_available_reporting_integrations()  # type: ignore[no-untyped-call]
    for name in names:
        if name not in available:
            raise UsageError(
                f"--report_to {name}", expected=" or ".join(["none", *available]), found="no such package is installed",
                next=f"pip install '{'hubtools[tracking]' if name == 'trackio' else name}'",
            )  # fmt: skip
    if "trackio" not in names:
        return
    # Read when trackio is imported. Its own folder lies below HF_HOME, which is another one with the embedded Hub.
    os.environ.setdefault("TRACKIO_DIR", str((folder.logs / "trackio").resolve()))
    # Left behind by another job, they would send the curves to a Space or a server.
    for name in ("SPACE_ID", "BUCKET_ID", "SERVER_URL", "WEBHOOK_URL"):
        os.environ.pop(f"TRACKIO_{name}", None)


def find_space(trainer: Trainer) -> str | None:
    """Return the address of the Trackio Space with the curves of a finished training; None where it has none.

    It is the Space that ``--trackio_space_id`` names, or the static one that Trackio made of it.
    """
    # transformers leaves the static one in a tag of the model.
    tags: list[str] = getattr(trainer.model, "model_tags", None) or []
    static = [tag.removeprefix("trackio:") for tag in tags if tag.startswith(f"trackio:{_SPACES}")]
    space = trainer.args.trackio_space_id if "trackio" in (trainer.args.report_to or []) else None
    return next(iter(static), f"{_SPACES}{space}" if space else None)


def keep_curves(trainer: Trainer, folder: TaskFolder, resumed: bool) -> list[str]:
    """Give the curves a folder that outlives the checkpoints, and say how to look at them.

    Args:
        resumed: go on with the curves of the last training.
    """
    from transformers.integrations.integration_utils import TensorBoardCallback

    # The folder's name is kept beside the checkpoints: a training that goes on adds to the curves of its first part.
    args, name_file = trainer.args, folder.runs / "curves.json"
    name = (
        json.loads(name_file.read_text("utf-8")) if resumed and name_file.exists() else time.strftime("%Y-%m-%d-%H%M%S")
    )
    write_json(name_file, name)
    args.run_name = args.run_name or f"{folder.task}-{name}"
    lines = []
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            callback.logging_dir = str(folder.logs / name)
            lines.append(f"curves: tensorboard --logdir {shlex.quote(str(folder.logs))}")
    if "trackio" in (args.report_to or []):
        trackio_dir = shlex.quote(os.environ["TRACKIO_DIR"])
        lines.append(f"curves: TRACKIO_DIR={trackio_dir} trackio show --project {shlex.quote(args.project)}")
    if not args.report_to and choose_report() == "none":
        lines.append("no curves are kept: pip install tensorboard, or see --report_to")
    return lines
