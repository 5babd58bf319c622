"""The command that goes back to an older release: ``hubtools rollback``."""

from __future__ import annotations

from typing import Annotated

import typer

from hubtools.option_groups import omit, takes_groups
from hubtools.options import DryRun, HubOptions, Json, WorkOptions, show


@takes_groups
def rollback(
    repo: Annotated[
        str,
        typer.Argument(
            metavar="REPO",
            help="A published model or dataset, owner/name; datasets/owner/name where a model is called the same.",
        ),
    ],
    *,
    to: Annotated[str, typer.Option("--to", metavar="TAG", help="The release to go back to, such as v1.")],
    dry_run: DryRun = False,
    hub: Annotated[HubOptions, omit("mirrors")],
    work: WorkOptions,
    json_output: Json = False,
) -> None:
    """Make an older release main again, as a new commit and tag; Space and collection of the work folder follow."""
    hub.connect()
    from hubtools.publishing.changes import Change
    from hubtools.rollback import roll_back_repo

    done = roll_back_repo(repo, to, work, dry_run=dry_run)
    lines = [one.card.rstrip("\n") if isinstance(one, Change) else getattr(one, "url", "") for one in done.values()]
    show(done, json_output, [line for line in lines if line])
