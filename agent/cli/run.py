"""`run`: the agent itself, in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli.options import ConfigFile, Overrides, load_managed


def run(
    context: typer.Context,
    directory: Annotated[
        str | None, typer.Argument(metavar="[DIR]", help="The directory to watch, instead of files.directory.")
    ] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Watch a directory: rotate, compress, keep in bounds, serve metrics.

    SIGTERM and SIGINT finish the running step and leave; SIGHUP reads the configuration again; SIGUSR1 rotates now.

    Example: telemetry-agent run /var/lib/telemetry --set rotation.max_size=20MB
    """
    from agent import app

    raise typer.Exit(app.run(load_managed(context, config, overrides, directory)))
