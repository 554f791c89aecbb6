"""`alerts`: what fires, who is told, and whether messages arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import FAILED
from agent.cli.options import AsJson, ConfigFile, Overrides, WatchedDirectory, load_managed
from agent.cli.output import grid, print_json, screen
from agent.cli.since import span
from agent.control import AlertRuleStatus, AlertsStatus, Trial
from agent.kit.errors import printable
from agent.kit.units import Duration
from agent.kit.words import duration, moment

if TYPE_CHECKING:
    from agent.config import Config


def alerts(
    context: typer.Context,
    test: Annotated[
        str | None, typer.Option("--test", metavar="NAME", help="Send a test message to all whom this alert notifies.")
    ] = None,
    silence: Annotated[
        str | None, typer.Option("--silence", metavar="NAME", help="Tell nobody about this alert for a while.")
    ] = None,
    unsilence: Annotated[str | None, typer.Option("--unsilence", metavar="NAME", help="End a silence.")] = None,
    silent_for: Annotated[
        Duration | None,
        typer.Option("--for", metavar="DURATION", parser=span, help="How long to be silent; 2h where not given."),
    ] = None,
    comment: Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why it is silenced.")] = "",
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
    json: AsJson = False,
) -> None:
    """List alerts of the running agent, try out who is told, silence one.

    Exits with 1 when an alert fires that is not silenced, when a rule cannot be evaluated, or when a test message was
    not taken; with 75 when no agent runs, but --test works without one.

    Example: telemetry-agent alerts --test busy
    """
    from agent.cli import reach

    if sum(one is not None for one in (test, silence, unsilence)) > 1:
        raise typer.BadParameter("--test, --silence and --unsilence exclude each other")
    managed = load_managed(context, config, overrides, directory).config
    if test is not None:
        _try(managed, test, json)
        return
    agent = reach.alerting(managed)
    if silence is not None or unsilence is not None:
        seconds = 0.0 if silence is None else float(silent_for or Duration("2h"))
        answer = agent.silence(silence or unsilence or "", seconds, comment)
    else:
        answer = agent.alerts()
    if json:
        print_json(answer)
    else:
        _show(answer)
    if silence is None and unsilence is None and any(_is_finding(rule) for rule in answer.rules):
        raise typer.Exit(FAILED)


def _is_finding(rule: AlertRuleStatus) -> bool:
    return bool(rule.error) or (rule.state == "firing" and rule.silenced_until is None)


def _try(config: Config, name: str, json: bool) -> None:
    from agent.cli import reach

    told = reach.test_alert(config, name)
    if json:
        print_json(told)
    else:
        _show_tested(told)
    if not all(one.ok for one in told):
        raise typer.Exit(FAILED)


def _show_tested(told: list[Trial]) -> None:
    console = screen()
    table = grid(console, "NOTIFIER", "OUTCOME", "")
    for one in told:
        table.add_row(one.notifier, "taken" if one.ok else "failed", printable(one.message))
    console.print(table)


def _show(answer: AlertsStatus) -> None:
    console = screen()
    if not answer.rules:
        console.print("No alert is configured.")
        return
    now = answer.evaluated or 0.0
    table = grid(console, "ALERT", "STATE", "SEVERITY", "SINCE", "VALUE", "WHAT", right=("VALUE",))
    for rule in answer.rules:
        state = f"silenced until {moment(rule.silenced_until)}" if rule.silenced_until else ""
        why = rule.error or rule.note or rule.when
        if not rule.alerts:
            word = "cannot be evaluated" if rule.error else state or "inactive"
            table.add_row(rule.name, word, rule.severity, "", "", printable(why))
        for alert in rule.alerts:
            word = f"{alert.state}, {state}" if state and alert.state == "firing" else alert.state
            value = "" if alert.value is None else f"{alert.value:g}"
            since = f"{duration(now - alert.since)} ago"
            table.add_row(rule.name, word, rule.severity, since, value, printable(alert.description))
    console.print(table)
    for rule in answer.rules:
        if rule.silenced_until:
            why = f": {printable(rule.silence_comment)}" if rule.silence_comment else ""
            console.print(f"{rule.name} is silenced until {moment(rule.silenced_until)}{why}")
    if answer.notifiers:
        notifiers = grid(console, "NOTIFIER", "KIND", "SENT", "FAILED", "STATE", right=("SENT", "FAILED"))
        for one in answer.notifiers:
            state = f"failing: {one.last_error}" if one.failing else "ok" if one.last_success else "not used yet"
            notifiers.add_row(one.name, one.kind, str(one.sent), str(one.failures), printable(state))
        console.print(notifiers)
