"""The stages, each a function of the work folder and of the options that it needs.

A stage that is up to date says so and does nothing: what a run made is known by a fingerprint of what went into
it. Killing a run at any moment therefore loses at most the stage under way, and training goes on from its last
checkpoint.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.connection import find_namespace, open_client
from hubtools.curation.corrections import find_file
from hubtools.curation.supplements import LENGTHS
from hubtools.curation.user_data import check_flags
from hubtools.dataset_inputs import collect_inputs, parse_label_set
from hubtools.errors import HubUnavailable, MissingStage, UsageError
from hubtools.known_tasks import keep_task_file, list_known_tasks
from hubtools.options import EvaluationOptions, PushOptions, RepoOptions, SourceOptions, TargetOptions, WorkOptions
from hubtools.publishing.changes import Change
from hubtools.publishing.collection import CollectionChange
from hubtools.records.dataset import DatasetFacts
from hubtools.records.metrics import Metrics
from hubtools.records.onnx import OnnxExport
from hubtools.records.release import Published, PublishedCollection, Verified
from hubtools.repo_names import name_dataset_repo, name_model_repo, name_multitask_repo, name_space_repo
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI
from hubtools.workdir import read_published_together, record_published_together, task_folder

if TYPE_CHECKING:
    from hubtools.publishing.space_files import SpaceForm

_SPACE_SECONDS = 600.0  # to wait for a Space that was pushed to start


def curate_task(task: TaskSpec, work: WorkOptions, source: SourceOptions) -> DatasetFacts:
    """Curate one task into its work folder, and return what ``facts.json`` says of the dataset."""
    from hubtools.curation.build import curate

    folder = work.folder(task)
    # Located before the folder is locked: downloads take long, and change nothing in it.
    inputs = collect_inputs(task, source)
    with folder.lock(work.note):
        facts = curate(task, folder, inputs, work.note)
        keep_task_file(task, folder)
    return facts


def find_user_source(task: TaskSpec, work: WorkOptions, source: SourceOptions) -> str | None:
    """Return the user's own source of the dataset in the work folder, which stays where no other source is asked for.

    Raises:
        UsageError: a flag asks for another dataset of it, which takes its file and columns as well.
    """
    folder = work.folder(task)
    if source.source or not folder.facts.exists():
        return None
    facts = folder.read_facts()
    own = facts.sources[0].id
    if task.owns(own):
        return None
    names = {public.name for public in task.sources if public.name} | ({LENGTHS} if task.match_lengths else set())
    made = {made.name for made in task.augmentations}
    # Flags of other tasks are none of this one's business.
    asked = names & {*source.supplements, *source.without}
    asked |= {"--corrections"} if find_file(source.corrections, task) else set()
    label_set = parse_label_set(task, source)
    if label_set not in (None, facts.label_set):
        asked |= {f"--label-set {label_set}"}
    asked |= {f"--augment {entry}" for entry in source.augment if entry.partition("=")[0] in made}
    asked |= {"--only-named-source"} if source.only_named_source else set()
    if asked:
        raise UsageError(
            f"{task.name}: the dataset in {folder.dataset} was curated from {own}",
            expected="its --source and columns beside flags that make another dataset",
            found=", ".join(sorted(asked)),
            next=f"hubtools curate {task.name} --source ... with all of them, then this command without them",
        )
    return own


def _needs_curation(task: TaskSpec, work: WorkOptions, source: SourceOptions) -> bool:
    """Return whether the dataset is not there yet, or a flag asks for another one than is there."""
    folder = work.folder(task)
    if find_user_source(task, work, source):
        return False
    # Whether such a flag makes a difference is known by the fingerprint, which curation computes.
    asked = (source.source, source.supplements, source.without, source.corrections)
    made = (source.only_named_source, source.augment)
    if any((*asked, *made)) or not folder.facts.exists():
        return True
    return parse_label_set(task, source) not in (None, folder.read_facts().label_set)


def check_licences_of(task: TaskSpec, work: WorkOptions, repos: RepoOptions, push: PushOptions) -> None:
    """Refuse to push a dataset whose licences forbid it; raises :class:`LicenceRefused`."""
    from hubtools.publishing.dataset import check_licences

    repo = name_dataset_repo(task, repos)
    check_licences(open_client(), task, work.folder(task), repo, push)


def push_datasets(
    tasks: Sequence[TaskSpec], work: WorkOptions, source: SourceOptions, repos: RepoOptions, push: PushOptions
) -> dict[str, Published | Change]:
    """Curate where needed, then push, by task: what one task's data lack stops all before anything is uploaded."""
    from hubtools.publishing.dataset import push_dataset

    check_flags(source.source, source.columns, source.license, source.languages)
    _refuse_gated_request(push)
    names = {task.name: name_dataset_repo(task, repos) for task in tasks}  # a missing token must not cost time
    pushed: dict[str, Published | Change] = {}
    with contextlib.ExitStack() as stack:
        work_of = {}  # by task: a dry run curates elsewhere
        # All tasks first, before the first upload.
        for task in tasks:
            work_of[task.name] = work
            if _needs_curation(task, work, source):
                if push.dry_run:  # what would be pushed is made all the same, but not here
                    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                    work_of[task.name] = replace(work, work_dir=scratch)
                curate_task(task, work_of[task.name], source)
            check_licences_of(task, work_of[task.name], repos, push)
        for task in tasks:
            pushed[task.name] = push_dataset(
                open_client(), task, work_of[task.name].folder(task), names[task.name], push
            )
            note_push(work, task.name, "dataset", pushed[task.name])
    return pushed


def _refuse_gated_request(push: PushOptions) -> None:
    if push.gated and push.create_pr:
        raise UsageError(
            "--gated is a setting of the repo, which a pull request cannot hold",
            expected="one of the two",
            found="--gated and --create-pr",
            next="push with --gated first, then open the pull request without",
        )


def check_pull_requests(
    tasks: Sequence[TaskSpec], work: WorkOptions, repos: RepoOptions, push: PushOptions, base: str
) -> None:
    """Refuse pull requests that could not be opened once the training is done.

    Args:
        base: that the models will be trained from.

    Raises:
        MissingStage: a repo is not there. UsageError: the dataset is to be gated.
    """
    from hubtools.publishing.changes import refuse_pull_request
    from hubtools.publishing.commits import find_head

    _refuse_gated_request(push)
    for task in tasks:
        of_task = {"dataset": name_dataset_repo(task, repos), "model": name_model_repo(task, work, repos, base)}
        for kind, repo in of_task.items():
            if find_head(open_client(), repo, kind) is None:
                refuse_pull_request(repo, kind)


def note_push(work: WorkOptions, name: str, kind: str, push: Published | Change) -> None:
    """Print a line about a push; of a dry run one for each file and setting that would change."""
    if isinstance(push, Published) and push.pull_request:
        opened = "opened" if push.changed else "is open already"
        work.note(f"{name}: {kind} {push.repo}: a pull request {opened}, {push.url}")
        return
    if isinstance(push, Published):
        # None where a pull request was asked for, and nothing differs.
        state = ("pushed as " if push.changed else "unchanged at ") + (push.tag or push.revision[:8])
        work.note(f"{name}: {kind} {push.repo} {state}")
        return
    for setting in push.settings:
        work.note(f"{name}: would set {setting}" if ":" in setting else f"{name}: would {setting}")
    for verb, files in (("add", push.add), ("replace", push.replace), ("delete", push.delete)):
        for file in files:
            before = f", now {file.before:,}" if verb == "replace" else ""
            size = file.before if file.bytes is None else file.bytes
            work.note(f"{name}: would {verb} {file.path} ({size:,} bytes{before})")
    if not push:
        work.note(f"{name}: nothing would change")


def check_targets(tasks: Sequence[TaskSpec], targets: TargetOptions) -> None:
    """Refuse a target that is no share, or that no threshold of ``tasks`` is chosen for."""
    from hubtools.evaluation.targets import check_target

    check_target(tasks, targets.target_fpr, targets.target_recall)


def evaluate_task(task: TaskSpec, work: WorkOptions, options: EvaluationOptions, repos: RepoOptions) -> Metrics:
    """Score the test split where that is not done, and return what ``metrics.json`` says."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    from hubtools.evaluation.benchmarks import score_benchmarks
    from hubtools.evaluation.evaluate import ScoringOptions, evaluate
    from hubtools.evaluation.unseen import describe_unseen
    from hubtools.records.thresholds import Target

    folder = work.folder(task)
    facts = folder.read_facts()
    # Both splits are asked: thresholds and calibration are chosen on validation.
    rows = sum(facts.splits[split].rows for split in ("validation", "test"))
    with (
        folder.lock(work.note),
        tqdm(total=rows, desc=f"{task.name}: scoring", unit="row", leave=False, disable=None) as bar,
    ):
        metrics = evaluate(
            task,
            folder,
            ScoringOptions(
                target=Target(fpr=options.target_fpr, recall=options.target_recall),
                from_predictions=options.from_predictions,
                few_shot=bool(options.baseline) and task.head.few_shot,
                repo=_find_published_before(task, work, repos),
            ),
            note=work.note,
            tick=bar.update,
        )
        if not options.from_predictions:
            score_benchmarks(task, folder, metrics.weights_sha256, work.note)
    if line := describe_unseen(folder):
        work.note(f"{task.name}: {line}")
    return metrics


def _find_published_before(task: TaskSpec, work: WorkOptions, repos: RepoOptions) -> str | None:
    """Return where earlier versions would be; None without a token or a connection, which scoring does not need."""
    from hubtools.retries import is_connection_error

    try:
        return name_model_repo(task, work, repos)
    except Exception as error:
        if isinstance(error, HubUnavailable) or is_connection_error(error):
            return None
        raise


def export_onnx(task: TaskSpec, work: WorkOptions) -> OnnxExport:
    """Write the ONNX files of a task's model where they are not there, and return how they answer."""
    from hubtools.onnx_export.export import export_task
    from hubtools.publishing.model import check_scores_belong

    folder = work.folder(task)
    folder.need(folder.model / "model.safetensors", "finetune")
    check_scores_belong(task, folder)
    with folder.lock(work.note):
        return export_task(task, folder, work.note)


def export_multitask_onnx(work: WorkOptions) -> OnnxExport:
    """Do as :func:`export_onnx` for the model that answers all four."""
    from hubtools.onnx_export.export import export_multitask
    from hubtools.publishing.multitask import check_same_training

    check_same_training(work.work_dir)
    with task_folder(work.work_dir, MULTI).lock(work.note):
        return export_multitask(work.work_dir, work.note)


def render_model_card(task: TaskSpec, work: WorkOptions, repos: RepoOptions) -> Path:
    """Write the card of a task's model from what the work folder holds, and return where it is."""
    from hubtools.publishing.model import write_model_card

    path = write_model_card(task, work.folder(task), name_model_repo(task, work, repos))
    work.note(f"{task.name}: card written to {path}")
    return path


def check_model_card(task: TaskSpec, work: WorkOptions, repos: RepoOptions | None) -> Path:
    """Check the card that is there by the Hub's rules; with ``repos`` also that it is what its files say now.

    Raises:
        CardRejected: with what is wrong.
    """
    from hubtools.publishing.model import check_card

    return check_card(task, work.folder(task), name_model_repo(task, work, repos) if repos else None)


def push_model_task(task: TaskSpec, work: WorkOptions, repos: RepoOptions, push: PushOptions) -> Published | Change:
    """Release a task's model: held against the published one, and verified on a branch before it is on main."""
    from hubtools.publishing.model import push_model
    from hubtools.publishing.verification import verify_release

    if push.force is not None and not push.force.strip():
        raise UsageError("--force needs a reason", expected="a sentence, for the card", found="an empty text")
    client, repo = open_client(), name_model_repo(task, work, repos)

    def verify(revision: str) -> None:
        checked = verify_release(client, repo, revision, task)
        work.note(
            f"{task.name}: loaded back by pipeline(), {checked.rows} answers agree "
            f"(largest difference {checked.largest_difference:.1g})"
        )

    pushed = push_model(client, task, work.folder(task), repo, push, verify=verify, note=work.note)
    note_push(work, task.name, "model", pushed)
    if isinstance(pushed, Published):
        keep_task_file(task, work.folder(task))  # its words for people may have changed since curation
    return pushed


def verify_repo(repo: str, revision: str, task: TaskSpec | None) -> Verified:
    """Verify a published model, of one task or of all four, without anything of the machine that released it."""
    from hubtools.publishing.verification import verify_release

    return verify_release(open_client(), repo, revision, task)


def render_multitask_card(work: WorkOptions, repos: RepoOptions) -> Path:
    """Write the card of the one repo that answers all four, and return where it is."""
    from hubtools.publishing.multitask import write_multitask_card

    path = write_multitask_card(work.work_dir, name_multitask_repo(work, repos))
    work.note(f"{MULTI}: card written to {path}")
    return path


def check_multitask_card(work: WorkOptions, repos: RepoOptions | None) -> Path:
    """Do as :func:`check_model_card` for the one repo that answers all four."""
    from hubtools.publishing.multitask import check_multitask_card as check_card

    return check_card(work.work_dir, name_multitask_repo(work, repos) if repos else None)


def push_multitask_model(work: WorkOptions, repos: RepoOptions, push: PushOptions) -> Published | Change:
    """Release the one repo that answers all four, verified on a branch before it is on main."""
    from hubtools.publishing.multitask import push_multitask
    from hubtools.publishing.verification import verify_release

    client, repo = open_client(), name_multitask_repo(work, repos)

    def verify(revision: str) -> None:
        checked = verify_release(client, repo, revision)
        work.note(
            f"{MULTI}: loaded back, {checked.rows} answers agree, all four in one pass "
            f"(largest difference {checked.largest_difference:.1g})"
        )

    pushed = push_multitask(client, work.work_dir, repo, push, verify=verify, note=work.note)
    note_push(work, MULTI, "model", pushed)
    return pushed


def push_space_of(
    tasks: Sequence[TaskSpec],
    work: WorkOptions,
    repos: RepoOptions,
    push: PushOptions,
    form: SpaceForm | None = None,
) -> Published | Change:
    """Push the Space that shows every released task of the work folder; on a Hub that runs Spaces, wait until it runs.

    Args:
        tasks: further ones than the built-in and those that were curated from a file here, or newer files of these.
        form: None for the one that the Space has, or gradio's where there is none.
    """
    from hubtools.publishing.space import push_space, wait_for_space

    repo = name_space_repo(repos)
    tasks = list_known_tasks(work.work_dir, tasks)
    folders = {task.name: work.folder(task) for task in tasks} | {MULTI: task_folder(work.work_dir, MULTI)}
    pushed = push_space(open_client(), tasks, folders, repo, form, push)
    note_push(work, "space", "Space", pushed)
    # A Hub that runs no Spaces says so by the stage, at once.
    if isinstance(pushed, Published) and not push.create_pr:
        record_published_together(work.work_dir, space=pushed)
        stage = wait_for_space(open_client(), repo, wait=_SPACE_SECONDS)
        running = stage == "RUNNING"
        work.note(f"space: {f'running at {pushed.url}' if running else f'{stage} on this Hub; here: hubtools demo'}")
    return pushed


def push_collection_of(
    names: Sequence[str], work: WorkOptions, repos: RepoOptions, push: PushOptions, title: str | None = None
) -> PublishedCollection | CollectionChange:
    """Push the collection of the repos that were published from the work folder, and link their cards to one another.

    Args:
        names: of the tasks whose repos it holds; none for all that the work folder knows.
        title: of the collection; None for the one that it has, or the usual one.

    Raises:
        UsageError: a name is of no task.
        MissingStage: nothing was published from here.
    """
    from hubtools.publishing.collection import CollectionOptions, compare_collection, list_members, push_collection

    namespace = find_namespace(repos.namespace)
    known = {task.name: task for task in list_known_tasks(work.work_dir)}
    chosen = dict.fromkeys(names or [*known, MULTI])
    if unknown := [name for name in chosen if name not in known and name != MULTI]:
        raise UsageError(
            f"There is no task {unknown[0]!r} in {work.work_dir}",
            expected="one of " + ", ".join([*known, MULTI]),
            found=unknown[0],
            next="name others, or none for all that was published from the work folder",
        )
    there = read_published_together(work.work_dir)
    members = list_members(
        [task for name, task in known.items() if name in chosen],
        {name: task_folder(work.work_dir, name) for name in chosen},
        there.space.repo if there.space else None,
    )
    if not members:
        raise MissingStage(
            f"Nothing was published from {work.work_dir} that a collection could hold",
            expected="a dataset, a model or a Space that was pushed from here",
            found="none",
            next="hubtools push-dataset, push-model or push-space",
        )
    options = CollectionOptions(title, push.private)
    if push.dry_run:
        change = compare_collection(open_client(), namespace, members, there.collection, options)
        for line in change.describe():
            work.note(f"collection: {line}")
        return change
    pushed = push_collection(
        open_client(),
        namespace,
        members,
        there.collection,
        options,
        keep=lambda collection: record_published_together(work.work_dir, collection=collection),
    )
    state = "pushed" if pushed.changed else "unchanged"
    work.note(f"collection: {pushed.slug} {state}, {len(members)} repos of this work folder")
    return pushed
