"""The keys of `[alerts]`, `[[alert]]` and `[[notifier]]`: what is watched, and who is told."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agent.kit.units import Duration


class Alerts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all alerts have in common. Without an entry of `[[alert]]` nothing is evaluated."""

    interval: Duration = Duration("15s")
    """Time between two evaluations."""
    resend: Duration = Duration("1m")
    """How often an Alertmanager is told again of what still fires; it forgets an alert after four times this."""
    labels: dict[str, str] = {}
    """Labels that every alert gets, beside `alertname`, `severity`, `service` and `instance`. Give `instance` here
    where the host's name does not tell hosts apart."""


class Alert(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A condition over the agent's own metrics, and who is told when it holds.

    Needs the extra `alerts`. Each series that the expression gives is an alert of its own.
    """

    name: Annotated[str, Meta(examples=["busy"])]
    """Name, in the label `alertname`; unique."""
    when: Annotated[str, Meta(examples=["system_cpu_usage_percent > 80"])]
    """PromQL; which part of it is evaluated is said in the README under "Alert without Alertmanager"."""
    for_: Duration = Duration("5m")
    """How long the condition must hold, at every evaluation, before the alert fires."""
    severity: Literal["info", "warning", "critical"] = "warning"
    """The label `severity`."""
    cooldown: Duration = Duration("5m")
    """Shortest time between two messages that the same alert fires; one that fires again before waits that long. An
    Alertmanager is told everything: it has rules of its own."""
    repeat: Duration | None = None
    """Time after which a message about an alert that still fires is sent again; at least `cooldown`. Off: once."""
    description: str = ""
    """Text of the message. `{{ value }}`, `{{ labels.NAME }}`, `{{ name }}` and `{{ severity }}` stand for what they
    name. Empty: the expression and its value."""
    notify: tuple[str, ...] = ()
    """Names of `[[notifier]]` entries. Empty: the alert is only shown."""


class Notification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody to tell.

    An Alertmanager, or with the extra `apprise` any service that Apprise knows: webhooks, e-mail, PagerDuty, Slack
    and a hundred others.
    """

    name: Annotated[str, Meta(examples=["operators"])]
    """Name in `alert.notify`, metrics and logs: letters, digits, `_` and `-`; unique."""
    kind: Literal["apprise", "alertmanager"] = "apprise"
    """`apprise` sends messages to Apprise URLs, `alertmanager` alerts to `/api/v2/alerts`."""
    urls: Annotated[tuple[str, ...], Meta(extra={"secret": True}, examples=[("json://127.0.0.1:8080/hook",)])]
    """Apprise URLs: every one gets each message. Or the base URLs of the Alertmanagers of one cluster: each is told,
    and one that listens is enough. `${env:NAME}` stands for a variable, `${file:/path}` for a file's content."""
    timeout: Duration = Duration("10s")
    """Time for a request."""
    ca_file: str = ""
    """PEM file of the only authorities to trust, for an Alertmanager. Empty: the system's."""
