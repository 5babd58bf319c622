"""The embedded Hub's own commands: ``hubtools hub ...``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hubtools.errors import HubUnavailable
from hubtools.option_groups import omit, takes_groups
from hubtools.options import HubOptions, Json, show

app = typer.Typer(help="The embedded Hub on its own.", no_args_is_help=True, rich_markup_mode=None)

# These commands are about the embedded Hub itself: --hub has nothing to choose.
DataFolder = Annotated[HubOptions, omit("hub", "mirrors")]
DataFolderAndMirrors = Annotated[HubOptions, omit("hub")]


@app.command("serve")
@takes_groups
def serve_hub(
    hub: DataFolderAndMirrors,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes the one used last, or a free one.")] = 0,
) -> None:
    """Serve the embedded Hub in this terminal, until Ctrl-C."""
    from hubtools.localhub import default_dir, serve

    serve(hub.hub_dir or default_dir(), hub.mirrors, port)


@app.command("start")
@takes_groups
def start_hub(hub: DataFolderAndMirrors, json_output: Json = False) -> None:
    """Start the embedded Hub in the background, where it is not running, and print its address."""
    from hubtools.localhub import default_dir, start

    started = start(hub.hub_dir or default_dir(), hub.mirrors)
    facts = {"url": started.url, "pid": started.pid, "data_dir": str(started.data_dir)}
    show(facts, json_output, [started.url])


@app.command("stop")
@takes_groups
def stop_hub(hub: DataFolder) -> None:
    """Stop the embedded Hub; what was pushed to it stays."""
    from hubtools.localhub import default_dir, stop

    folder = hub.hub_dir or default_dir()
    # Not on stdout: it is no data.
    print("stopped" if stop(folder) else f"no Hub runs on {folder}", file=sys.stderr)


@app.command("status")
@takes_groups
def print_status(hub: DataFolder, json_output: Json = False) -> None:
    """Say whether the embedded Hub runs, and where; exit code 1 where it does not."""
    from hubtools.localhub import default_dir, find

    folder = hub.hub_dir or default_dir()
    running = find(folder)
    status = {"running": running is not None, "url": running.url if running else None, "data_dir": str(folder)}
    show(status, json_output, [running.url if running else f"no Hub runs on {folder}"])
    if running is None:
        raise typer.Exit(1)  # so that a script can ask


@app.command("env")
@takes_groups
def print_exports(hub: DataFolder) -> None:
    """Lines for eval "$(hubtools hub env)": they point the Hub's own clients at the embedded Hub."""
    from hubtools.localhub import default_dir, find, shell_exports

    folder = hub.hub_dir or default_dir()
    running = find(folder)
    if running is None:
        raise HubUnavailable(f"No Hub runs on {folder}", next="hubtools hub start")
    print(shell_exports(running))
