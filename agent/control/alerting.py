"""What can be asked about alerts: rules, who is told, silences."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec


class AlertStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that is not at rest."""

    state: Literal["pending", "firing", "resolved"]
    """A resolved one is shown for a while."""
    labels: dict[str, str]
    value: float | None
    """The newest one while the condition held; null for one that JSON has no number for."""
    description: str
    since: float
    """When the condition began to hold."""
    fired: float | None = None
    resolved: float | None = None


class AlertRuleStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of `[[alert]]`, and its alerts."""

    name: str
    when: str
    for_seconds: float
    severity: str
    notify: list[str]
    state: Literal["inactive", "pending", "firing"]
    """The worst of its alerts."""
    silenced_until: float | None = None
    silence_comment: str = ""
    error: str = ""
    """Why the expression has no value; its alerts stay as they were then."""
    note: str = ""
    """What looks like a mistake: a metric that there is not."""
    alerts: list[AlertStatus] = []


class NotifierStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is told. Counts are since the start; an entry with several URLs is counted as one."""

    name: str
    kind: str
    sent: int
    failures: int
    failing: bool
    """The newest try failed; it is repeated."""
    last_success: float | None = None
    last_error: str = ""


class AlertsStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Every rule and every notifier."""

    evaluated: float | None = None
    """When the rules were last evaluated."""
    rules: list[AlertRuleStatus] = []
    notifiers: list[NotifierStatus] = []


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What a notifier said to a message that was sent to try it."""

    notifier: str
    ok: bool
    message: str = ""


class Alerting(Protocol):
    """What can be asked about alerts. As `Control`: from any thread, AgentError with what, where and a hint."""

    def alerts(self) -> AlertsStatus:
        """Every rule and notifier, as after the newest evaluation."""
        ...

    def test_alert(self, name: str, *, timeout: float = 60.0) -> list[Trial]:
        """Send a message that says it is a test to everybody whom this alert's rule notifies."""
        ...

    def silence(self, name: str, seconds: float, comment: str, *, timeout: float = 10.0) -> AlertsStatus:
        """Tell nobody that this rule's alerts fire, for so long; 0 ends a silence."""
        ...
