"""`demo`: the whole idea in twenty seconds, and a count at the end that does not trust the agent."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli import FAILED


def demo(
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="How long the writer writes.")] = 20,
    rate: Annotated[float, typer.Option("--rate", min=1, help="Lines a second; a line is 1 to 3 KB.")] = 2000,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the files for you to look at.")] = False,
) -> None:
    """Show the agent sealing a file while its writer holds it open, then count every line.

    A writer process writes generated OTLP-JSON as the OpenTelemetry Collector does, the agent runs beside it with
    small limits, all in a temporary directory. At the end the writer's own ids are looked up in the segments and the
    live file by plain gzip. Ctrl-C ends early and still counts. Exits with 1 when a line is lost, torn or doubled.

    Example: telemetry-agent demo --seconds 10 --rate 5000
    """
    from agent.cli.demo.stage import play

    if not play(seconds, rate, keep=keep):
        raise typer.Exit(FAILED)
