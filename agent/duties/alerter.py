"""The duty that evaluates alert rules over the agent's own metrics and tells the notifiers.

Invariants: a step never waits for a notifier; without a rule it sleeps until woken, and no library is imported. A
new configuration is built by `prepare`, in whatever thread reloads, and taken into force by the duty's next step; what
is pending, firing, silenced and told survives that, and but for what is pending a restart too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from agent.alerts.book import Book
from agent.alerts.build import Prepared, build
from agent.alerts.history import Data, History, Now
from agent.alerts.outlet import Outlet, group
from agent.alerts.rule import Rule, find
from agent.alerts.state import Change
from agent.alerts.vector import NAME, Vector
from agent.components import Components
from agent.config import Config
from agent.config.alerts import Alerts
from agent.control import AlertsStatus, Trial
from agent.duties.alertviews import view
from agent.duties.requests import Requests
from agent.kit import disk, log
from agent.kit.clock import Clock
from agent.kit.disk import Directory
from agent.metrics import AlertState, Metrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_log = log.get("alerts")

NAME_OF_STATE = "alerts.json"
_LARGEST_STATE = 16 << 20

Audit = Callable[[str, dict[str, Any]], None]


class Alerter:
    """Evaluates, tells, remembers."""

    name = "alerts"

    def __init__(
        self, config: Config, clock: Clock, metrics: Metrics, components: Components, *, wake: Callable[[], None],
        audit: Audit = lambda _reason, _details: None,
    ) -> None:  # fmt: skip
        """Raise ConfigError for a rule or a notifier that cannot be made."""
        self._clock = clock
        self._metrics = metrics
        self._components = components
        self._wake = wake
        self._audit = audit
        self._requests = Requests(wake)
        self._book = Book()
        self._history = History()
        self._outlets: list[Outlet] = []
        self._settings = Alerts()
        self._common: dict[str, str] = {}
        self._state: Directory | None = None
        self._next = 0.0
        self._evaluated: tuple[float, float] | None = None
        """Monotonic and wall time of the last evaluation."""
        self._names: set[str] = set()
        self._pending: Prepared | None = self.prepare(config)
        self._published = AlertsStatus()

    # -- configuration

    def prepare(self, config: Config) -> Prepared:
        """Make what a configuration asks for. Raises ConfigError."""
        return build(config, self._clock, self._wake)

    def configure(self, prepared: Prepared) -> None:
        """Take it into force with the next step."""
        self._pending = prepared
        self._wake()

    def open(self, state: Directory | None) -> None:
        """Go on where the process before ended. What cannot be read is told, and nothing is known then."""
        self._state = state
        if state is None or not state.exists(NAME_OF_STATE):
            return
        try:
            with os.fdopen(state.open_read(NAME_OF_STATE), "rb") as file:
                self._book.load(file.read(_LARGEST_STATE))
        except (OSError, msgspec.DecodeError, RecursionError) as error:
            _log.warning("what alerts were told cannot be read; some may be told again", error=error)

    def _adopt(self, prepared: Prepared) -> None:
        old = {outlet.name: outlet for outlet in self._outlets}
        for outlet in prepared.outlets:
            if outlet.name in old and old[outlet.name].kind == outlet.kind:
                outlet.inherit(old[outlet.name])
            self._metrics.notifications.labels(outlet.notifier)
            self._metrics.notification_failures.labels(outlet.notifier)
        for rule in prepared.rules:
            self._metrics.alert_evaluation_failures.labels(rule.name)
        self._outlets, self._settings, self._common = prepared.outlets, prepared.alerts, prepared.common
        self._history.want(span for rule in prepared.rules for span in rule.spans())
        self._names = {name for rule in prepared.rules for name in rule.metrics()}
        now = self._clock.now()
        self._tell(self._book.configure(prepared.rules, self._settings.resend, self._settings.interval, now))
        self._next = 0.0

    # -- the step

    def step(self, now: float) -> float | None:
        """Evaluate when that is due, take what outlets answered, start what is to be told."""
        pending, self._pending = self._pending, None
        if pending:
            self._adopt(pending)
        asked = self._requests.serve()
        if self._book.rules and now >= self._next:
            self._next = now + self._settings.interval
            self._evaluate(now)
        wall = self._clock.now()
        self._deliver(now, wall)
        self._save()
        if pending or asked or self._book.rules or self._book.active:
            self._publish()
        return self._when(now)

    def _evaluate(self, now: float) -> None:
        wall = self._clock.now()
        samples = samples_of(self._metrics.registry, self._names)
        self._history.record(now, samples)
        self._book.missing = self._names - samples.keys()
        data = Data(wall, now, samples, self._history)
        elapsed = now - self._evaluated[0] if self._evaluated else 0.0
        self._evaluated = (now, wall)
        before = set(self._book.errors)

        def value_of(rule: Rule) -> Vector:
            value = rule.expression.evaluate(data)
            return value if isinstance(value, dict) else {(): value}

        changes = self._book.evaluate(value_of, self._common, now=wall, elapsed=elapsed)
        self._metrics.alert_evaluations.inc()
        for name, error in self._book.errors.items():
            self._metrics.alert_evaluation_failures.labels(name).inc()
            if name not in before:
                _log.error("an alert cannot be evaluated", alert=name, error=error)
        self._tell(changes)

    def _tell(self, changes: Iterable[Change]) -> None:
        """Log, count and audit what changed."""
        for alert, before in changes:
            self._metrics.alert_transitions.labels(alert.state).inc()
            if alert.state == "pending":
                continue
            say = _log.warning if alert.state == "firing" else _log.info
            say(f"alert {alert.rule} is {alert.state}", labels=alert.labels, value=alert.value, why=alert.description)
            self._audit(
                alert.state, {"alert": alert.rule, "labels": alert.labels, "before": before, "value": alert.value}
            )

    def _deliver(self, now: float, wall: float) -> None:
        for outlet in self._outlets:
            settled = outlet.settle(now)
            if settled:
                self._book.settled(outlet, settled, wall)
                count = self._metrics.notification_failures if settled.error else self._metrics.notifications
                count.labels(outlet.notifier).inc()
                if settled.error and outlet.failed == 1:
                    _log.warning("a notifier cannot be reached", notifier=outlet.notifier, error=str(settled.error))
            if not outlet.busy and now >= outlet.retry_at and (batch := group(self._book.due(outlet, wall))):
                outlet.start(batch)
        self._report()

    def _report(self) -> None:
        failing = [f"{one.name}: {one.numbers.last_error}" for one in self._outlets if one.failed]
        failing += [f"alert {name}: {error}" for name, error in self._book.errors.items()]
        if failing:
            self._components.report(self.name, "degraded", "; ".join(failing), "`telemetry-agent alerts` tells more")
        else:
            self._components.report(self.name, "ok")

    def _save(self) -> None:
        if not self._book.dirty or self._state is None:
            return
        disk.write_atomic(self._state, NAME_OF_STATE, self._book.dump())
        self._book.dirty = False

    def _when(self, now: float) -> float | None:
        """When the next step is due: an evaluation, or a try at an outlet that failed."""
        times = [outlet.retry_at for outlet in self._outlets if outlet.retry_at > now and not outlet.busy]
        if self._book.rules:
            times.append(self._next)
        elif self._book.active:
            times.append(now + self._settings.interval)
        return min(times, default=None)

    def _publish(self) -> None:
        wall = self._clock.now()
        counts = dict.fromkeys(get_args(AlertState), 0)
        for alert in self._book.active.values():
            silence = self._book.silences.get(alert.rule)
            silenced = alert.state == "firing" and silence is not None and silence.until > wall
            counts["silenced" if silenced else alert.state] += 1
        for state, count in counts.items():
            self._metrics.alerts.labels(state).set(count)
        evaluated = self._evaluated[1] if self._evaluated else None
        self._published = view(self._book, self._outlets, evaluated, wall)

    # -- what may be asked, from any thread

    def alerts(self) -> AlertsStatus:
        """Every rule and notifier."""
        return self._published

    def test_alert(self, name: str, *, timeout: float = 60.0) -> list[Trial]:
        """Send a message that says it is a test."""
        from agent.alerts.trial import trial

        rule, outlets, common = self._requests.ask(
            lambda: (self._rule(name), list(self._outlets), dict(self._common)), timeout
        )
        return trial(rule, outlets, common, self._clock, timeout)

    def silence(self, name: str, seconds: float, comment: str, *, timeout: float = 10.0) -> AlertsStatus:
        """Silence a rule's alerts, or with 0 end a silence."""

        def act() -> AlertsStatus:
            rule = self._rule(name)
            self._book.silence(rule.name, self._clock.now() + seconds, comment)
            self._audit(
                "silence" if seconds else "unsilence", {"alert": rule.name, "seconds": seconds, "comment": comment}
            )
            self._publish()
            return self._published

        return self._requests.ask(act, timeout)

    def _rule(self, name: str) -> Rule:
        return find(self._book.rules, name)

    def close(self) -> None:
        """Answer nobody any more."""
        self._requests.close()


def samples_of(registry: CollectorRegistry, names: set[str]) -> Now:
    """The newest samples of these metrics."""
    found: dict[str, list[tuple[tuple[tuple[str, str], ...], float]]] = {}
    for family in registry.collect():
        for sample in family.samples:
            if sample.name in names:
                labels: Mapping[str, str] = {**sample.labels, NAME: sample.name}
                pairs = tuple(sorted((label, value) for label, value in labels.items() if value))
                found.setdefault(sample.name, []).append((pairs, float(sample.value)))
    return found
