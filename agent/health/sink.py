"""Where the agent sends to: what its consumer reports about itself."""

from __future__ import annotations

from agent.components import Components, State
from agent.config.checks import Sink
from agent.health.check import Finding, Level, unknown

_LEVELS: dict[State, Level] = {
    "starting": Level.UNKNOWN,
    "ok": Level.HEALTHY,
    "degraded": Level.WARNING,
    "failed": Level.UNHEALTHY,
    "stopping": Level.UNKNOWN,
    "stopped": Level.UNHEALTHY,
}


class SinkCheck:
    """One part of the agent, by name."""

    def __init__(self, rule: Sink, components: Components) -> None:
        self._rule = rule
        self._components = components

    def run(self) -> Finding:
        """Look at its newest report."""
        parts = self._components.all()
        for part in parts:
            if part.name == self._rule.sink:
                said = f"{part.name} is {part.state}" + (f": {part.message}" if part.message else "")
                return Finding(level=_LEVELS[part.state], message=said, hint=part.hint)
        names = ", ".join(part.name for part in parts)
        return unknown(f"the agent has no part called {self._rule.sink!r}", hint=f"there are: {names}")
