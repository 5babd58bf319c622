"""The stages in order, each a function of the work folder and the settings.

A stage that is up to date says so and does nothing: what a run made is known by a fingerprint of what went into
it. Killing a run at any moment therefore loses at most the stage under way, and training goes on from its last
checkpoint.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hubtools.connection import api, namespace
from hubtools.curation.sources import SourceFiles, check_flags, chosen_source
from hubtools.curation.supplements import LENGTHS, check_names, located, wanted
from hubtools.errors import HubUnavailable, UsageError
from hubtools.launch import check_training_flags, finetune_tasks
from hubtools.publishing.commits import Change, Release
from hubtools.publishing.options import PushOptions
from hubtools.records import write_json
from hubtools.records.metrics import Metrics
from hubtools.settings import Settings
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI, MULTI_MODEL, TASKS, base_named
from hubtools.workdir import TaskFolder, task_folder


def curate_task(task: TaskSpec, settings: Settings) -> dict[str, Any]:
    from hubtools.curation.build import curate

    folder = settings.folder(task)
    source, label_set = source_of(task, settings)
    supplements = supplements_of(task, source, settings)
    own = source.source is task.source
    with folder.alone(settings.note):
        return curate(
            task, source, folder, label_set=label_set, seed=settings.seed, skip_bad_rows=settings.skip_bad_rows,
            supplements=supplements, match_lengths=task.match_lengths and own and LENGTHS not in settings.without,
            note=settings.note,
        )  # fmt: skip


def _asked_label_set(task: TaskSpec, settings: Settings) -> str | None:
    names = (entry.rpartition("=") for entry in settings.label_sets)
    return next((name for owner, _, name in reversed([*names]) if owner in ("", task.name)), None)


def _label_set(task: TaskSpec, settings: Settings) -> LabelSet:
    name = _asked_label_set(task, settings)
    try:
        return task.label_set(name)
    except KeyError:
        raise UsageError(
            f"Task {task.name!r} has no label set {name!r}",
            expected="one of " + ", ".join(s.name for s in task.label_sets),
            found=str(name),
            next=f"with several tasks, say whose it is: --label-set {task.name}={task.label_sets[0].name}",
        ) from None


def source_of(task: TaskSpec, settings: Settings) -> tuple[SourceFiles, LabelSet]:
    """The files that the settings ask for, on this machine, and the label set that they are read with."""
    return chosen_source(task, settings.source, settings.columns, _label_set(task, settings), settings.license)


def supplements_of(task: TaskSpec, source: SourceFiles, settings: Settings) -> list[SourceFiles]:
    """The files of what joins ``source`` in the training split."""
    check_names(TASKS.values(), settings.supplements, settings.without)
    return [located(s) for s in wanted(task, source.source, settings.supplements, settings.without)]


def dataset_repo(task: TaskSpec, settings: Settings) -> str:
    return f"{namespace(settings.namespace)}/{settings.dataset_name or task.dataset_name}"


def model_repo(task: TaskSpec, settings: Settings) -> str:
    """``owner/name``: the name follows the base that the model was trained from."""
    return _named(task.model_name, settings.folder(task), settings)


def multi_repo(settings: Settings) -> str:
    """The one repo that answers all four, ``owner/name``."""
    return _named(MULTI_MODEL, task_folder(settings.work_dir, MULTI), settings)


def _named(pattern: str, folder: TaskFolder, settings: Settings) -> str:
    name = settings.model_name
    if name is None:
        base = folder.read(folder.training, "finetune")["base"]
        name = pattern.format(base=base_named(base).short_name)
    return f"{namespace(settings.namespace)}/{name}"


def space_repo(settings: Settings) -> str:
    from hubtools.publishing.space import NAME

    return f"{namespace(settings.namespace)}/{settings.space_name or NAME}"


def _push_options(settings: Settings) -> PushOptions:
    return PushOptions(
        private=settings.private,
        create_pr=settings.create_pr,
        dry_run=settings.dry_run,
        gated=settings.gated,
        accept_license=settings.accept_license,
    )


def push_dataset_task(task: TaskSpec, settings: Settings) -> Release | Change:
    [done] = push_datasets([task], settings).values()
    return done


def push_datasets(tasks: Sequence[TaskSpec], settings: Settings) -> dict[str, Release | Change]:
    """Curate where needed, then push, by task: what one task's data lack stops all before anything is uploaded."""
    from hubtools.publishing.dataset import check_licences, push_dataset

    check_flags(settings.source, settings.columns, settings.license)
    if settings.gated and settings.create_pr:
        raise UsageError(
            "--gated is a setting of the repo, which a pull request cannot hold", expected="one of the two",
            found="--gated and --create-pr", next="push with --gated first, then open the pull request without",
        )  # fmt: skip
    repos = {task.name: dataset_repo(task, settings) for task in tasks}  # a missing token must not cost time
    pushed: dict[str, Release | Change] = {}
    with contextlib.ExitStack() as stack:
        made = {}
        for task in tasks:
            made[task.name] = settings
            if _must_curate(task, settings):
                if settings.dry_run:  # what would be pushed is made all the same, but not here
                    aside = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                    made[task.name] = replace(settings, work_dir=aside)
                curate_task(task, made[task.name])
            check_licences(api(), task, made[task.name].folder(task), repos[task.name], _push_options(settings))
        for task in tasks:
            pushed[task.name] = push_dataset(
                api(), task, made[task.name].folder(task), repos[task.name], _push_options(settings)
            )
            _say(settings, task.name, "dataset", pushed[task.name])
    return pushed


def kept(task: TaskSpec, settings: Settings) -> str | None:
    """The user's own source of the dataset in the work folder, which stays where no other source is asked for.

    Raises:
        UsageError: a flag asks for another dataset of it, which takes its file and columns as well.
    """
    folder = settings.folder(task)
    if settings.source or not folder.facts.exists():
        return None
    facts = folder.read(folder.facts, "curate")
    own: str = facts["sources"][0]["id"]
    if own in (task.source.id, task.starter and task.starter.id):
        return None
    names = {supplement.name for supplement in task.supplements} | ({LENGTHS} if task.match_lengths else set())
    asked = names & {*settings.supplements, *settings.without}
    label_set = _asked_label_set(task, settings)
    if label_set not in (None, facts["label_set"]):
        asked |= {f"--label-set {label_set}"}
    if asked:
        raise UsageError(
            f"{task.name}: the dataset in {folder.dataset} was curated from {own}",
            expected="its --source and columns beside flags that make another dataset",
            found=", ".join(sorted(asked)),
            next=f"hubtools curate {task.name} --source ... with all of them, then this command without them",
        )  # fmt: skip
    return own


def _must_curate(task: TaskSpec, settings: Settings) -> bool:
    """Whether the dataset is not there yet, or a flag asks for another one than is there."""
    folder, name = settings.folder(task), _asked_label_set(task, settings)
    if kept(task, settings):
        return False
    if settings.source or settings.supplements or settings.without or not folder.facts.exists():
        return True
    return name not in (None, folder.read(folder.facts, "curate")["label_set"])


def _say(settings: Settings, what: str, kind: str, done: Release | Change) -> None:
    if isinstance(done, Release):
        state = ("pushed as " if done.changed else "unchanged at ") + (done.tag or done.revision[:8])
        settings.note(f"{what}: {kind} {done.repo} {state}")
    else:
        for setting in done.settings:
            settings.note(f"{what}: would set {setting}" if ":" in setting else f"{what}: would {setting}")
        for verb, files in (("add", done.add), ("replace", done.replace), ("delete", done.delete)):
            for file in files:
                was = f", now {file.before:,}" if verb == "replace" else ""
                size = file.before if file.bytes is None else file.bytes
                settings.note(f"{what}: would {verb} {file.path} ({size:,} bytes{was})")
        if not done:
            settings.note(f"{what}: nothing would change")


def evaluate_task(task: TaskSpec, settings: Settings, from_predictions: bool = False) -> Metrics:
    from tqdm import tqdm  # type: ignore[import-untyped]

    from hubtools.evaluation.evaluate import evaluate

    folder = settings.folder(task)
    facts = folder.read(folder.facts, "curate")
    rows = sum(facts["splits"][split]["rows"] for split in ("validation", "test"))
    with (
        folder.alone(settings.note),
        tqdm(total=rows, desc=f"{task.name}: scoring", unit="row", leave=False, disable=None) as bar,
    ):
        return evaluate(
            task, folder, target_fpr=settings.target_fpr, target_recall=settings.target_recall,
            from_predictions=from_predictions, extra=settings.baselines if task.head.few_shot else (),
            repo=_published_before(task, settings), note=settings.note, tick=bar.update,
        )  # fmt: skip


def _published_before(task: TaskSpec, settings: Settings) -> str | None:
    """Where earlier versions would be; None without a token or a connection, which scoring does not need."""
    from hubtools.publishing.commits import is_connection_error

    try:
        return model_repo(task, settings)
    except Exception as error:
        if isinstance(error, HubUnavailable) or is_connection_error(error):
            return None
        raise


def check_targets(tasks: Sequence[TaskSpec], settings: Settings) -> None:
    """Refuse a target that is no share, or that no threshold of ``tasks`` is chosen for."""
    from hubtools.evaluation.targets import check_target

    check_target(tasks, settings.target_fpr, settings.target_recall)


def model_card_task(task: TaskSpec, settings: Settings) -> Path:
    from hubtools.publishing.model import write_model_card

    path = write_model_card(task, settings.folder(task), model_repo(task, settings))
    settings.note(f"{task.name}: card written to {path}")
    return path


def push_model_task(task: TaskSpec, settings: Settings) -> Release | Change:
    """Release and, where a commit was made, load it back and compare."""
    from hubtools.publishing.model import push_model
    from hubtools.publishing.verification import verify_model

    done = push_model(api(), task, settings.folder(task), model_repo(task, settings), _push_options(settings))
    _say(settings, task.name, "model", done)
    if isinstance(done, Release) and not settings.create_pr:
        checked = verify_model(task, done.repo, done.revision)
        settings.note(
            f"{task.name}: loaded back by pipeline(), {checked.rows} answers agree "
            f"(largest difference {checked.largest_difference:.1g})"
        )
    return done


def model_card_multi(settings: Settings) -> Path:
    """Render the card of the one repo that answers all four."""
    from hubtools.publishing.multitask import write_multitask_card

    path = write_multitask_card(settings.work_dir, multi_repo(settings))
    settings.note(f"{MULTI}: card written to {path}")
    return path


def push_multi_model(settings: Settings) -> Release | Change:
    """Release the one repo that answers all four; where a commit was made, load it back and compare."""
    from hubtools.publishing.multitask import push_multitask, verify_multitask

    done = push_multitask(api(), settings.work_dir, multi_repo(settings), _push_options(settings))
    _say(settings, MULTI, "model", done)
    if isinstance(done, Release) and not settings.create_pr:
        checked = verify_multitask(done.repo, done.revision)
        settings.note(
            f"{MULTI}: loaded back, {checked.rows} answers agree, all four in one pass "
            f"(largest difference {checked.largest_difference:.1g})"
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
        settings.note(f"space: {f'running at {done.url}' if running else f'{stage} on this Hub; here: hubtools demo'}")
    return done


# After a model is trained.
STAGES: tuple[tuple[str, Callable[[TaskSpec, Settings], Any]], ...] = (
    ("evaluate", evaluate_task),
    ("push-model", push_model_task),
)


def run(tasks: Sequence[TaskSpec], settings: Settings) -> dict[str, Any]:
    """Every stage for every task, then the Space. Returns, and writes to ``run.json``, seconds a stage and results.

    The Space shows every task that is released in the work folder, whichever run released it. A dry run tells what the
    datasets would be and no more, because what follows needs what it does not make.
    """
    from hubtools.publishing.dataset import check_licences

    # What is wrong with the command stops it here, before anything costs time.
    namespace(settings.namespace)
    check_training_flags(settings.training, tasks, settings.processes)
    check_targets(tasks, settings)
    seconds: dict[str, dict[str, float]] = {}
    results: dict[str, Any] = {}
    started = time.time()
    if not settings.dry_run:  # what the data of any task lack stops the run before an upload or an hour of training
        for task in tasks:
            begun = time.time()
            if own := kept(task, settings):
                settings.note(f"{task.name}: the dataset curated from {own} is kept")
            else:
                curate_task(task, settings)
            check_licences(api(), task, settings.folder(task), dataset_repo(task, settings), _push_options(settings))
            seconds[task.name] = {"curate": round(time.time() - begun, 2)}
    for task in tasks:
        begun = time.time()
        push_dataset_task(task, settings)
        seconds.setdefault(task.name, {})["push-dataset"] = round(time.time() - begun, 2)
        if settings.dry_run:
            settings.note(f"{task.name}: would then fine-tune, evaluate and release the model")
    trained = finetune_tasks([] if settings.dry_run else tasks, settings)
    with contextlib.closing(trained):  # an error in what follows a training ends the others
        for task, _, took in trained:
            seconds[task.name]["finetune"] = round(took, 2)
            for name, stage in STAGES:
                begun = time.time()
                stage(task, settings)
                seconds[task.name][name] = round(time.time() - begun, 2)
            results[task.name] = _result(task, settings)
    results = {task.name: results[task.name] for task in tasks if task.name in results}  # not as they ended
    if settings.dry_run:
        settings.note("space: would be pushed")
    else:
        begun = time.time()
        candidates = TASKS | {task.name: task for task in tasks}
        space = push_space_task([*candidates.values()], settings)
        seconds["space"] = {"push-space": round(time.time() - begun, 2)}
        results["space"] = {"url": space.url, "repo": space.repo} if isinstance(space, Release) else {}
    report = {"seconds": seconds, "total_seconds": round(time.time() - started, 1), "results": results}
    if not settings.dry_run:
        write_json(settings.work_dir / "run.json", report)
    return report


def _result(task: TaskSpec, settings: Settings) -> dict[str, Any]:
    folder = settings.folder(task)
    published = folder.read(folder.published, "push-model")
    metrics = folder.read(folder.metrics, "evaluate")
    return {
        "metric": metrics["primary"]["title"],
        **{key: metrics["primary"][key] for key in ("value", "low", "high")},
        "baselines": {
            name: scores[metrics["primary"]["key"]]["value"] for name, scores in metrics["baselines"].items()
        },
        "dataset": published["dataset"]["url"],
        "model": published["model"]["url"],
    }
