"""`cursors`: where each consumer stands, and how to make it stand elsewhere."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from time import time as now
from typing import Annotated

import typer

from agent.cli.options import AsJson, ConfigFile, Invocation, Overrides, WatchedDirectory, load_managed
from agent.cli.output import grid, print_json, screen
from agent.control import CursorStatus
from agent.kit.errors import printable
from agent.kit.units import Duration
from agent.kit.words import duration, size

app = typer.Typer(invoke_without_command=True)


@app.callback()
def cursors(
    context: typer.Context,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
    json: AsJson = False,
) -> None:
    """Show how far each consumer is behind each stream. Consumers that are no longer configured are orphaned.

    Example: telemetry-agent cursors --json | jq '.[] | select(.lag_seconds > 60)'
    """
    if context.invoked_subcommand:
        before: Invocation = context.obj
        before.config, before.directory = config or before.config, directory or before.directory
        before.overrides += overrides or ()
        return
    from agent.cli import reach

    rows = reach.cursors(load_managed(context, config, overrides, directory).config)
    if json:
        print_json(rows)
    else:
        _show(rows)


def _show(rows: list[CursorStatus]) -> None:
    console = screen()
    if not rows:
        console.print("There is no cursor yet: no [[forward]] has met a stream that it selects.")
        return
    right = ("POSITION", "END", "BEHIND", "RECORDS", "AGE")
    table = grid(console, "FORWARD", "STREAM", *right, "IN FLIGHT", "", right=right)
    for one in rows:
        records = "?" if one.lag_records is None else f"{one.lag_records:,}"
        table.add_row(
            one.consumer, printable(one.stream), str(one.position), str(one.end), size(one.lag_bytes), records,
            duration(one.lag_seconds), str(one.in_flight), "orphaned: holds nothing" if one.orphaned else "",
        )  # fmt: skip
    console.print(table)


@app.command()
def reset(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The forward.")],
    to: Annotated[
        str, typer.Option("--to", metavar="POS|TIME", help="`earliest`, `latest`, a position, a time, or `10m` ago.")
    ],
    streams: Annotated[
        list[str] | None, typer.Option("--stream", metavar="STREAM", help="Only this stream; repeatable.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
    json: AsJson = False,
) -> None:
    """Make a forward go on from elsewhere: back sends again, forth leaves out. A time is `2026-11-22T10:00:00`, local.

    Example: telemetry-agent cursors reset collector --to 2026-11-22T10:00:00
    """
    from agent.cli import reach

    position, time = target(to)
    chosen = ", ".join(streams or ()) or "all its streams"
    if not yes:
        typer.confirm(f"Set {name} to {to} in {chosen}? Records are sent twice, or never.", abort=True)
    with reach.delivery(load_managed(context, config, overrides, directory).config) as delivery:
        rows = delivery.reset_cursor(name, list(streams or ()), position=position, time=time)
    if json:
        print_json(rows)
    else:
        _show(rows)


def target(text: str) -> tuple[int | None, float | None]:
    """What `--to` says, as a position or a time in seconds since 1970 UTC. Raises BadParameter."""
    if text == "earliest":
        return 0, None
    if text == "latest":
        return 2**62, None
    if text.isdecimal():
        return int(text), None
    with suppress(ValueError):
        return None, now() - Duration(text)
    try:
        return None, datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither earliest, latest, a position, a time nor a span") from None
