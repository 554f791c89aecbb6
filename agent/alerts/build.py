"""Rules and outlets of a configuration: made as a whole, or refused as a whole. Nothing is imported where none are."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from agent.alerts import rule
from agent.alerts.outlet import Outlet
from agent.alerts.rule import Rule
from agent.config import Config
from agent.config.alerts import Alerts
from agent.kit.clock import Clock
from agent.kit.errors import every


class Prepared(NamedTuple):
    """Rules and outlets that were made, not yet in force."""

    rules: list[Rule]
    outlets: list[Outlet]
    alerts: Alerts
    common: dict[str, str]


def build(config: Config, clock: Clock, wake: Callable[[], None] = lambda: None) -> Prepared:
    """Make them; `wake` is called when an outlet has answered. Raises ConfigError that tells of every one."""
    makes: list[Callable[[], list[Any]]] = [partial(rule.build, config.alert), partial(_outlets, config, clock, wake)]
    rules, outlets = every(makes)
    common = {"service": config.agent.service_name, "instance": socket.gethostname(), **config.alerts.labels}
    return Prepared(rules, outlets, config.alerts, common)


def _outlets(config: Config, clock: Clock, wake: Callable[[], None]) -> list[Outlet]:
    if not config.notifier:
        return []
    from agent.alerts import outlets

    return outlets.build(config.notifier, os.environ, clock, wake)
