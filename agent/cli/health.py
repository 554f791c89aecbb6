"""`health`: everything judged, with the exit codes of monitoring plug-ins."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import AsJson, ConfigFile, Invocation, Overrides, WatchedDirectory, load_managed
from agent.cli.output import grid, print_json, screen
from agent.kit.errors import AgentError, printable
from agent.kit.words import duration

if TYPE_CHECKING:
    from agent.web.messages import Health

UNKNOWN = 3
_CODES = {"healthy": 0, "degraded": 1, "unhealthy": 2}
_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
"""What monitoring plug-ins call their exit codes."""


def health(
    context: typer.Context,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Only ask whether the main loop lives: exit code 0 or 1, and fast.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Judge everything: what the running agent says, or one run of every check where none runs.

    Exit codes as monitoring plug-ins have them: 0 healthy, 1 degraded, 2 unhealthy, 3 not to be found out.

    Example: telemetry-agent health || echo "look at it"
    """
    from agent.cli import reach

    if probe:
        raise typer.Exit(_probe(context.obj, config, overrides, directory))
    try:
        answer = reach.health(load_managed(context, config, overrides, directory).config)
    except AgentError as error:
        print(f"UNKNOWN: {printable(str(error))}")
        raise typer.Exit(UNKNOWN) from error
    code = verdict(answer)
    if json:
        print_json(answer)
    else:
        show(answer, code)
    raise typer.Exit(code)


def _probe(before: Invocation, config: str | None, overrides: list[str] | None, directory: str | None) -> int:
    """What `quick` could not read: as in `-cFILE`, or beside `--debug`."""
    from agent.cli.probe import probe

    given = [*before.overrides, *(overrides or ())]
    return probe(config or before.config, given, directory or before.directory)


def verdict(answer: Health) -> int:
    """The exit code; unknown where not one check found anything out."""
    if answer.status == "healthy" and answer.checks and not any(check.level for check in answer.checks):
        return UNKNOWN
    return _CODES[answer.status]


def show(answer: Health, code: int) -> None:
    """A line for the monitoring system, then a table."""
    fine = sum(check.level == 1 for check in answer.checks)
    said = "; ".join(answer.issues) or f"{fine} of {len(answer.checks)} checks are healthy"
    alone = "" if answer.components else "; no agent is running here, each was run once now"
    print(f"{_WORDS[code]}: {printable(said)}{alone}")
    console = screen()
    table = grid(console, "CHECK", "STATE", "LOOKED", "MESSAGE")
    now = time.time()
    for check in answer.checks:
        ago = "never" if check.last_run is None else f"{duration(now - check.last_run)} ago"
        table.add_row(check.name, check.state, ago, printable(check.message))
    console.print(table)
