"""Which Hub this process speaks to.

The clients read ``HF_*`` when they are imported, so that a command connects first and imports them after.
Everything else reads the environment, and does not know whether the Hub is the embedded one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.errors import HubUnavailable, UsageError
from hubtools.retries import call_with_retries

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LOCAL = "local"


# What a launcher, a scheduler or an MPI leaves in the environment of whatever is started below it.
_OF_A_LAUNCHER = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK",
    "ROLE_NAME", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "MPI_LOCALRANKID", "MPI_LOCALNRANKS",
)  # fmt: skip
_OF_A_LAUNCHER_TOO = ("TORCHELASTIC_", "ACCELERATE_", "FSDP_", "PMI_", "PMIX_", "OMPI_COMM_WORLD_", "MV2_COMM_WORLD_")


def forget_launcher() -> None:
    """Drop the variables of another distributed job from this process: a command is one process, and starts its own.

    With them, libraries would wait for processes that are not there.
    """
    for name in [*os.environ]:
        if name in _OF_A_LAUNCHER or name.startswith(_OF_A_LAUNCHER_TOO):
            del os.environ[name]


def check_process() -> None:
    """Raise :class:`UsageError` where this process cannot do what any command needs."""
    # With -OO there are no docstrings, of which transformers makes its classes.
    if sys.flags.optimize > 1:
        raise UsageError(
            "Python runs without docstrings, which transformers reads",
            expected="no -OO, and PYTHONOPTIMIZE of 1 at most",
            found=f"level {sys.flags.optimize}",
            next="unset PYTHONOPTIMIZE, and run the same command again",
        )
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UsageError(
            "This runs in a folder that is gone",
            expected="a current folder",
            found="none",
            next="cd to one that is there",
        ) from None


def connect(hub: str | None = None, mirrors: Sequence[Path | str] = (), hub_dir: Path | str | None = None) -> None:
    """Point this process, and those it starts, at a Hub.

    Args:
        hub: "local" for the embedded Hub, which is started where it is not running; None for the one that the
            environment names, which is huggingface.co unless ``HF_ENDPOINT`` says otherwise.
        mirrors: folders that the embedded Hub serves read-only, as ``DIR/<owner>/<name>/``.

    Raises:
        UsageError: another value of ``hub``, or mirrors without the embedded Hub.
    """
    # Threads that wait without spinning: see finetune.py.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Bars for what takes a blink, and bars in a log file, only hide what matters.
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if hub is None:
        if mirrors:
            raise UsageError(
                "--mirror is for the embedded Hub", expected="--hub local", found="no --hub", next="add --hub local"
            )
        return
    if hub != LOCAL:
        raise UsageError(
            f"Unknown Hub {hub!r}",
            expected='"local", or no --hub at all',
            found=hub,
            next="for another server leave --hub out and set HF_ENDPOINT",
        )
    from hubtools.localhub import service

    started = service.start(Path(hub_dir) if hub_dir else service.default_dir(), [Path(mirror) for mirror in mirrors])
    # It reads the environment once, when it is imported: it would go on speaking to another Hub.
    if "huggingface_hub" in sys.modules and not started.environ.items() <= os.environ.items():
        raise RuntimeError("connect() must run before huggingface_hub is imported")
    os.environ.update(started.environ)


def find_namespace(asked: str | None = None) -> str:
    """Return the owner that repos go to: ``asked``, or the name of the token's user.

    Raises:
        HubUnavailable: no token, a token that the Hub refuses or that does not belong to ``asked``.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    client = HfApi()
    ways = "log in with `hf auth login` (or set HF_TOKEN), or work without an account: --hub local"
    if not get_token():
        raise HubUnavailable(
            "There is no Hugging Face token",
            expected="a token with write access",
            found="no HF_TOKEN, and no login on this machine",
            next=ways,
        )
    try:
        # Few tries: where there is no connection, who can go on without one is not to wait for it.
        me = call_with_retries(client.whoami, tries=3)
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code in (401, 403):
            whose = "HF_TOKEN" if "HF_TOKEN" in os.environ else "your login"
            raise HubUnavailable(
                f"The Hub at {client.endpoint} refused the token",
                expected="a token with write access",
                found=f"{error.response.status_code} for the one of {whose}",
                next=ways,
            ) from error
        raise
    # Organisations count as well: their members may push there.
    mine = [str(me["name"]), *(str(organisation["name"]) for organisation in me.get("orgs", []))]
    if asked and asked not in mine:
        raise HubUnavailable(
            f"Your token has no namespace {asked!r}",
            expected=" or ".join(mine),
            found=asked,
            next="give one of them with --namespace, or log in as somebody who belongs there",
        )
    return asked or mine[0]


def find_first_repo(candidates: Iterable[str], kind: str) -> str | None:
    """Return the first of the repos that this Hub has, or None."""
    client = open_client()
    # Asked one by one: the first is there more often than not.
    return next((repo for repo in candidates if client.repo_exists(repo, repo_type=kind)), None)


def open_client() -> HfApi:
    """Return a client of the Hub that this process was connected to."""
    from huggingface_hub import HfApi

    return HfApi()
