"""Publish the Gradio Space that demos the released models, and run it here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from hubtools.assets import asset
from hubtools.errors import HubtoolsError, MissingStage
from hubtools.publishing.commits import Change, Release, difference, release, retrying
from hubtools.publishing.front_matter import END, START, join_card, merge_card, split_card
from hubtools.publishing.lint import lint_card
from hubtools.records.thresholds import THRESHOLDS
from hubtools.task import TaskSpec
from hubtools.tasks import base_named
from hubtools.workdir import TaskFolder

GRADIO = "6.31.0"
PYTHON = "3.11"
NAME = "router-classifiers"


def space_files(tasks: Sequence[TaskSpec], folders: Mapping[str, TaskFolder], repo: str) -> dict[str, Any]:
    """Every file of the Space, by its path.

    Raises:
        MissingStage: a model is not pushed yet.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    models: dict[str, Any] = {}
    datasets: dict[str, str] = {}
    for task in tasks:
        folder = folders[task.name]
        published = folder.read(folder.published, "push-model")
        if "model" not in published:
            raise MissingStage(
                f"Model {task.name!r} is not pushed", expected=f"the repo it was pushed to, in {folder.published}",
                found=f"{', '.join(published) or 'nothing'} alone", next=f"hubtools push-model {task.name}",
            )  # fmt: skip
        training = folder.read(folder.training, "finetune")
        models[task.name] = {
            "repo": published["model"]["repo"],
            "revision": published["model"]["revision"],
            "threshold": _threshold(task, folder),
            "note": base_named(training["base"]).note,
        }
        datasets[task.name] = published["dataset"]["repo"]
    source = asset("spaces") / "router_demo"
    environment = Environment(loader=FileSystemLoader(source), undefined=StrictUndefined, autoescape=False)
    readme = environment.get_template("README.md.jinja").render(
        sdk_version=GRADIO, python_version=PYTHON, license="apache-2.0",
        models=[{"task": name, **model} for name, model in models.items()],
        datasets=sorted(datasets.values()), notes="; ".join(sorted({m["note"] for m in models.values() if m["note"]})),
    )  # fmt: skip
    metadata, body = split_card(readme)
    readme = join_card(metadata, f"{START}\n{body.strip()}\n{END}\n")
    lint_card(readme, "space")
    return {
        "app.py": source / "app.py",
        "requirements.txt": source / "requirements.txt",
        "models.json": (json.dumps({"models": models, "datasets": datasets}, indent=2) + "\n").encode(),
        "README.md": readme.encode(),
    }


def _threshold(task: TaskSpec, folder: TaskFolder) -> float:
    """A detector's chosen threshold, which is released with it; else the router's default."""
    path = folder.model / THRESHOLDS
    if task.positive and path.exists():
        return float(folder.read(path, "evaluate")["threshold"])
    return task.threshold


def push_space(
    api: Any, tasks: Sequence[TaskSpec], folders: Mapping[str, TaskFolder], repo: str, *, private: bool = False,
    create_pr: bool = False, dry_run: bool = False,
) -> Release | Change:  # fmt: skip
    """Push; with ``dry_run`` only tell what would change."""
    files = space_files(tasks, folders, repo)
    card = files["README.md"].decode()

    def with_edits(theirs: str | None) -> bytes:
        # A Space that was only just created carries the Hub's own README, without anything of ours or of a person's.
        return (merge_card(card, theirs) if theirs and "models" in split_card(theirs)[0] else card).encode()

    files["README.md"] = with_edits
    if dry_run:
        return difference(api, repo, "space", files, lambda path: False, private=private, create_pr=create_pr)
    return release(
        api, repo, "space", files, message="Demo of the released classifiers", owned=lambda path: False,
        private=private, create_pr=create_pr, space_sdk="gradio",
    )  # fmt: skip


def space_stage(api: Any, repo: str, wait: float = 0) -> str:
    """The stage of the Space, waited for while it is being built.

    Raises:
        HubtoolsError: the build or the start failed; the message holds the end of the Space's log.
    """
    until = time.monotonic() + wait
    while True:
        stage = str(retrying(lambda: api.get_space_runtime(repo)).stage)
        if stage in ("BUILD_ERROR", "RUNTIME_ERROR", "CONFIG_ERROR"):
            lines = [str(line) for line in api.fetch_space_logs(repo, build=stage == "BUILD_ERROR")][-20:]
            raise HubtoolsError(f"The Space {repo} ended in {stage}", found="\n" + "".join(lines))
        if not stage.endswith(("BUILDING", "STARTING")) or time.monotonic() > until:
            return stage
        time.sleep(5)


def run_space(repo: str, port: int = 0) -> tuple[subprocess.Popen[bytes], str]:
    """Download the published Space and start it on 127.0.0.1.

    Returns:
        its process and address, once it answers.

    Raises:
        MissingStage: there is no such Space.
        HubtoolsError: it ended before it answered.
    """
    import socket

    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        folder = snapshot_download(repo, repo_type="space")
    except RepositoryNotFoundError as error:
        raise MissingStage(f"There is no Space {repo}", next="hubtools push-space") from error
    if not port:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "app.py"], cwd=folder, env=environment, stdout=sys.stderr)
    until = time.monotonic() + 180
    try:
        while time.monotonic() < until:
            if process.poll() is not None:
                raise HubtoolsError(f"The Space {repo} ended with exit code {process.returncode}", found="see above")
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    if answer.status == 200:
                        return process, url
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                time.sleep(0.3)
        raise HubtoolsError(f"The Space {repo} does not answer at {url}", expected="an answer within 3 minutes")
    except BaseException:
        process.terminate()
        process.wait()
        raise
