"""The machine's clock: the kernel's own word about it, and jumps against the monotonic clock."""

from __future__ import annotations

from collections.abc import Callable

from agent.config.checks import Clock as Rule
from agent.health.check import Finding, healthy, unhealthy, warning
from agent.kit import timex
from agent.kit.clock import Clock


class ClockCheck:
    """The wall clock."""

    def __init__(self, rule: Rule, clock: Clock, read: Callable[[], timex.Discipline] = timex.read) -> None:
        self._rule = rule
        self._clock = clock
        self._read = read
        self._offset: float | None = None

    def run(self) -> Finding:
        """Ask the kernel; OSError where it does not tell."""
        rule, before = self._rule, self._offset
        self._offset = self._clock.now() - self._clock.monotonic()
        jump = 0.0 if before is None else self._offset - before
        if abs(jump) > rule.max_error:
            return unhealthy(f"the clock jumped by {jump:+.3f} s", value=jump, hint="what else sets the clock here?")
        found = self._read()
        if rule.synchronised and not found.synchronised:
            return warning("nothing keeps the clock right", hint="run an NTP client such as chrony")
        if found.synchronised and found.max_error > rule.max_error:
            return unhealthy(f"the clock may be wrong by {found.max_error:.3f} s", value=found.max_error)
        return healthy(f"the clock is right within {found.max_error:.3f} s", value=found.max_error)
