"""What the further sources of all tasks have in common, and the benchmark of our own that each task has."""

from __future__ import annotations

from dataclasses import replace

from hubtools.spec import Source


def locate_on_github(repo: str, commit: str) -> str:
    """Return the address of the files of a repository at a commit, with ``{file}`` for a path in it."""
    return f"https://raw.githubusercontent.com/{repo}/{commit}/{{file}}"


def join_further(*sources: Source) -> tuple[Source, ...]:
    """Return the sources that join a task's named one.

    None of them says how a user's own rows are laid out: most have no column of labels.
    """
    return tuple(replace(source, layout=False) for source in sources)


def make_benchmark(source: Source, task: str) -> Source:
    """Return the benchmark of our own writing of a task, whose rows have the columns of ``source``."""
    return replace(
        source,
        id=f"hubtools/benchmark-{task}",
        files={"": ("data.jsonl",)},
        role="test",
        name="written-apart",
        url="",
        starter=True,
        layout=False,
        license="apache-2.0",
        attribution="Texts of hubtools' own writing, by authors who saw nothing that is trained on.",
        provenance="Its authors labelled what they wrote.",
        annotators="expert-generated",
        caveat="A few authors; most texts are in English.",
    )
