"""The stages in order, each a function of the work folder and the settings.

A stage that is up to date says so and does nothing: what a run made is known by a fingerprint of what went into
it. Killing a run at any moment therefore loses at most the stage under way, and training goes on from its last
checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hubtools import __version__
from hubtools.connection import api, namespace
from hubtools.errors import SourceError, TrainingFailed, UsageError
from hubtools.publishing.commits import Change, Release
from hubtools.spec import LabelSet, TaskSpec
from hubtools.workdir import DEFAULT, TaskFolder, task_folder, write_json


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Settings:
    """What the flags hold, for every stage.

    Attributes:
        label_sets: names of label sets, or ``task=name`` for one of several tasks.
        source: a user's own file, or a dataset repo, in place of the task's.
        names: repo names by what they name ("dataset", "model", "space"), where they differ from ours.
        training: flags for ``finetune.py``, as they were given.
    """

    work_dir: Path = DEFAULT
    namespace: str | None = None
    label_sets: tuple[str, ...] = ()
    source: str | None = None
    text_column: str = "text"
    label_column: str = "label"
    skip_bad_rows: bool = False
    seed: int = 0
    base: str | None = None
    processes: int = 1
    training: tuple[str, ...] = ()
    private: bool = False
    create_pr: bool = False
    dry_run: bool = False
    dataset_name: str | None = None
    model_name: str | None = None
    space_name: str | None = None
    note: Callable[[str], None] = _to_stderr

    def folder(self, task: TaskSpec) -> TaskFolder:
        return task_folder(self.work_dir, task.name)


def curate_task(task: TaskSpec, settings: Settings) -> dict[str, Any]:
    from hubtools.curation.build import curate

    return curate(
        task, _source(task, settings), settings.folder(task), label_set=_label_set(task, settings), seed=settings.seed,
        skip_bad_rows=settings.skip_bad_rows, note=settings.note,
    )  # fmt: skip


def _label_set(task: TaskSpec, settings: Settings) -> LabelSet:
    name = None
    for entry in settings.label_sets:
        owner, _, value = entry.rpartition("=")
        if owner in ("", task.name):
            name = value
    try:
        return task.label_set(name)
    except KeyError:
        raise UsageError(
            f"Task {task.name!r} has no label set {name!r}",
            expected="one of " + ", ".join(s.name for s in task.label_sets),
            next=f"with several tasks, say whose it is: --label-set {task.name}={task.label_sets[0].name}",
        ) from None


def _source(task: TaskSpec, settings: Settings) -> Any:
    from hubtools.curation.sources import SourceFiles, local_source, locate

    asked = settings.source
    if asked is None:
        return locate(task.source, task.starter)
    if asked == "starter":
        return locate(task.starter)
    path = Path(asked)
    if path.suffix or path.exists():
        if not path.is_file():
            raise SourceError(f"Source {asked!r}", expected="a file, or the name of a dataset repo", found="nothing there")
        if (settings.text_column, settings.label_column) == ("text", "label") and path.name in _file_names(task):
            return SourceFiles(replace(task.source, id=path.name, url=""), (("", path),), "local")
        if task.kind == "token":
            return SourceFiles(replace(task.source, id=path.name, url=""), (("", path),), "local")
        return SourceFiles(
            local_source(path, task.source, settings.text_column, settings.label_column), (("", path),), "local"
        )
    return locate(replace(task.source, id=asked, revision=None, url=""))


def _file_names(task: TaskSpec) -> list[str]:
    return [Path(pattern).name for patterns in task.source.files.values() for pattern in patterns]


def dataset_repo(task: TaskSpec, settings: Settings) -> str:
    return f"{namespace(settings.namespace)}/{settings.dataset_name or task.dataset_name}"


def model_repo(task: TaskSpec, settings: Settings) -> str:
    """``owner/name``: the name follows the base that the model was trained from."""
    from hubtools.tasks import base_named

    name = settings.model_name
    if name is None:
        folder = settings.folder(task)
        base = folder.read(folder.training, "finetune")["base"]
        name = task.model_name.format(base=base_named(base).short_name)
    return f"{namespace(settings.namespace)}/{name}"


def space_repo(settings: Settings) -> str:
    from hubtools.publishing.space import NAME

    return f"{namespace(settings.namespace)}/{settings.space_name or NAME}"


def push_dataset_task(task: TaskSpec, settings: Settings) -> Release | Change:
    from hubtools.publishing.dataset import push_dataset

    repo = dataset_repo(task, settings)  # before curation: a missing token must not cost time
    if settings.source or not settings.folder(task).facts.exists():
        curate_task(task, settings)
    done = push_dataset(
        api(), task, settings.folder(task), repo, private=settings.private, create_pr=settings.create_pr,
        dry_run=settings.dry_run,
    )  # fmt: skip
    _say(settings, task.name, "dataset", done)
    return done


def _say(settings: Settings, what: str, kind: str, done: Release | Change) -> None:
    if isinstance(done, Release):
        state = f"pushed as {done.tag or done.revision[:8]}" if done.changed else f"unchanged at {done.tag}"
        settings.note(f"{what}: {kind} {done.repo} {state}")
    else:
        for path in done.write:
            settings.note(f"{what}: would write {path}")
        for path in done.delete:
            settings.note(f"{what}: would delete {path}")
        if not done:
            settings.note(f"{what}: nothing would change")


def training_fingerprint(task: TaskSpec, settings: Settings) -> tuple[str, str]:
    """The base to train from, and what identifies the training: data, base and its commit, flags, version."""
    from hubtools.finetune import commit_of, resolve_base
    from hubtools.tasks import base_named

    folder = settings.folder(task)
    facts = folder.read(folder.facts, "curate")
    base = resolve_base(settings.base)
    known = [__version__, facts["fingerprint"], base, commit_of(base), settings.seed, settings.processes, settings.training,
             dict(task.overrides), dict(base_named(base).overrides)]  # fmt: skip
    return base, hashlib.sha256(json.dumps(known).encode()).hexdigest()


def finetune_task(task: TaskSpec, settings: Settings) -> dict[str, Any]:
    """Run ``accelerate launch hubtools/finetune.py``, unless the same training is already done.

    Raises:
        TrainingFailed: the process ended without a model; its own message stands above.
    """
    folder = settings.folder(task)
    base, mark = training_fingerprint(task, settings)
    if folder.training.exists() and (folder.model / "model.safetensors").exists():
        known: dict[str, Any] = json.loads(folder.training.read_text())
        if known.get("fingerprint") == mark:
            settings.note(f"{task.name}: model is up to date")
            return known
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--num_machines", "1", "--mixed_precision", "no",
        "--dynamo_backend", "no", "--num_processes", str(settings.processes),
        # Left to itself, accelerate gives each process on a CPU one thread.
        "--num_cpu_threads_per_process", str(max(1, (os.cpu_count() or 1) // settings.processes)),
        str(Path(__file__).with_name("finetune.py")), "--task", task.name, "--work_dir", str(settings.work_dir),
        "--base", base, "--seed", str(settings.seed), "--fingerprint", mark, *settings.training,
    ]  # fmt: skip
    if settings.dry_run:
        settings.note("would run: " + " ".join(command))
        return {}
    # Line by line on our stderr: stdout is for data.
    process = subprocess.Popen(command, stdout=sys.stderr, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if code:
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        raise TrainingFailed(
            f"Training {task.name!r} ended without a model",
            found=how + ("" if code < 0 else ": its message stands above"),
            next=f"run the same command again: it goes on from the last checkpoint (or: hubtools finetune {task.name})",
        )
    return folder.read(folder.training, "finetune")


def evaluate_task(task: TaskSpec, settings: Settings) -> dict[str, Any]:
    from tqdm import tqdm

    from hubtools.evaluation.evaluate import evaluate

    folder = settings.folder(task)
    facts = folder.read(folder.facts, "curate")
    rows = facts["splits"]["test"]["rows"]
    with tqdm(total=rows, desc=f"{task.name}: scoring", unit="row", leave=False, disable=None) as bar:
        return evaluate(task, folder, note=settings.note, tick=bar.update)


def model_card_task(task: TaskSpec, settings: Settings) -> Path:
    from hubtools.publishing.model import write_model_card

    path = write_model_card(task, settings.folder(task), model_repo(task, settings))
    settings.note(f"{task.name}: card written to {path}")
    return path


def push_model_task(task: TaskSpec, settings: Settings) -> Release | Change:
    """Release and, where a commit was made, load it back and compare."""
    from hubtools.publishing.model import push_model, verify_model

    done = push_model(
        api(), task, settings.folder(task), model_repo(task, settings), private=settings.private,
        create_pr=settings.create_pr, dry_run=settings.dry_run,
    )  # fmt: skip
    _say(settings, task.name, "model", done)
    if isinstance(done, Release) and not settings.create_pr:
        checked = verify_model(task, done.repo, done.revision)
        settings.note(
            f"{task.name}: loaded back by pipeline(), {checked['rows']} answers agree "
            f"(largest difference {checked['largest_difference']:.1g})"
        )
    return done


def push_space_task(tasks: Sequence[TaskSpec], settings: Settings) -> Release | Change:
    from hubtools.publishing.space import push_space, space_stage

    repo = space_repo(settings)
    done = push_space(
        api(), tasks, {task.name: settings.folder(task) for task in tasks}, repo, private=settings.private,
        create_pr=settings.create_pr, dry_run=settings.dry_run,
    )  # fmt: skip
    _say(settings, "space", "Space", done)
    if isinstance(done, Release) and not settings.create_pr:
        stage = space_stage(api(), repo, wait=600)
        running = stage == "RUNNING"
        settings.note(f"space: {'running at ' + done.url if running else f'{stage} on this Hub; run it here: hubtools demo'}")
    return done


STAGES: tuple[tuple[str, Callable[[TaskSpec, Settings], Any]], ...] = (
    ("curate", curate_task),
    ("push-dataset", push_dataset_task),
    ("finetune", finetune_task),
    ("evaluate", evaluate_task),
    ("push-model", push_model_task),
)


def run(tasks: Sequence[TaskSpec], settings: Settings) -> dict[str, Any]:
    """Every stage for every task, then the Space. Returns, and writes to ``run.json``, seconds a stage and results."""
    namespace(settings.namespace)  # a missing token stops here, before anything costs time
    seconds: dict[str, dict[str, float]] = {}
    started = time.time()
    for task in tasks:
        seconds[task.name] = {}
        for name, stage in STAGES:
            begun = time.time()
            stage(task, settings)
            seconds[task.name][name] = round(time.time() - begun, 2)
            if settings.dry_run and name == "push-dataset":
                break  # what follows needs what a dry run does not make
    results: dict[str, Any] = {}
    if not settings.dry_run:
        begun = time.time()
        space = push_space_task(tasks, settings)
        seconds["space"] = {"push-space": round(time.time() - begun, 2)}
        results = {task.name: _result(task, settings) for task in tasks}
        results["space"] = {"url": space.url, "repo": space.repo} if isinstance(space, Release) else {}
    report = {"seconds": seconds, "total_seconds": round(time.time() - started, 1), "results": results}
    write_json(settings.work_dir / "run.json", report)
    return report


def _result(task: TaskSpec, settings: Settings) -> dict[str, Any]:
    folder = settings.folder(task)
    published = folder.read(folder.published, "push-model")
    metrics = folder.read(folder.metrics, "evaluate")
    return {
        "metric": metrics["primary"]["title"],
        **{key: metrics["primary"][key] for key in ("value", "low", "high")},
        "baselines": {name: scores[metrics["primary"]["key"]] for name, scores in metrics["baselines"].items()},
        "dataset": published["dataset"]["url"],
        "model": published["model"]["url"],
    }
