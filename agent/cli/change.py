"""`rotate`, `cleanup`, `reload`: the commands that change something, through the running agent or with its lock."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli import BAD_CONFIG, FAILED
from agent.cli.options import AsJson, ConfigFile, Overrides, WatchedDirectory, load_managed
from agent.cli.output import grid, print_json, screen
from agent.control import PlanItem, Reloaded, Rotated
from agent.kit.errors import printable
from agent.kit.words import count, size


def rotate(
    context: typer.Context,
    streams: Annotated[
        list[str] | None, typer.Argument(metavar="[STREAM]...", help="Files below the directory; default: all.")
    ] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
    json: AsJson = False,
) -> None:
    """Seal what the live files hold now, whatever the rules say.

    Exits with 1 when a stream failed, or one that was named is refused.

    Example: telemetry-agent rotate traces.json
    """
    from agent.cli import reach

    names = list(streams or ())
    with reach.control(load_managed(context, config, overrides, directory).config) as control:
        done = control.rotate(names)
    if json:
        print_json(done)
    else:
        _show_rotated(done)
    bad = {"failed", "refused"} if names else {"failed"}
    if any(one.outcome in bad for one in done):
        raise typer.Exit(FAILED)


def _show_rotated(done: list[Rotated]) -> None:
    console = screen()
    if not done:
        console.print("There is no stream to rotate.")
        return
    table = grid(console, "STREAM", "OUTCOME", "RECORDS", "BYTES", "SEGMENT", "", right=("RECORDS", "BYTES"))
    for one in done:
        numbers = (f"{one.records:,}", size(one.bytes)) if one.outcome == "sealed" else ("", "")
        table.add_row(printable(one.stream), one.outcome, *numbers, printable(one.segment), one.message)
    console.print(table)


def cleanup(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
    json: AsJson = False,
) -> None:
    """Do once everything that is due: rotation, then retention. What a cron job calls where no agent runs.

    Exits with 1 when something that was due could not be done.

    Example: telemetry-agent cleanup --dry-run
    """
    from agent.cli import reach

    with reach.control(load_managed(context, config, overrides, directory).config) as control:
        items = control.cleanup(dry_run=dry_run)
    if json:
        print_json(items)
    else:
        _show_plan(items, dry_run)
    if not dry_run and any(not item.done for item in items):
        raise typer.Exit(FAILED)


def _show_plan(items: list[PlanItem], dry_run: bool) -> None:
    console = screen()
    if not items:
        console.print("Nothing is due.")
        return
    table = grid(console, "ACTION", "STREAM", "TARGET", "BYTES", "REASON", "OUTCOME", right=("BYTES",))
    for item in items:
        outcome = "would be done" if dry_run else "done" if item.done else "failed"
        told = f"{outcome}: {item.message}" if item.message else outcome
        table.add_row(item.action, printable(item.stream), printable(item.target), size(item.bytes), item.reason, told)
    console.print(table)
    retired = [item for item in items if item.action == "retire" and (dry_run or item.done)]
    freed = size(sum(item.bytes for item in retired))
    verb = "would be deleted" if dry_run else "deleted"
    console.print(f"{count(len(retired), 'segment')} {verb}, {freed}.")


def reload(
    context: typer.Context,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
    json: AsJson = False,
) -> None:
    """Make the running agent read its configuration again; a bad one changes nothing (exit code 78).

    Example: telemetry-agent check-config && telemetry-agent reload
    """
    from agent.cli import reach

    managed = load_managed(context, config, overrides, directory).config
    agent = reach.running(managed)
    if agent is None:
        raise reach.UnreachableError(
            "no agent is running for this directory",
            path=managed.files.directory,
            hint="there is nothing to reload; a start reads the configuration anyway",
        )
    answer = agent.reload()
    if json:
        print_json(answer)
    else:
        _show_reloaded(answer)
    if not answer.ok:
        raise typer.Exit(BAD_CONFIG)


def _show_reloaded(answer: Reloaded) -> None:
    console = screen()
    if not answer.ok:
        console.print(f"The configuration stays as it was: {answer.message}", style="red")
        return
    changed = ", ".join(answer.changed)
    console.print(f"Reloaded; changed: {changed}." if changed else "Reloaded; nothing has changed.")
    if answer.restart_needed:
        console.print(f"Only a restart brings into force: {', '.join(answer.restart_needed)}.", style="yellow")
