"""Publish the Gradio Space that demos the released models, and run it here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.assets import find_asset
from hubtools.errors import HubtoolsError, MissingStage
from hubtools.evaluation.predictions import Predictions
from hubtools.heads.curves import CurvePoint, measure_curve
from hubtools.publishing.changes import Change, Content, Files, compare_with_hub
from hubtools.publishing.commits import release
from hubtools.publishing.front_matter import END, START, join_card, merge_card, split_card
from hubtools.publishing.lint import lint_card
from hubtools.publishing.options import PushOptions
from hubtools.publishing.published_files import read_released
from hubtools.records.release import Published
from hubtools.records.thresholds import THRESHOLDS, WEIGHTS
from hubtools.retries import call_with_retries
from hubtools.task import TaskSpec
from hubtools.tasks import find_base
from hubtools.workdir import TaskFolder

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# Exact: the Hub builds the Space with these, whatever is newest when somebody looks at it.
GRADIO = "6.31.0"
PYTHON = "3.11"
NAME = "router-classifiers"
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def list_space_files(tasks: Sequence[TaskSpec], folders: Mapping[str, TaskFolder]) -> dict[str, bytes | Path]:
    """Return every file of the Space for those of ``tasks`` that are released, by its path.

    Raises:
        MissingStage: none of them is released.
    """
    # Whatever the others lack: a Space is not to wait for tasks that nobody trains.
    released = [task for task in tasks if folders[task.name].released]
    if not released:
        raise MissingStage(
            "No model is released that a Space could show",
            expected="a released model of " + " or ".join(task.name for task in tasks),
            found="none in the work folder",
            next=f"hubtools push-model {tasks[0].name}",
        )
    # Only what is released is known to the world: weights of this folder that are newer are not shown.
    models = {}
    architectures = set()
    for task in released:
        folder = folders[task.name]
        published = folder.read_published("push-model")
        model, dataset = published.model, published.dataset
        assert model is not None, "it is released"
        architectures.add(read_released(folder, model, "config.json", "finetune")["model_type"])
        score, curve = _read_test_split(task, folder, model.weights_sha256)
        models[task.name] = make_space_entry(
            task,
            repo=model.repo,
            revision=model.revision,
            threshold=_read_threshold(task, folder, model),
            note=find_base(read_released(folder, model, "training.json", "finetune")["base"]).note,
            dataset=dataset.repo if dataset else None,
            score=score,
            curve=curve,
        )
    source = find_asset("spaces") / "router_demo"
    return {
        **list_app_files(),
        "models.json": (json.dumps({"models": models}, indent=2) + "\n").encode(),
        "README.md": _render_readme(source, models, sorted(architectures)).encode(),
    }


def list_app_files() -> dict[str, bytes | Path]:
    """Return the files of the Space that are the same whatever is released, by their paths.

    The modules that read a text are those of this package: what the Space answers is what was evaluated.
    """
    source = find_asset("spaces") / "router_demo"
    files: dict[str, bytes | Path] = {
        path.name: path for path in sorted(source.iterdir()) if path.suffix in (".py", ".css", ".js", ".json", ".txt")
    }
    for name in ("reading", "words"):
        text = (Path(__file__).parents[1] / f"{name}.py").read_text(encoding="utf-8")
        # There is no package around them there.
        files[f"{name}.py"] = re.sub(r"^from hubtools\.(\w+) import", r"from \1 import", text, flags=re.M).encode()
    return files


def make_space_entry(
    task: TaskSpec,
    *,
    repo: str,
    revision: str | None,
    threshold: float | None,
    note: str,
    dataset: str | None,
    score: Mapping[str, object] | None = None,
    curve: Sequence[CurvePoint] = (),
) -> dict[str, object]:
    """Return what models.json says of a task; the keys are documented in ``Task`` of the Space's tasks.py.

    Args:
        repo: the model's repo at ``revision``, or a local folder.
        threshold: the one in its thresholds.json; None for a classification without a fallback.
        note: what a visitor must know of the model before believing it, or "".
        dataset: the repo of the dataset, where it is published.
        score: the primary score on the test split; ``curve``: what each threshold gives there.
    """
    demo = task.demo
    entry = {
        "head": task.head.name,
        **task.head.describe_for_space(),
        "repo": repo,
        "revision": revision,
        "threshold": threshold,
        "note": note,
        "dataset": dataset,
        "title": task.title,
        "question": demo.question or task.question,
        "about": demo.about or task.question,
        "topic": demo.topic,
        "tool": demo.tool,
        "returns": demo.returns,
        "example_titles": [*demo.example_titles],
        "examples": [*(demo.examples or task.examples)],
        "verdicts": [*(demo.verdicts or ())],
        "action": demo.action,
        "score": score,
        "curve": [*curve],
    }
    # What is not there the Space makes of what is.
    return {key: value for key, value in entry.items() if value not in (None, "", [])}


def _read_test_split(
    task: TaskSpec, folder: TaskFolder, weights_sha256: str | None
) -> tuple[dict[str, object] | None, list[CurvePoint]]:
    """Return the primary score of the released weights on the test split, and what each threshold gives there.

    Nothing where the work folder knows them no longer, or scored other weights since.
    """
    score: dict[str, object] | None = None
    curve: list[CurvePoint] = []
    if folder.metrics.exists():
        metrics = folder.read(folder.metrics, "evaluate")
        if metrics.get("weights_sha256") == weights_sha256:
            score = {key: metrics["primary"][key] for key in ("title", "value", "low", "high")}
            score["rows"] = metrics["scores"]["rows"]
    if folder.predictions.exists():
        predictions = Predictions.read(folder, folder.predictions)
        if predictions.about.get("weights_sha256") == weights_sha256:
            labels = predictions.about["labels"]
            curve = measure_curve(task.head, predictions.rows, labels)
    return score, curve


def _render_readme(source: Path, models: Mapping[str, Mapping[str, object]], architectures: Sequence[str]) -> str:
    """Return the README of a Space with these entries of models.json, checked by the rules of the Hub."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # The template lies beside the Space's app, which is no part of the package.
    environment = Environment(loader=FileSystemLoader(source), undefined=StrictUndefined, autoescape=False)
    text = environment.get_template("README.md.jinja").render(
        sdk_version=GRADIO,
        python_version=PYTHON,
        license="apache-2.0",
        models=[{"task": name, **model} for name, model in models.items()],
        number=NUMBERS[len(models)] if len(models) < len(NUMBERS) else str(len(models)),
        datasets=sorted({str(model["dataset"]) for model in models.values() if "dataset" in model}),
        architectures=architectures,
        notes="; ".join(sorted({str(model["note"]) for model in models.values() if "note" in model})),
    )
    metadata, body = split_card(text)
    readme = join_card(metadata, f"{START}\n{body.strip()}\n{END}\n")
    lint_card(readme, "space")
    return readme


def _read_threshold(task: TaskSpec, folder: TaskFolder, model: Published) -> float | None:
    """Return the threshold that was chosen and released with the model; None for a head that needs none.

    Raises:
        MissingStage: the head needs one and ``thresholds.json`` has none.
    """
    content = read_released(folder, model, THRESHOLDS)
    threshold = task.head.read_shipped_threshold(content)
    if threshold is None and task.head.needs_threshold:
        raise MissingStage(
            f"{THRESHOLDS} of {task.name!r} has no threshold that the Space could act on",
            expected=f"the one of {WEIGHTS}, as {model.repo} {model.tag} has it",
            found="a file of another model" if content else "no such file",
            next=f"hubtools evaluate {task.name}, then hubtools push-model {task.name}",
        )
    return threshold


def push_space(
    api: HfApi, tasks: Sequence[TaskSpec], folders: Mapping[str, TaskFolder], repo: str, options: PushOptions
) -> Published | Change:
    """Push the Space of those of ``tasks`` that are released; on a dry run return what would change."""
    rendered = list_space_files(tasks, folders)
    card = rendered["README.md"]
    assert isinstance(card, bytes)

    def keep_edits(theirs: str | None) -> bytes:
        # A Space that was only just created carries the Hub's own README, without anything of ours or of a person's.
        return merge_card(card.decode(), theirs).encode() if theirs and "models" in split_card(theirs)[0] else card

    files: Files = {**rendered, "README.md": keep_edits}
    content = Content(files, message="Demo of the released classifiers", is_ours=_is_ours)
    options = options.without_gate()
    if options.dry_run:
        return compare_with_hub(api, repo, "space", content, options)
    return release(api, repo, "space", content, options, space_sdk="gradio")


def _is_ours(path: str) -> bool:
    """Say whether a file that we do not push is deleted: none is, as a person may have added it."""
    return False


def wait_for_space(api: HfApi, repo: str, wait: float = 0) -> str:
    """Return the stage of the Space, after at most ``wait`` seconds in which it is built and started.

    Raises:
        HubtoolsError: the build or the start failed; the message holds the end of the Space's log.
    """
    until = time.monotonic() + wait
    while True:
        stage = str(call_with_retries(lambda: api.get_space_runtime(repo)).stage)
        if stage in ("BUILD_ERROR", "RUNTIME_ERROR", "CONFIG_ERROR"):
            # The end of the log names the error; what stands before is the installation.
            lines = [str(line) for line in api.fetch_space_logs(repo, build=stage == "BUILD_ERROR")][-20:]
            raise HubtoolsError(f"The Space {repo} ended in {stage}", found="\n" + "".join(lines))
        # Any other stage, such as PAUSED or one of a Hub that runs no Spaces, does not change by waiting.
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
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended does not hold it
        try:
            free.bind(("127.0.0.1", port))
        except OSError as error:
            raise HubtoolsError(
                f"The Space cannot listen on port {port}",
                expected="a port of this machine that nobody uses",
                found=str(error),
                next="hubtools demo --port 0, which takes a free one",
            ) from error
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    # For this machine alone, whatever address the user's environment has for other apps.
    environment = os.environ | {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    # By its name: the file may be a link into the cache, where the modules beside it are not.
    process = subprocess.Popen([sys.executable, "-m", "app"], cwd=folder, env=environment, stdout=sys.stderr)
    # It loads its models before it answers, and downloads them the first time.
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
    except BaseException:  # Ctrl-C as well: no process is left behind
        process.terminate()
        process.wait()
        raise
