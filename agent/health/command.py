"""A command's exit status and output."""

from __future__ import annotations

import re

from agent.config.checks import Command
from agent.health.check import Finding, Level, healthy, unhealthy
from agent.kit import command
from agent.kit.clock import Clock
from agent.kit.errors import printable

_PLUGIN = {0: Level.HEALTHY, 1: Level.WARNING, 2: Level.UNHEALTHY}
_LONGEST = 300


class CommandCheck:
    """One run of a command."""

    def __init__(self, rule: Command, clock: Clock, timeout: float) -> None:
        self._rule = rule
        self._clock = clock
        self._timeout = timeout * 0.95  # so that it is killed, and told of, before the board gives up

    def run(self) -> Finding:
        """Run it and judge how it ended."""
        rule = self._rule
        done = command.run(rule.command, timeout=self._timeout, clock=self._clock)
        if done.status is None or done.timed_out or done.status < 0:
            return unhealthy(f"{rule.command[0]} {_short(str(done))}")
        first = _short(next(iter(done.output.strip().splitlines()), ""))
        if rule.plugin:
            level = _PLUGIN.get(done.status, Level.UNKNOWN)
            return Finding(level=level, message=first.partition("|")[0].strip(), value=done.status)
        if done.status != rule.exit_status:
            return unhealthy(f"exit status {done.status}, expected {rule.exit_status}: {first}", value=done.status)
        if rule.output and not re.search(rule.output, done.output):
            return unhealthy(f"the output does not contain {rule.output!r}", value=done.status)
        return healthy(first or f"exit status {done.status}", value=done.status)


def _short(text: str) -> str:
    return printable(text)[:_LONGEST]
