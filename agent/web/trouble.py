"""What needs an operator, sorted and worded: what it is, why, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from agent.control import AlertsStatus, CheckStatus, Status, StreamStatus
from agent.health.check import Level
from agent.kit.words import size
from agent.web.messages import Part

Grade = Literal["ok", "warn", "bad"]

_NAMED = 20
"""Streams that are named; the others are counted."""


class Trouble(NamedTuple):
    """One thing that is not as it should be."""

    grade: Grade
    what: str
    why: str
    todo: str


def troubles(stuck: list[str], parts: list[Part], checks: list[CheckStatus], status: Status | None) -> list[Trouble]:
    """The worst first; what two of them say in the same words is said once."""
    found = [Trouble("bad", "main loop", why, "see the agent's log; its service manager should restart it")
             for why in stuck]  # fmt: skip
    streams = list(_streams(status.streams)) if status else []
    # The check of all streams says in one sentence what is said of each here.
    found += [*_parts(parts), *_checks([check for check in checks if not (streams and check.name == "streams")])]
    found += [*(_directory(status) if status else ()), *streams]
    once: dict[str, Trouble] = {}
    for one in found:
        once.setdefault(one.why, one)
    return sorted(once.values(), key=lambda one: one.grade != "bad")


def alerting(alerts: AlertsStatus) -> Iterator[Trouble]:
    """Alerts that fire and are not silenced, and rules that cannot be evaluated."""
    for rule in alerts.rules:
        if rule.error:
            yield Trouble("warn", f"alert {rule.name}", rule.error, "run: telemetry-agent alerts")
        if rule.silenced_until is not None:
            continue
        for alert in rule.alerts:
            if alert.state == "firing":
                why = alert.description or f"{rule.when} (now {alert.value})"
                grade: Grade = "bad" if rule.severity == "critical" else "warn"
                yield Trouble(grade, f"alert {rule.name}", why, "run: telemetry-agent alerts")


def _parts(parts: list[Part]) -> Iterator[Trouble]:
    for part in parts:
        if part.state in ("starting", "degraded", "failed"):
            why = part.message or f"it is {part.state}"
            yield Trouble("bad" if part.state == "failed" else "warn", part.name, why, part.hint)


def _checks(checks: list[CheckStatus]) -> Iterator[Trouble]:
    for check in checks:
        if check.level > Level.HEALTHY:
            yield Trouble("bad" if check.level == Level.UNHEALTHY else "warn", check.name, check.message, check.hint)
        elif check.level == Level.UNKNOWN and check.last_run is not None:
            yield Trouble("warn", check.name, check.message or "nothing could be found out", check.hint)


def _directory(status: Status) -> Iterator[Trouble]:
    directory = status.directory
    for problem in directory.problems or (["it is above its critical size"] if directory.critical else []):
        todo = "lower the limits in [rotation] and [retention], or give it more room"
        yield Trouble("bad" if directory.critical else "warn", directory.path, problem, todo)


def _streams(streams: list[StreamStatus]) -> Iterator[Trouble]:
    bad = [stream for stream in streams if stream.state in ("refused", "failing")]
    for stream in bad[:_NAMED]:
        why, _, todo = stream.why.rpartition("; ")
        yield Trouble("warn", stream.name, f"{stream.state}: {why or todo}", todo if why else "")
    if len(bad) > _NAMED:
        yield Trouble("warn", f"{len(bad) - _NAMED} more streams", "refused or failing", "run: telemetry-agent status")
    lost = [stream for stream in streams if stream.lost_bytes]
    for stream in lost[:_NAMED]:
        why = f"lost at least {size(stream.lost_bytes)} since the agent started"
        yield Trouble("bad", stream.name, why, f"run: telemetry-agent audit --stream {stream.name}")
