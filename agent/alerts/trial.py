"""A message that says it is a test, sent to everybody whom a rule notifies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from agent.alerts.message import DeliveryError, Message
from agent.alerts.outlet import Outlet
from agent.alerts.rule import Rule
from agent.control import Trial
from agent.kit.clock import Clock
from agent.kit.errors import AgentError
from agent.kit.quarantine import Call

_VALID = 60.0
"""Seconds after which an Alertmanager takes the test for resolved."""


def trial(
    rule: Rule, outlets: Iterable[Outlet], common: Mapping[str, str], clock: Clock, timeout: float
) -> list[Trial]:
    """Send it to each outlet at once; what each said within `timeout` seconds. AgentError where there is none."""
    told = [outlet for outlet in outlets if outlet.notifier in rule.alert.notify]
    if not told:
        raise AgentError(f"the alert {rule.name} notifies nobody", hint="give it notify, with names of [[notifier]]")
    now = clock.now()
    labels = {**common, "alertname": rule.name, "severity": rule.alert.severity, "test": "true"}
    sample = Message(
        word="firing", name=rule.name, severity=rule.alert.severity, labels=labels, value=None,
        description=f"This is a test, nothing is wrong. The alert fires when: {rule.alert.when}",
        fired=now, ends=now + _VALID, test=True,
    )  # fmt: skip
    calls = [(outlet, Call(f"test {outlet.name}", _sending(outlet, sample), clock)) for outlet in told]
    until = clock.monotonic() + timeout
    return [_judge(outlet, call, until - clock.monotonic()) for outlet, call in calls]


def _sending(outlet: Outlet, sample: Message) -> Callable[[], None]:
    return lambda: outlet.sender.send([sample])


def _judge(outlet: Outlet, call: Call[None], wait: float) -> Trial:
    answer = call.wait(wait)
    if answer is None:
        return Trial(notifier=outlet.name, ok=False, message="no answer in time")
    if answer.error is None:
        return Trial(notifier=outlet.name, ok=True)
    known = isinstance(answer.error, DeliveryError)
    return Trial(notifier=outlet.name, ok=False, message=str(answer.error) if known else type(answer.error).__name__)
