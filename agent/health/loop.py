"""The agent's own main loop, by its heartbeat."""

from __future__ import annotations

from collections.abc import Callable

from agent.config.checks import Loop
from agent.health.check import Finding
from agent.health.limits import judge
from agent.kit.clock import Clock


class LoopCheck:
    """The main loop. While it is stuck no check is started, this one's last result turns unknown; /livez tells."""

    def __init__(self, rule: Loop, clock: Clock, heartbeat: Callable[[], float]) -> None:
        self._rule = rule
        self._clock = clock
        self._heartbeat = heartbeat

    def run(self) -> Finding:
        """Look at the last beat."""
        age = max(0.0, self._clock.monotonic() - self._heartbeat())
        message = f"the main loop came round {age:.1f} s ago"
        return judge(age, message, warn=self._rule.warn, critical=self._rule.critical)
