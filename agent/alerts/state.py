"""From what an expression gives to alerts that are pending, firing or resolved. Pure: values in, values out.

Invariants: an alert is its rule and its labels, so the same trouble is never two alerts; it fires once its condition
held at every evaluation for the rule's time, measured by a clock that never jumps; a resolved one is remembered until
everybody was told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from agent.alerts.rule import Rule, describe
from agent.alerts.vector import Labels, Vector, without_name

State = Literal["pending", "firing", "resolved"]

REMEMBERED = 900.0
"""Seconds for which a resolved alert is kept, as in Prometheus, so that a late Alertmanager hears of its end."""


class Active(msgspec.Struct, frozen=True, kw_only=True):
    """One alert. Times are seconds since 1970 UTC."""

    rule: str
    labels: dict[str, str]
    """All of them, `alertname` and `severity` too."""
    state: State
    since: float
    """When the condition began to hold."""
    held: float = 0.0
    """Seconds for which it held."""
    fired: float | None = None
    resolved: float | None = None
    value: float | None
    """The newest one while the condition held; None for infinities and NaN, which JSON has not."""
    description: str
    notify: tuple[str, ...] = ()


Key = tuple[str, Labels]
"""Rule and labels: what an alert is."""


class Change(NamedTuple):
    """An alert that went from one state to another."""

    alert: Active
    before: str


def key_of(alert: Active) -> Key:
    """What tells it apart."""
    return alert.rule, tuple(sorted(alert.labels.items()))


def advance(
    rule: Rule, known: Mapping[Key, Active], vector: Vector, common: Mapping[str, str], *, now: float, elapsed: float
) -> tuple[dict[Key, Active], list[Change]]:
    """The rule's alerts after an evaluation that came `elapsed` seconds after the one before, and what changed.

    `common` are labels of all alerts; those of a series win over them.
    """
    found: dict[Key, Active] = {}
    changes: list[Change] = []
    for series, value in vector.items():
        labels = {**common, **dict(without_name(series)), "alertname": rule.name, "severity": rule.alert.severity}
        text = describe(rule.alert, labels, value)
        fresh = Active(rule=rule.name, labels=labels, state="pending", since=now, value=_finite(value),
                       description=text, notify=rule.alert.notify)  # fmt: skip
        old = known.get(key_of(fresh))
        alert = _holds(rule, old, fresh, now, elapsed)
        found[key_of(alert)] = alert
        before = old.state if old else "inactive"
        if alert.state != before:
            changes.append(Change(alert, before))
    for key, old in known.items():
        if key not in found and (ended := end(old, now)):
            found[key] = ended
            if old.state != "resolved":
                changes.append(Change(ended, old.state))
    return found, changes


def _holds(rule: Rule, old: Active | None, fresh: Active, now: float, elapsed: float) -> Active:
    if old is None or old.state == "resolved":
        alert = fresh
    else:
        alert = msgspec.structs.replace(
            old, value=fresh.value, description=fresh.description, notify=fresh.notify, held=old.held + elapsed
        )
    if alert.state == "pending" and alert.held >= rule.alert.for_:
        return msgspec.structs.replace(alert, state="firing", fired=now)
    return alert


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def end(alert: Active, now: float) -> Active | None:
    """An alert whose condition does not hold any more; None for one that never fired."""
    if alert.state == "pending":
        return None
    return alert if alert.state == "resolved" else msgspec.structs.replace(alert, state="resolved", resolved=now)
