"""``hubtools run``: every stage for every task, in order, with the seconds that each took."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hubtools.connection import find_namespace
from hubtools.launch import finetune_tasks
from hubtools.onnx_export.export import check_libraries
from hubtools.options import (
    EvaluationOptions,
    PushOptions,
    RepoOptions,
    SourceOptions,
    TargetOptions,
    TrainingOptions,
    WorkOptions,
)
from hubtools.pipeline import (
    check_licences_of,
    check_pull_requests,
    check_targets,
    curate_task,
    evaluate_task,
    export_onnx,
    find_user_source,
    push_collection_of,
    push_datasets,
    push_model_task,
    push_space_of,
)
from hubtools.records import write_record
from hubtools.records.release import Published, PublishedCollection
from hubtools.records.run import CollectionResult, RunRecord, SpaceResult, TaskResult
from hubtools.task import TaskSpec
from hubtools.training.fewshot import check_method, list_preferred_bases
from hubtools.training.inputs import resolve_base


@dataclass(frozen=True)
class RunOptions:
    """The options of a whole run, by stage."""

    work: WorkOptions = field(default_factory=WorkOptions)
    source: SourceOptions = field(default_factory=SourceOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    targets: TargetOptions = field(default_factory=TargetOptions)
    repos: RepoOptions = field(default_factory=RepoOptions)
    push: PushOptions = field(default_factory=PushOptions)
    export: Literal["onnx"] | None = None
    robustness: bool = False


class _Clock:
    """Seconds of each stage, by task."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, dict[str, float]] = defaultdict(dict)

    @contextlib.contextmanager
    def measure(self, task: str, stage: str) -> Iterator[None]:
        began = time.time()
        yield  # an error ends the run: the seconds of a stage that failed are of no use
        self.seconds[task][stage] = round(time.time() - began, 2)


def run_tasks(tasks: Sequence[TaskSpec], options: RunOptions) -> RunRecord:
    """Run every stage for every task, then push Space and collection; return what is written to ``run.json`` as well.

    What is linked to is tagged first: datasets, then models, then the Space; the collection of all comes last. Space
    and collection show every task that is released in the work folder, whichever run released it. Pull requests release
    nothing: Space and collection stay as they are then. A dry run tells what the datasets would be and no more, because
    what follows needs what it does not make.
    """
    # What is wrong with the command stops it here, before anything costs time.
    find_namespace(options.repos.namespace)
    check_method(options.training.flags, tasks, options.training.processes)
    check_targets(tasks, options.targets)
    if options.export:
        check_libraries()
    if options.push.create_pr:
        base = resolve_base(options.training.base, list_preferred_bases(options.training.flags))
        check_pull_requests(tasks, options.work, options.repos, options.push, base)
    # Each stage below does nothing where it is up to date: to go on after a kill is to begin anew.
    clock = _Clock()
    results: dict[str, TaskResult | CollectionResult | SpaceResult] = {}
    began = time.time()
    dry_run = options.push.dry_run
    if not dry_run:
        _curate_all(tasks, options, clock)
    _push_all_datasets(tasks, options, clock)
    if not dry_run:
        results |= _train_and_release(tasks, options, clock)
    if options.push.create_pr:
        options.work.note(
            "space, collection and links between cards: left as they are; after the merge, the same command without "
            "--create-pr tags the releases and brings the rest up to date"
        )
    elif dry_run:
        options.work.note("space and collection: would be pushed")
    else:
        results |= _show_releases(tasks, options, clock)
    # Stages of several tasks overlap with --jobs: the total is less than their sum then.
    record = RunRecord(seconds=dict(clock.seconds), total_seconds=round(time.time() - began, 1), results=results)
    if not dry_run:
        write_record(options.work.work_dir / "run.json", record)
    return record


def _show_releases(
    tasks: Sequence[TaskSpec], options: RunOptions, clock: _Clock
) -> dict[str, CollectionResult | SpaceResult]:
    """Push the Space, then the collection, of all that is released in the work folder."""
    results: dict[str, CollectionResult | SpaceResult] = {}
    with clock.measure("space", "push-space"):
        space = push_space_of(tasks, options.work, options.repos, options.push)
    results["space"] = SpaceResult(url=space.url, repo=space.repo) if isinstance(space, Published) else SpaceResult()
    with clock.measure("collection", "push-collection"):
        # As with the Space, of all that is published here.
        collection = push_collection_of((), options.work, options.repos, options.push)
    if isinstance(collection, PublishedCollection):
        results["collection"] = CollectionResult(url=collection.url, slug=collection.slug)
    return results


def _curate_all(tasks: Sequence[TaskSpec], options: RunOptions, clock: _Clock) -> None:
    """Curate all tasks: what the data of any of them lack stops the run before an upload or an hour of training."""
    for task in tasks:
        with clock.measure(task.name, "curate"):
            # Rows of a user's own were named when they were curated: they need not be named again.
            if own := find_user_source(task, options.work, options.source):
                options.work.note(f"{task.name}: the dataset curated from {own} is kept")
            else:
                curate_task(task, options.work, options.source)
            check_licences_of(task, options.work, options.repos, options.push)


def _push_all_datasets(tasks: Sequence[TaskSpec], options: RunOptions, clock: _Clock) -> None:
    """Push all datasets before the first training: a model's card names the release of its dataset."""
    for task in tasks:
        with clock.measure(task.name, "push-dataset"):
            push_datasets([task], options.work, options.source, options.repos, options.push)
        if options.push.dry_run:
            options.work.note(f"{task.name}: would then fine-tune, evaluate and release the model")


def _train_and_release(tasks: Sequence[TaskSpec], options: RunOptions, clock: _Clock) -> dict[str, TaskResult]:
    """Train, and as each training ends score and release its model; return the results in the order of ``tasks``."""
    targets = EvaluationOptions(options.targets.target_fpr, options.targets.target_recall)
    results = {}
    trainings = finetune_tasks(tasks, options.work, options.training)
    with contextlib.closing(trainings):  # an error in what follows a training ends the others
        for finished in trainings:
            task = finished.task
            # Measured where it runs: with --jobs several trainings share these minutes.
            clock.seconds[task.name]["finetune"] = round(finished.seconds, 2)
            with clock.measure(task.name, "evaluate"):
                evaluate_task(task, options.work, targets, options.repos)
            if options.robustness:
                from hubtools.evaluation.robustness.measure import measure_robustness

                with clock.measure(task.name, "robustness"):
                    measure_robustness(task, options.work.folder(task), note=options.work.note)
            if options.export:
                with clock.measure(task.name, "export"):
                    export_onnx(task, options.work)
            with clock.measure(task.name, "push-model"):
                model = push_model_task(task, options.work, options.repos, options.push)
            assert isinstance(model, Published)  # a dry run does not come here
            results[task.name] = _make_result(task, options.work, model)
    # Trainings side by side end in any order.
    return {task.name: results[task.name] for task in tasks}


def _make_result(task: TaskSpec, work: WorkOptions, model: Published) -> TaskResult:
    """Return what the files of the work folder say of a task whose model was pushed."""
    from hubtools.evaluation.other_data import list_reports_for_card

    folder = work.folder(task)
    metrics, unseen = folder.read_metrics(), folder.find_unseen()
    dataset = folder.read_published("push-dataset").dataset
    assert dataset is not None  # it is pushed before the model
    # Every baseline has the metric that heads the card; it would be no baseline otherwise.
    key = metrics.primary.key
    benchmarks = {
        report.benchmark: score.value if (score := getattr(report.scores, key)) else None
        for report in list_reports_for_card(folder, metrics)
        if report.benchmark
    }
    return TaskResult(
        metric=metrics.primary.title,
        value=metrics.primary.value,
        low=metrics.primary.low,
        high=metrics.primary.high,
        baselines={name: getattr(baseline, key).value for name, baseline in metrics.baselines.items()},
        dataset=dataset.url,
        model=model.url,
        pull_requests=tuple(push.url for push in (dataset, model) if push.pull_request),
        benchmarks=benchmarks,
        unseen=unseen.means_by_title if unseen else None,
    )


def format_summary(record: RunRecord) -> list[str]:
    """Return the results of a run as a table for a terminal; nothing for a dry run."""
    lines = [f"{'task':<10} {'metric':<26} {'test score':<24} model"]
    for name, result in record.results.items():
        if isinstance(result, TaskResult):
            lines += format_result(name, result)
    if urls := [url for r in record.results.values() if isinstance(r, TaskResult) for url in r.pull_requests]:
        lines += ["Pull requests to merge:", *urls]
    space = record.results.get("space")
    if isinstance(space, SpaceResult) and space.url is not None:
        lines.append(f"Space: {space.url}")
    collection = record.results.get("collection")
    if isinstance(collection, CollectionResult):
        lines.append(f"Collection: {collection.url}")
    return [*lines, f"Done in {record.total_seconds:.0f} s."] if record.results else []


def format_result(task: str, result: TaskResult) -> list[str]:
    """Return what a run says of a task: its test score and model, then its benchmarks and its unseen sources."""
    score = f"{result.value:.3f} [{result.low:.3f}, {result.high:.3f}]"
    lines = [f"{task:<10} {result.metric:<26} {score:<24} {result.model}"]
    scored = [f"{name} {value:.3f}" for name, value in result.benchmarks.items() if value is not None]
    if scored:
        lines.append(f"{'':<10} {result.metric} on benchmarks: {', '.join(scored)}")
    if result.unseen:
        scores = ", ".join(f"{title} {mean:.3f}" for title, mean in result.unseen.items())
        lines.append(f"{'':<10} never seen, each source left out: {scores}")
    return lines
