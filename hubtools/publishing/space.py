"""Publish the Space that demos the released models: by gradio, in a container, or as a page that answers by itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hubtools.errors import HubtoolsError
from hubtools.publishing.changes import Change, Content, Files, compare_with_hub
from hubtools.publishing.commits import release
from hubtools.publishing.front_matter import merge_card, split_card
from hubtools.publishing.options import PushOptions
from hubtools.publishing.release_history import download
from hubtools.publishing.space_files import SDKS, ZERO_GPU, SpaceForm, list_space_files
from hubtools.records.release import Published
from hubtools.retries import call_with_retries
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder

if TYPE_CHECKING:
    from huggingface_hub import HfApi

NAME = "router-classifiers"
FAILED = ("BUILD_ERROR", "RUNTIME_ERROR", "CONFIG_ERROR", "NO_APP_FILE")


def push_space(
    api: HfApi,
    tasks: Sequence[TaskSpec],
    folders: Mapping[str, TaskFolder],
    repo: str,
    form: SpaceForm | None,
    options: PushOptions,
) -> Published | Change:
    """Push the Space of those of ``tasks`` that are released; on a dry run return what would change.

    Args:
        folders: of the tasks by their names, and of the multitask model.
        form: None for the one that the Space has, or gradio's where there is none.
    """
    form = form or _find_form(api, repo)
    rendered = list_space_files(tasks, folders, form)
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
    return release(api, repo, "space", content, options, space_sdk=form.sdk)


def _find_form(api: HfApi, repo: str) -> SpaceForm:
    """Return the form of the Space on the Hub; gradio's where there is none."""
    path = download(api, repo, "space", "README.md", "main")
    metadata = split_card(path.read_text(encoding="utf-8"))[0] if path else {}
    sdk = next((sdk for sdk in SDKS if metadata.get("sdk") == sdk), SDKS[0])
    return SpaceForm(sdk, zero_gpu=metadata.get("suggested_hardware") == ZERO_GPU)


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
        if stage in FAILED:
            # The end of the log names the error; what stands before is the installation.
            lines = [str(line) for line in api.fetch_space_logs(repo, build=stage == "BUILD_ERROR")][-20:]
            raise HubtoolsError(f"The Space {repo} ended in {stage}", found="\n" + "".join(lines))
        # Any other stage, such as PAUSED or one of a Hub that runs no Spaces, does not change by waiting.
        if not stage.endswith(("BUILDING", "STARTING")) or time.monotonic() > until:
            return stage
        time.sleep(5)
