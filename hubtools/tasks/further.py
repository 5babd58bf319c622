"""What the further sources of all tasks have in common: where their files lie, and what they are not for."""

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
