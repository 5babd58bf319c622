"""Release a model: weights, card, scores and plots in one commit."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.errors import CardRejected, MissingStage
from hubtools.evaluation.evaluate import are_metrics_current, check_trained_on
from hubtools.evaluation.examples import check_examples, find_reason_to_withhold
from hubtools.evaluation.other_data import FOLDER, list_reports_for_card
from hubtools.onnx_export.current import find_export, list_files
from hubtools.publishing.cards import ModelRun, render_model_card
from hubtools.publishing.changes import Change, Content
from hubtools.publishing.commits import release_model
from hubtools.publishing.curves import EVENTS, list_curves
from hubtools.publishing.front_matter import merge_card
from hubtools.publishing.gate import FILE as GATE
from hubtools.publishing.gate import describe_gate, hold_against_published, refuse_worse
from hubtools.publishing.lint import check_drift, lint_card
from hubtools.publishing.manifest import FILE as MANIFEST
from hubtools.publishing.manifest import describe_manifest, make_manifest
from hubtools.publishing.options import PushOptions
from hubtools.publishing.release_history import add_release_notes
from hubtools.publishing.release_notes import ReleaseFiles, TaskFiles
from hubtools.publishing.router_check import check_model_folder, describe_report, write_report
from hubtools.records import format_record, read_record, write_record
from hubtools.records.metrics import Metrics
from hubtools.records.onnx import FOLDER as ONNX
from hubtools.records.release import ROUTER_REPORT, Gate, Published, RouterReport
from hubtools.task import TaskSpec
from hubtools.workdir import UNSEEN, TaskFolder, sha256_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TASK_FILE = "task.yaml"  # what a task of one's own is, beside its model


def render_card(task: TaskSpec, folder: TaskFolder, repo: str) -> str:
    """Return the model's card from the files of the run, checked.

    Raises:
        CardRejected: the Hub would refuse it.
        MissingStage: a file is missing, or the dataset is not pushed.
    """
    return _render(task, _read_run(task, folder), repo)


def _render(task: TaskSpec, run: ModelRun, repo: str) -> str:
    card = render_model_card(task, repo, run)
    lint_card(card, "model")
    return card


def _read_run(task: TaskSpec, folder: TaskFolder) -> ModelRun:
    """Return what the card is made of; raises :class:`MissingStage` as :func:`render_card` does."""
    published = folder.read_published("push-dataset")
    metrics = folder.read_metrics()
    facts = folder.read_facts()
    training = folder.read_training()
    check_trained_on(folder, training)  # else the card would describe another dataset
    if published.dataset is None:
        raise MissingStage(
            f"The {task.name} dataset is not pushed",
            expected=f"the repo it was pushed to, in {folder.published}",
            found="model alone" if published.model else "nothing alone",
            next=f"hubtools push-dataset {task.name}",
        )
    # A model card can be read by everybody, whoever may read the dataset.
    withheld = check_examples(task, facts, published.dataset, metrics)
    return ModelRun(
        training,
        metrics,
        facts,
        published.dataset,
        texts={} if withheld else _read_texts_shown(task, folder, metrics),
        withheld=withheld,
        other_data=list_reports_for_card(folder, metrics),
        gate=read_gate(folder, metrics),
        router=_read_router_report(folder, metrics),
        onnx=find_export(folder.model, {task.name: metrics})[0],
        unseen=folder.find_unseen(),
    )


def _read_router_report(folder: TaskFolder, metrics: Metrics) -> RouterReport | None:
    """Return what the last push checked of these weights; None before there was one."""
    path = folder.model / ROUTER_REPORT
    if not path.exists():
        return None
    report = read_record(path, RouterReport, task=folder.task, command="push-model")
    return report if report.weights_sha256 == metrics.weights_sha256 else None


def read_gate(folder: TaskFolder, metrics: Metrics) -> Gate | None:
    """Return how the model was held against the published one; None where these scores never were."""
    if not folder.gate.exists():
        return None
    gate = read_record(folder.gate, Gate, task=folder.task, command="push-model")
    return gate if gate.fingerprint == metrics.fingerprint else None


def _read_texts_shown(task: TaskSpec, folder: TaskFolder, metrics: Metrics) -> dict[str, str]:
    """Return the texts that the card shows, by row id."""
    import pyarrow.parquet as pq

    wanted = task.head.list_shown_rows(metrics.mistakes)
    if not wanted or not folder.split_file("test").exists():
        return {}
    rows = pq.read_table(folder.split_file("test"), columns=["id", "text"])
    # By position, as the columns were asked for: a table keeps that order.
    texts = zip(*(column.to_pylist() for column in rows.columns), strict=True)
    return {row_id: text for row_id, text in texts if row_id in wanted}


def write_model_card(task: TaskSpec, folder: TaskFolder, repo: str) -> Path:
    """Render the card, write it beside the weights, and return its path."""
    path = folder.need(folder.model, "finetune") / "README.md"
    path.write_text(render_card(task, folder, repo), encoding="utf-8")
    return path


def check_card(task: TaskSpec, folder: TaskFolder, repo: str | None) -> Path:
    """Lint the card in the model folder; where ``repo`` is given, also compare it with what the files say now.

    Raises:
        CardRejected: the Hub would refuse it, a picture is missing, or it is not what would be rendered.
        MissingStage: there is no card, or the scores are not those of the predictions.
    """
    path = folder.need(folder.model / "README.md", "model-card")
    card = path.read_text("utf-8")
    lint_card(card, "model")
    # Pictures of the release are named by their file; those of an address are not ours to check.
    missing = [name for name in re.findall(r"!\[[^\]]*\]\(([^):]+)\)", card) if not (folder.model / name).exists()]
    if missing:
        raise CardRejected(
            f"Pictures of the {task.name} card",
            expected=", ".join(missing),
            found="no such files",
            next=f"hubtools evaluate {task.name} --from-predictions",
        )
    # What would be rendered names the repo: without one there is nothing to compare with.
    if repo is not None:
        check_scores_follow(task, folder)
        check_drift(card, render_card(task, folder, repo), task.name)
    return path


def push_model(
    api: HfApi,
    task: TaskSpec,
    folder: TaskFolder,
    repo: str,
    options: PushOptions,
    *,
    verify: Callable[[str], None],
    note: Callable[[str], None],
) -> Published | Change:
    """Push what is in the model folder; on a dry run return what would change.

    Args:
        verify: called with a commit of the release on a branch that nobody reads, before it is one; raises where it
            does not answer as it was scored.
        note: takes a line about what was checked.

    Raises:
        MissingStage: the scores are not those of these weights.
        VerificationFailed: the Semantic Router could not load the model, or would answer otherwise; or ``verify``.
        WorseThanPublished: it is worse than what it would replace, and neither a pull request nor forced.
    """
    # Whatever would be wrong on the Hub is found before anything is uploaded, and what takes longest comes last.
    _read_run(task, folder)
    check_scores_belong(task, folder)
    report = check_model_folder(task, folder, skip=options.skip_router_check)
    _, left_out = find_export(folder.model, {task.name: folder.read_metrics()})
    if left_out:
        note(describe_left_out_onnx(task.name, left_out))
    options = options.without_gate()
    if not options.dry_run:
        write_report(folder, report)
        for line in describe_report(report):
            note(f"{task.name}: {line}")
    pushed = release_model(
        api,
        repo,
        lambda head: _make_content(api, task, folder, repo, head, options, note, report),
        options,
        check=verify,
        note=lambda line: note(f"{task.name}: {line}"),
    )
    # What is proposed is released by nobody yet: Space and collection go on showing what is.
    if isinstance(pushed, Published) and not pushed.pull_request:
        # With the weights, so that a later command can tell whether the model here is still the one on the Hub.
        weights = folder.read_metrics().weights_sha256
        folder.record_published("model", replace(pushed, weights_sha256=weights))
    return pushed


def _make_content(
    api: HfApi,
    task: TaskSpec,
    folder: TaskFolder,
    repo: str,
    head: str | None,
    options: PushOptions,
    note: Callable[[str], None],
    report: RouterReport,
) -> Content:
    """Hold the model against the commit ``head``, render the card and return what the repo is to hold.

    Raises:
        WorseThanPublished: as :func:`push_model` says.
    """
    gate = hold_against_published(api, task, folder, repo, head)
    if gate and not gate.passed and options.force:
        gate = replace(gate, forced=options.force)
    for line in describe_gate(gate):
        note(f"{task.name}: {line}")
    if gate and not gate.forced and not options.create_pr:
        refuse_worse(task, gate)
    folder.gate.unlink(missing_ok=True)
    if gate:
        write_record(folder.gate, gate)
    # Of a dry run no report is written: it is given, to the card as to the files.
    card = _render(task, replace(_read_run(task, folder), router=report), repo)
    if not options.dry_run:
        (folder.model / "README.md").write_text(card, encoding="utf-8")
    metrics = folder.read_metrics()
    files = {**_list_files(task, folder, metrics), ROUTER_REPORT: format_record(report).encode()}
    dataset = folder.read_published("push-dataset").dataset
    assert dataset is not None  # the card's files were looked at
    manifest = make_manifest(task.name, dataset, files, card)
    forced = f"\n\nReleased though it is worse than {gate.tag}: {gate.forced}" if gate and gate.forced else ""
    content = Content(
        {**files, MANIFEST: manifest, "README.md": lambda theirs: merge_card(card, theirs).encode()},
        message=f"{task.title} classifier, {metrics.primary.title} {metrics.primary.value:.3f}",
        description=describe_manifest(manifest) + forced,
        is_ours=_is_ours,
    )

    def describe(tag: str) -> ReleaseFiles:
        return ReleaseFiles(tag, folder.read(folder.training, "finetune"), {task.name: describe_task(folder)})

    # Beside the manifest, as a person may edit what is told of older releases.
    return add_release_notes(api, repo, content, head, options, ([task], describe))


def describe_task(folder: TaskFolder) -> TaskFiles:
    """Return what the notes of a release say of a task, from the files of the run."""
    dataset = folder.read_published("push-dataset").dataset
    return TaskFiles(
        folder.read(folder.metrics, "evaluate"),
        folder.predictions,
        (dataset.repo, dataset.revision) if dataset else None,
        folder.read(folder.facts, "curate"),
    )


def _list_files(task: TaskSpec, folder: TaskFolder, metrics: Metrics) -> dict[str, bytes | Path]:
    """Return every file of the model repo by its path, but for the card and the manifest of all others."""
    # What its scores were computed from goes along: anybody can compute them again, and verify the model by them.
    scores = [folder.metrics, folder.training, folder.facts, folder.predictions, folder.validation_predictions]
    scores += [folder.gate] if folder.gate.exists() else []
    scores += [folder.unseen] if folder.find_unseen() else []
    facts = folder.read_facts()
    withheld = find_reason_to_withhold(facts, folder.read_published("push-dataset").dataset)
    reports = [f"{FOLDER}/{report.name}.json" for report in list_reports_for_card(folder, metrics)]
    return {
        **{path.name: path for path in sorted(folder.model.iterdir()) if path.is_file() and path.name != "README.md"},
        **{path.name: path for path in scores},
        **({folder.facts.name: format_record(replace(facts, examples=[])).encode()} if withheld else {}),
        **{name: folder.root / name for name in reports},
        **list_curves(folder.read_training()),
        # Without it nobody else could tell what a task of one's own is.
        **({TASK_FILE: task.file} if task.file else {}),
        **list_files(folder.model, find_export(folder.model, {task.name: metrics})[0]),
    }


def _is_ours(path: str) -> bool:
    """Say whether a file that we do not push is deleted.

    Weights of another form would stand beside ours and might be loaded instead; scores of other weights mislead.
    """
    ours = ("lora_config.json", GATE, UNSEEN, EVENTS)
    return is_weights(path) or path in ours or path.startswith(f"{FOLDER}/")


def is_weights(path: str) -> bool:
    """Say whether a file of a repo holds weights, or tells of them: where they are, or how their ONNX form answers."""
    return path.endswith((".safetensors", ".bin", ".safetensors.index.json")) or path.startswith(f"{ONNX}/")


def describe_left_out_onnx(name: str, why_not: str) -> str:
    """Return a line for the user about ONNX files that are not pushed.

    Args:
        name: what ``push-model`` calls the model.
    """
    return f"{name}: {ONNX}/ is left out, as {why_not}; hubtools export {name} --to onnx makes it anew"


def check_scores_belong(task: TaskSpec, folder: TaskFolder) -> None:
    """Compare the weights in the model folder with those that were scored.

    Raises:
        MissingStage: they are others, or the scores are not those of the predictions.
    """
    # By content: a model of another training may have the same name, shape and date.
    weights = sha256_of(folder.model / "model.safetensors")
    scored = folder.read_metrics().weights_sha256
    if scored != weights:
        raise MissingStage(
            f"The scores of {task.name!r} are those of other weights",
            expected=f"scores of {weights[:8]}",
            found=f"scores of {scored[:8]}",
            next=f"hubtools evaluate {task.name}",
        )
    check_scores_follow(task, folder)


def check_scores_follow(task: TaskSpec, folder: TaskFolder) -> None:
    """Raise :class:`MissingStage` where metrics.json was not computed from the predictions that are there."""
    if not are_metrics_current(folder, folder.read_metrics()):
        raise MissingStage(
            f"The scores of {task.name!r} are not those of its predictions",
            expected="metrics.json made of them",
            found=f"{folder.predictions.name} or its companion was changed since",
            next=f"hubtools evaluate {task.name} --from-predictions",
        )
