"""Commands run when a check's state changes: rate-limited, audited, never waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent.health.board import Transition
from agent.kit import command, log
from agent.kit.clock import Clock
from agent.kit.command import Finished
from agent.kit.quarantine import Call

_log = log.get("health")

Audit = Callable[[str, dict[str, Any]], None]
"""Takes a reason and details, from any thread."""


class Actions:
    """Told of every change by the thread that runs the board; each command runs in a daemon thread of its own.

    Of one check at most one command runs at a time, and at most one starts in `action_interval`; a change in between
    runs none, which is audited too.
    """

    def __init__(self, clock: Clock, audit: Audit) -> None:
        self._clock = clock
        self._audit = audit
        self._started: dict[str, float] = {}
        self._running: dict[str, Call[Finished]] = {}

    def changed(self, change: Transition) -> None:
        """Log, audit and act."""
        rule, finding = change.rule, change.finding
        say = _log.info if change.after <= 1 else _log.warning
        say(f"check {rule.name} is {change.after.word}", before=change.before.word, why=finding.message)
        self._audit(change.after.word, {"check": rule.name, "before": change.before.word, "why": finding.message})
        if rule.action:
            self._act(change)

    def _act(self, change: Transition) -> None:
        name, now = change.rule.name, self._clock.monotonic()
        running = self._running.get(name)
        rests = name in self._started and now < self._started[name] + change.rule.action_interval
        if rests or (running and running.answer is None):
            self._audit("action skipped", {"check": name, "state": change.after.word})
            return
        self._started[name] = now
        self._running[name] = Call(f"action {name}", lambda: self._run(change), self._clock)

    def _run(self, change: Transition) -> Finished:
        rule = change.rule
        environ = {
            "TELEMETRY_AGENT_CHECK": rule.name,
            "TELEMETRY_AGENT_STATE": change.after.word,
            "TELEMETRY_AGENT_BEFORE": change.before.word,
            "TELEMETRY_AGENT_MESSAGE": change.finding.message.replace("\0", " "),
        }
        done = command.run(rule.action, timeout=rule.action_timeout, clock=self._clock, environ=environ)
        (_log.info if done.ok else _log.error)(f"the action of check {rule.name} ended", how=str(done))
        self._audit("action", {"check": rule.name, "state": change.after.word, "ok": done.ok, "how": str(done)})
        return done
