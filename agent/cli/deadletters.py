"""`dead-letters`: records that a destination refused for good; look at them, send them again, or let them go."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import FAILED
from agent.cli.options import AsJson, ConfigFile, Overrides, WatchedDirectory, load_managed
from agent.cli.output import grid, print_json, screen
from agent.kit.errors import printable
from agent.kit.words import count, moment, size

if TYPE_CHECKING:
    from agent.streams.deadletters import Letter

Name = Annotated[str, typer.Argument(metavar="NAME", help="The forward.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Letters; default: all.")]

app = typer.Typer(no_args_is_help=True)


@app.callback()
def dead_letters() -> None:
    """Look at records that were refused for good, and send them again.

    Example: telemetry-agent dead-letters list
    """


@app.command("list")
def list_letters(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The forward; default: all.")] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
    json: AsJson = False,
) -> None:
    """List dead letters, oldest first, without their content.

    Example: telemetry-agent dead-letters list collector
    """
    from agent.cli import reach

    found = reach.letters(load_managed(context, config, overrides, directory).config, name)
    if json:
        print_json([{"forward": consumer, **_described(one)} for consumer, one in found])
        return
    console = screen()
    if not found:
        console.print("There are no dead letters.")
        return
    table = grid(console, "FORWARD", "ID", "TIME", "STREAM", "BYTES", "CLASS", "REASON", right=("BYTES",))
    for consumer, one in found:
        table.add_row(
            consumer, one.id, moment(one.time), printable(one.stream), size(one.end - one.start), one.kind,
            printable(one.reason),
        )  # fmt: skip
    console.print(table)


def _described(one: Letter) -> dict[str, object]:
    return {field: getattr(one, field) for field in one.__struct_fields__ if field != "record"}


@app.command()
def show(
    context: typer.Context,
    name: Name,
    ids: Ids = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
) -> None:
    """Write the records themselves to standard output, one a line.

    Example: telemetry-agent dead-letters show collector 5df7db9e-4711 | jq .
    """
    from agent.cli import reach
    from agent.streams.deadletters import pick

    found = reach.letters(load_managed(context, config, overrides, directory).config, name)
    for one in pick((one for _, one in found), ids or ()):
        content = one.content
        sys.stdout.buffer.write(content if content.endswith(b"\n") else content + b"\n")
    sys.stdout.buffer.flush()


@app.command()
def replay(
    context: typer.Context,
    name: Name,
    ids: Ids = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
    json: AsJson = False,
) -> None:
    """Send dead letters again; what is taken now is deleted. Exits with 1 when not all of it was taken.

    One of which the destination refuses a part (OTLP's partial success) is taken: it does not say which part.

    Example: telemetry-agent dead-letters replay collector
    """
    from agent.cli import reach

    with reach.delivery(load_managed(context, config, overrides, directory).config) as delivery:
        done = delivery.replay_letters(name, list(ids or ()))
    if json:
        print_json(done)
    else:
        lost = f", {count(done.rejected, 'item')} of them refused and lost" if done.rejected else ""
        kept = f", {count(done.kept, 'letter')} kept: {done.message}" if done.kept else ""
        screen().print(f"{count(done.sent, 'letter')} sent{lost}{kept}.")
    if done.kept or done.rejected:
        raise typer.Exit(FAILED)


@app.command()
def drop(
    context: typer.Context,
    name: Name,
    ids: Ids = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
) -> None:
    """Delete dead letters for good.

    Example: telemetry-agent dead-letters drop collector 5df7db9e-4711
    """
    from agent.cli import reach

    if not yes:
        typer.confirm(f"Delete {', '.join(ids or ()) or 'all dead letters'} of {name} for good?", abort=True)
    with reach.delivery(load_managed(context, config, overrides, directory).config) as delivery:
        screen().print(f"{count(delivery.drop_letters(name, list(ids or ())), 'letter')} deleted.")
