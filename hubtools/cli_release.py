"""The commands that describe, release and show models: ``hubtools model-card``, ``push-model`` and so on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hubtools.errors import UsageError
from hubtools.option_groups import omit, takes_groups
from hubtools.options import (
    HubOptions,
    Json,
    MultitaskOptions,
    PushOptions,
    RepoOptions,
    TaskFile,
    WorkOptions,
    show,
    show_pushed,
)
from hubtools.tasks import MULTI, select_tasks

# Mirrors hold sources of data, which these commands do not read.
HubWithoutMirrors = Annotated[HubOptions, omit("mirrors")]


@takes_groups
def model_card(
    task: MultitaskOptions,
    *,
    lint: Annotated[
        bool, typer.Option("--lint", help="Write nothing: say whether the Hub would take the card that is there.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: fail where the card is not what its files say now.")
    ] = False,
    repos: Annotated[RepoOptions, omit("dataset_name", "space_name")],
    hub: HubWithoutMirrors,
    work: WorkOptions,
    json_output: Json = False,
) -> None:
    """Render and lint the card from files; needs no GPU."""
    tasks = task.select()
    if check or not lint:  # whose repo it is, the Hub knows
        hub.connect()
    from hubtools import api, pipeline

    cards: dict[str, Path]
    # --lint needs no repo: it is for a card that is there, by the Hub's rules alone.
    if lint or check:
        compared = repos if check else None
        if task.multitask:
            cards = {MULTI: pipeline.check_multitask_card(work, compared)}
        else:
            cards = {t.name: pipeline.check_model_card(t, work, compared) for t in tasks}
    elif task.multitask:
        cards = {MULTI: pipeline.render_multitask_card(work, repos)}
    else:
        cards = {t.name: api.render_card(t, work, repos) for t in tasks}
    paths = {name: str(path) for name, path in cards.items()}
    show(paths, json_output, [*paths.values()])


@takes_groups
def push_model(
    task: MultitaskOptions,
    repos: Annotated[RepoOptions, omit("dataset_name", "space_name")],
    push: Annotated[PushOptions, omit("accept_license", "gated")],
    hub: HubWithoutMirrors,
    work: WorkOptions,
    json_output: Json = False,
) -> None:
    """Release: hold the model against the published one, verify it on a branch, then one commit and a tag."""
    tasks = task.select()
    hub.connect()
    from hubtools import api
    from hubtools.pipeline import push_multitask_model

    if task.multitask:
        pushed = {MULTI: push_multitask_model(work, repos, push)}
    else:
        pushed = {t.name: api.push_model(t, work, repos, push) for t in tasks}
    show_pushed(pushed, json_output)


@takes_groups
def verify(
    repo: Annotated[
        str,
        typer.Argument(metavar="REPO[@REVISION]", help="A published model, at a commit, tag or branch."),
    ],
    *,
    task: Annotated[str | None, typer.Option(help="Its task. [default: the one that the repo names]")] = None,
    task_file: TaskFile = None,
    hub: HubWithoutMirrors,
    json_output: Json = False,
) -> None:
    """Verify a published model as a stranger would: files, numbers, card, what the router needs, and answers."""
    name, at, revision = repo.partition("@")
    if at and not revision:
        raise UsageError(f"{repo!r} names no revision", expected="REPO@REVISION", next=f"hubtools verify {name}@v1")
    spec = None
    if task not in (None, MULTI) or task_file is not None:
        [spec, *_] = select_tasks(task, task_file)
    hub.connect()
    from hubtools import api

    checked = api.verify(name, revision or "main", task=spec)
    lines = [
        *(f"note: {note}" for note in checked.notes),
        *(f"{check.result}: {check.summary}" for check in checked.router_checks if check.result != "passed"),
        f"{name} at {checked.revision[:8]}: verified; {checked.rows} answers agree, largest difference "
        f"{checked.largest_difference:.1g}",
    ]
    if checks := checked.router_checks:
        passed = sum(check.result == "passed" for check in checks)
        lines.append(f"{name}: {passed} of {len(checks)} checks of what the Semantic Router needs passed")
    show(checked, json_output, lines)


@takes_groups
def push_space(
    *,
    task_file: Annotated[
        list[Path] | None,
        typer.Option(
            help="YAML file of a task of your own, in place of the one that it was curated by here. Repeatable."
        ),
    ] = None,
    sdk: Annotated[
        Literal["gradio", "docker", "static"] | None,
        typer.Option(
            help="gradio: an app that the Hub runs, without torch where the models have ONNX files. docker: the same "
            "in a container. static: a page that answers in the visitor's own browser; it needs ONNX files, and costs "
            "nothing. [default: the one that the Space has, or gradio]"
        ),
    ] = None,
    zero_gpu: Annotated[
        bool, typer.Option("--zero-gpu", help="With gradio: ask the Hub for ZeroGPU in place of its free CPU.")
    ] = False,
    repos: Annotated[RepoOptions, omit("dataset_name", "model_name")],
    push: Annotated[PushOptions, omit("accept_license", "force", "gated", "skip_router_check")],
    hub: HubWithoutMirrors,
    work: WorkOptions,
    json_output: Json = False,
) -> None:
    """Publish the Space that demos every model released in the work folder; again, it moves to the newest releases."""
    if zero_gpu and sdk not in (None, "gradio"):
        raise UsageError(
            "--zero-gpu is of Spaces that gradio serves", found=f"--sdk {sdk}", next="leave one of them out"
        )
    further = [task for path in task_file or () for task in select_tasks(None, path)]
    hub.connect()
    from hubtools.pipeline import push_space_of
    from hubtools.publishing.space_files import SpaceForm

    form = SpaceForm(sdk or "gradio", zero_gpu) if sdk or zero_gpu else None
    show_pushed({"space": push_space_of(further, work, repos, push, form)}, json_output)


@takes_groups
def push_collection(
    tasks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TASK]...",
            help="Tasks whose repos it holds, and no others of this work folder. [default: all that were published]",
        ),
    ] = None,
    *,
    collection_name: Annotated[
        str | None, typer.Option(help="Title of the collection. [default: the one it has, or Router classifiers]")
    ] = None,
    repos: Annotated[RepoOptions, omit("dataset_name", "model_name", "space_name")],
    push: Annotated[PushOptions, omit("accept_license", "gated", "create_pr")],
    hub: HubWithoutMirrors,
    work: WorkOptions,
    json_output: Json = False,
) -> None:
    """Gather datasets, models and the Space in one collection, and link their cards to one another."""
    hub.connect()
    from hubtools.pipeline import push_collection_of
    from hubtools.records.release import PublishedCollection

    pushed = push_collection_of(tasks or (), work, repos, push, collection_name)
    show({"collection": pushed}, json_output, [pushed.url] if isinstance(pushed, PublishedCollection) else [])


@takes_groups
def demo(
    repos: Annotated[RepoOptions, omit("dataset_name", "model_name")],
    *,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    hub: HubWithoutMirrors,
) -> None:
    """Run the published Space here, until Ctrl-C. Its address is the last line of stdout."""
    hub.connect()
    from hubtools.publishing.space_server import run_space
    from hubtools.repo_names import name_space_repo

    # The process is ours to end, also by an error or Ctrl-C.
    process, url = run_space(name_space_repo(repos), port)
    print(url, flush=True)
    try:
        process.wait()
    finally:
        process.terminate()
        process.wait()


COMMANDS = (model_card, push_model, verify, push_space, push_collection, demo)
