"""`top`: the running agent at work, refreshed until you leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import AsJson, ConfigFile, Overrides, WatchedDirectory, load_managed

if TYPE_CHECKING:
    from agent.cli.top.look import Look, Looker
    from agent.cli.top.view import Picture


def top(
    context: typer.Context,
    interval: Annotated[
        float, typer.Option("--interval", "-n", min=0.2, max=3600, help="Seconds between looks.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look twice, an interval apart, print and end.")] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
    json: AsJson = False,
) -> None:
    """Watch streams, destinations, checks, CPU and memory of the running agent. Ctrl-C ends it.

    An agent that goes away is waited for. What is not a terminal gets one picture after the other, and with --json one
    line of JSON a look. With --once the exit code is 75 where no agent answers.

    Example: telemetry-agent top --once --json | jq .cpu_percent
    """
    from agent.cli.interrupts import interrupts
    from agent.cli.top.look import Looker
    from agent.cli.top.view import Picture

    looker = Looker(load_managed(context, config, overrides, directory).config)
    with interrupts() as stop:
        if once:
            looker.look()
            stop.wait(interval)
            _print(looker.look(), json=json, indent=True)
            return
        following = _lines if json else _pictures
        following(looker, Picture(), lambda: not stop.wait(interval))


def _print(look: Look, *, json: bool, indent: bool) -> None:
    import msgspec

    from agent.cli.output import print_json, screen
    from agent.cli.top.view import Picture

    if not json:
        screen().print(Picture().frame(screen(), look))
    elif indent:
        print_json(look)
    else:
        print(msgspec.json.encode(look).decode(), flush=True)


def _lines(looker: Looker, _: Picture, go_on: Callable[[], bool]) -> None:
    """One line of JSON a look; nothing while no agent answers."""
    while True:
        look = looker.try_look()
        if look.missing == "":
            _print(look, json=True, indent=False)
        if not go_on():
            return


def _pictures(looker: Looker, picture: Picture, go_on: Callable[[], bool]) -> None:
    """On a terminal one picture in place, else one below the other."""
    from agent.cli.output import screen

    console = screen()
    if not console.is_terminal:
        while True:
            console.print(picture.frame(console, looker.try_look()))
            console.print()
            console.file.flush()
            if not go_on():
                return
    from rich.live import Live

    with Live(console=console, auto_refresh=False, screen=True, vertical_overflow="crop") as live:
        while True:
            live.update(picture.frame(console, looker.try_look(), height=console.height), refresh=True)
            if not go_on():
                return
