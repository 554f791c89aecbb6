"""Rules: what the configuration says, with its expression understood."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from agent.config.alerts import Alert
from agent.kit.errors import ConfigError, UnknownError, every

if TYPE_CHECKING:
    from agent.alerts.history import Selector
    from agent.alerts.nodes import Node

_PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}")
_KNOWN = re.compile(r"\s*\$?(value|name|severity|labels\.([A-Za-z_][A-Za-z0-9_]*))\s*")


@dataclass(frozen=True)
class Rule:
    """One entry of `[[alert]]`."""

    alert: Alert
    expression: Node

    @property
    def name(self) -> str:
        """Its name."""
        return self.alert.name

    def metrics(self) -> set[str]:
        """The metrics that the expression names."""
        from agent.alerts.nodes import Instant, Ranged, walk

        return {node.selector.metric for node in walk(self.expression) if isinstance(node, Instant | Ranged)}

    def spans(self) -> Iterator[tuple[Selector, float]]:
        """The series whose past it needs, and how many seconds of it."""
        from agent.alerts.nodes import Ranged, walk

        return ((node.selector, node.span) for node in walk(self.expression) if isinstance(node, Ranged))


def build(alerts: Iterable[Alert]) -> list[Rule]:
    """Every rule. Raises ConfigError that names the alert where its expression or its text cannot be used."""
    return every(partial(_rule, alert) for alert in alerts)


def _rule(alert: Alert) -> Rule:
    from agent.alerts.promql import UnsupportedError, compile_expression

    for placeholder in _PLACEHOLDER.findall(alert.description):
        if not _KNOWN.fullmatch(placeholder):
            raise ConfigError(
                f"alert {alert.name}: description has {{{{{placeholder}}}}}, which is not known",
                hint="write {{ value }}, {{ labels.NAME }}, {{ name }} or {{ severity }}",
            )
    try:
        return Rule(alert, compile_expression(alert.when))
    except UnsupportedError as error:
        raise ConfigError(
            f"alert {alert.name}: when {error}: {alert.when}",
            hint='the README tells under "Alert without Alertmanager" which part of PromQL is evaluated',
        ) from None
    except ImportError as error:
        raise ConfigError(
            f"alert {alert.name}: its expression cannot be read: {error}",
            hint="install the extra: pip install 'telemetry-agent[alerts]'",
        ) from None


def find(rules: Iterable[Rule], name: str) -> Rule:
    """The rule of this name. Raises UnknownError that names those which there are."""
    known = {rule.name: rule for rule in rules}
    if name not in known:
        hint = f"known are {', '.join(known)}" if known else "no [[alert]] is configured"
        raise UnknownError(f"there is no alert {name!r}", hint=hint)
    return known[name]


def describe(alert: Alert, labels: Mapping[str, str], value: float) -> str:
    """The text of a message."""
    if not alert.description:
        return f"{alert.when}, the value is {number(value)}"
    known = {"value": number(value), "name": alert.name, "severity": alert.severity}

    def fill(found: re.Match[str]) -> str:
        inside = _KNOWN.fullmatch(found[1])
        if not inside:
            return found[0]
        return labels.get(inside[2], "") if inside[2] else known[inside[1]]

    return _PLACEHOLDER.sub(fill, alert.description)


def number(value: float) -> str:
    """A value for people: whole numbers whole, others with four significant digits behind the point at most."""
    if value == int(value) if abs(value) < 1e15 else False:
        return str(int(value))
    return f"{value:.4f}".rstrip("0").rstrip(".") if 0.01 <= abs(value) < 1e15 else f"{value:.4g}"
