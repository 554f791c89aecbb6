"""Notifiers of the configuration become outlets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from agent.alerts.message import Sender
from agent.alerts.outlet import Outlet
from agent.config.alerts import Notification
from agent.kit.clock import Clock
from agent.kit.errors import AgentError, ConfigError, every
from agent.sinks.secrets import resolve


def build(
    notifiers: Iterable[Notification], environ: Mapping[str, str], clock: Clock, wake: Callable[[], None]
) -> list[Outlet]:
    """Every outlet. Raises ConfigError that names the notifier, and never a URL."""
    made = every(partial(_outlets, notifier, environ, clock, wake) for notifier in notifiers)
    return [outlet for outlets in made for outlet in outlets]


def _outlets(
    notifier: Notification, environ: Mapping[str, str], clock: Clock, wake: Callable[[], None]
) -> list[Outlet]:
    try:
        urls = [resolve(url, environ) for url in notifier.urls]
        senders = list(_senders(notifier, urls))
    except AgentError as error:
        raise ConfigError(f"notifier {notifier.name}: {error.what}", path=error.path, hint=error.hint) from None
    # Each URL is an outlet of its own, so that a failure at one repeats nothing at the others.
    names = [notifier.name] if len(senders) == 1 else [f"{notifier.name}[{number}]" for number in range(len(senders))]
    return [
        Outlet(name, notifier.name, notifier.kind, sender, clock, wake)
        for name, sender in zip(names, senders, strict=True)
    ]


def _senders(notifier: Notification, urls: list[str]) -> Iterator[Sender]:
    if notifier.kind == "alertmanager":
        from agent.alerts.alertmanager import Alertmanager

        yield Alertmanager(urls, notifier.timeout, notifier.ca_file)
        return
    from agent.alerts.services import Service

    for url in urls:
        yield Service(url, notifier.timeout)
