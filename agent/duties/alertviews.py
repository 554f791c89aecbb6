"""What is shown of alerts: values made anew after each step of the alerter."""

from __future__ import annotations

from collections.abc import Iterable

from agent.alerts.book import Book
from agent.alerts.outlet import Outlet
from agent.alerts.rule import Rule
from agent.alerts.state import Active
from agent.control import AlertRuleStatus, AlertsStatus, AlertStatus, NotifierStatus


def view(book: Book, outlets: Iterable[Outlet], evaluated: float | None, now: float) -> AlertsStatus:
    """Every rule with its alerts, every notifier with its numbers."""
    return AlertsStatus(
        evaluated=evaluated,
        rules=[_rule(rule, book, now) for rule in book.rules],
        notifiers=_notifiers(outlets),
    )


def _rule(rule: Rule, book: Book, now: float) -> AlertRuleStatus:
    active = [alert for alert in book.active.values() if alert.rule == rule.name]
    states = {alert.state for alert in active}
    silence = book.silences.get(rule.name)
    silenced = silence if silence and silence.until > now else None
    missing = sorted(book.missing & rule.metrics())
    return AlertRuleStatus(
        name=rule.name,
        when=rule.alert.when,
        for_seconds=float(rule.alert.for_),
        severity=rule.alert.severity,
        notify=list(rule.alert.notify),
        state="firing" if "firing" in states else "pending" if "pending" in states else "inactive",
        silenced_until=silenced.until if silenced else None,
        silence_comment=silenced.comment if silenced else "",
        error=book.errors.get(rule.name, ""),
        note=f"there is no metric {', '.join(missing)} now" if missing else "",
        alerts=sorted(map(_alert, active), key=lambda one: (one.since, sorted(one.labels.items()))),
    )


def _alert(alert: Active) -> AlertStatus:
    return AlertStatus(
        state=alert.state, labels=alert.labels, value=alert.value, description=alert.description, since=alert.since,
        fired=alert.fired, resolved=alert.resolved,
    )  # fmt: skip


def _notifiers(outlets: Iterable[Outlet]) -> list[NotifierStatus]:
    """One for each name: what happened at its URLs together."""
    by_name: dict[str, list[Outlet]] = {}
    for outlet in outlets:
        by_name.setdefault(outlet.notifier, []).append(outlet)
    return [
        NotifierStatus(
            name=name,
            kind=some[0].kind,
            sent=sum(one.numbers.sent for one in some),
            failures=sum(one.numbers.failures for one in some),
            failing=any(one.failed for one in some),
            last_success=max((one.numbers.last_success for one in some if one.numbers.last_success), default=None),
            last_error="; ".join(one.numbers.last_error for one in some if one.numbers.last_error),
        )
        for name, some in by_name.items()
    ]
