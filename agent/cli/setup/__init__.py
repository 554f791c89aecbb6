"""`setup`: what makes the agent a part of the machine: a systemd service, a cron job, git's ignore patterns."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from agent.cli.options import ConfigFile, Overrides, WatchedDirectory, load_managed

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be written and run.")]

app = typer.Typer(no_args_is_help=True)


@app.callback()
def setup() -> None:
    """Make the agent a part of this machine: a systemd service, a cron job, git's ignore patterns.

    Example: telemetry-agent setup systemd --directory /var/lib/otelcol --dry-run
    """


@app.command()
def systemd(
    directory: Annotated[str, typer.Option("--directory", "-d", metavar="DIR", help="The directory to watch.")],
    timer: Annotated[
        bool, typer.Option("--timer", help="No service that always runs: `cleanup` every five minutes.")
    ] = False,
    extra: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAME", help="Also remote-scraping, processes or root; repeatable."),
    ] = None,
    root: Annotated[
        str, typer.Option("--root", metavar="PATH", help="Install into this image, and start nothing.")
    ] = "/",
    dry_run: DryRun = False,
) -> None:
    """Install and start the hardened unit, with the user and the paths that fit DIR and its files.

    To give space back in foreign files takes their owner's rights: the unit runs as the one user who owns the
    telemetry files, or as root with four capabilities where they have several owners. Needs root.

    Example: telemetry-agent setup systemd --directory /var/lib/otelcol --dry-run
    """
    from agent.cli.setup import place, plan, units

    found = place.survey(os.path.abspath(directory), place.settings(root))
    todo = units.installation(found, root=root, timer=timer, extra=tuple(extra or ()))
    if dry_run:
        plan.show(todo)
    else:
        plan.carry_out(todo)


@app.command("cron")
def cron_line(
    context: typer.Context,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
) -> None:
    """Print the line for a crontab that calls `cleanup` every five minutes; it speaks only when something fails.

    Example: telemetry-agent setup cron --directory /var/lib/otelcol | crontab -u otel -
    """
    from agent.cli.setup import cron

    loaded = load_managed(context, config, overrides, directory)
    print(cron.line(os.path.abspath(loaded.config.files.directory), loaded.path, loaded.overrides))


@app.command("gitignore")
def ignore(directory: WatchedDirectory = None, dry_run: DryRun = False) -> None:
    """Add what must never be committed to the repository's .gitignore: telemetry, segments and the agent's state.

    Patterns that are there already are not added again. A DIR inside the repository is ignored too.

    Example: telemetry-agent setup gitignore --directory ./telemetry
    """
    from agent.cli.setup import gitignore, plan

    todo = gitignore.patterns(os.getcwd(), os.path.abspath(directory) if directory else "")
    if dry_run:
        plan.show(todo)
    else:
        plan.carry_out(todo)
