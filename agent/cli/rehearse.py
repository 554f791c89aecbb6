"""`rehearse`: see what happens when something fails, before it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import FAILED
from agent.cli.options import AsJson, ConfigFile, Overrides, load
from agent.cli.output import grid, print_json, screen
from agent.kit.words import count, duration, size

if TYPE_CHECKING:
    from rich.console import Console

    from agent.config import Config, Forward
    from agent.control.drills import OutageProgress, OutageReport

app = typer.Typer(no_args_is_help=True)

_LONGEST = 86_400.0


@app.callback()
def rehearse() -> None:
    """See what happens when something fails, before it does.

    Example: telemetry-agent rehearse outage --for 30s --config agent.toml
    """


@app.command()
def outage(
    context: typer.Context,
    seconds: Annotated[str, typer.Option("--for", metavar="TIME", help="How long the collector is away.")] = "30s",
    rate: Annotated[float, typer.Option("--rate", min=1, max=20_000, help="Lines a second that are written.")] = 100,
    forward: Annotated[
        str | None, typer.Option("--forward", metavar="NAME", help="Whose patience; default: the first OTLP forward.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the files for you to look at.")] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    json: AsJson = False,
) -> None:
    """Take the collector away from an agent, bring it back, and count.

    Agent, writer, collector and directory are of the rehearsal's own: nothing of yours is touched. From your
    configuration come batch, retry, breaker and timeout of a forward. In the end the collector's own ids are held
    against the writer's. Ctrl-C ends the outage early and still counts. Exits with 1 when a record is lost, or when
    delivery did not come back.

    Example: telemetry-agent rehearse outage --for 30s --config agent.toml
    """
    from agent.cli.interrupts import interrupts
    from agent.rehearsal.outage import Outage, Plan

    chosen = _forward(load(context, config, overrides).config, forward)
    plan = Plan(seconds=span(seconds, "--for", longest=_LONGEST), rate=rate, forward=chosen, keep=keep)
    if not json:
        print(_announce(plan.forward, plan.seconds, plan.patience), flush=True)
    with interrupts() as stop:
        played = Outage(plan, (lambda _: None) if json else _tell, stop)
        try:
            report = played.play()
        finally:
            if played.kept and not json:
                print(f"The files are kept in {played.kept}.")
    if json:
        print_json(report)
    else:
        _show(report, screen())
    if not report.passed:
        raise typer.Exit(FAILED)


def span(text: str, option: str, *, longest: float) -> float:
    """A time as on every command line, in seconds from 0 to `longest`. Raises BadParameter."""
    from agent.kit.units import Duration

    try:
        seconds = 0.0 if text == "0" else float(Duration(text))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
    if not 0 <= seconds <= longest:
        raise typer.BadParameter(f"{text} is longer than {duration(longest)}", param_hint=option)
    return seconds


def _forward(config: Config, name: str | None) -> Forward:
    """The forward whose patience is rehearsed. Raises BadParameter for one that is not there."""
    from agent.config import Forward
    from agent.rehearsal.outage import NAME

    known = {one.name: one for one in config.forward if one.kind == "otlp"}
    if name is None:
        return next(iter(known.values()), Forward(name=NAME))
    if name not in known:
        there = ", ".join(known) or "none is configured"
        raise typer.BadParameter(f"no OTLP forward is called {name!r}; there are: {there}", param_hint="--forward")
    return known[name]


def _announce(forward: Forward, seconds: float, patience: float) -> str:
    breaker = forward.breaker
    return (
        f"An agent with the patience of {forward.name!r}: its circuit opens after {count(breaker.failures, 'failure')} "
        f"and tries again after {duration(breaker.recovery)}.\n"
        f"The collector will be away for {duration(seconds)}; all is delivered at most {duration(patience)} later."
    )


def _tell(now: OutageProgress) -> None:
    print(
        f"{now.at:5.1f}s  {now.phase:<9}  received {now.received:>7,}   waiting {size(now.backlog_bytes):>7}, "
        f"{now.lag_seconds:5.1f} s old   circuit {now.breaker}",
        flush=True,
    )


def _show(report: OutageReport, console: Console) -> None:
    table = grid(console, "RECORDS", "COUNT", "", right=("COUNT",))
    rows = [
        ("written", report.written, "by the writer's own count"),
        ("delivered", report.delivered, "ids that the collector has"),
        ("dead letters", report.dead_lettered, "given up by the rule of retry.max_attempts"),
        ("lost", report.lost, "ids that nobody has"),
        ("twice", report.twice, "ids that the collector got again: their answer was cut off"),
        ("strange", report.strange, "ids that nobody wrote"),
    ]
    for name, number, told in rows:
        if number or name not in ("dead letters", "strange"):
            table.add_row(name, f"{number:,}", told)
    console.print(table)
    opened = "stayed closed" if report.opened_after is None else f"opened {report.opened_after:.1f} s into it"
    console.print(
        f"The outage lasted {report.outage_seconds:.1f} s; the circuit {opened}. "
        f"At most {size(report.largest_backlog)} waited on disk, for at most {report.longest_lag:.1f} s."
    )
    if report.recovered_after is None:
        console.print("Delivery did not come back in time: this is a defect.", style="bold red")
        return
    caught_up = "not seen" if report.caught_up_after is None else f"{report.caught_up_after:.1f} s"
    console.print(
        f"After the collector's return the next record arrived in {report.recovered_after:.1f} s; "
        f"nothing old waited any more after {caught_up}."
    )
    if report.passed:
        console.print("Every record arrived, or is a dead letter by rule.", style="bold green")
    else:
        console.print("Records are missing, or strange ones arrived: this is a defect.", style="bold red")
