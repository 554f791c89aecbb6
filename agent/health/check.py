"""What a check is: one method that looks once, and the finding it gives. Your own are made of the same.

A check looks and returns; it does not log, time itself, sleep, retry or keep a thread: the board does that, and runs
each check in a daemon thread of its own, one run at a time. What it raises counts as "unknown", except OSError and
AgentError of a thing that was looked at, which the kinds here turn into findings themselves.

A package offers a kind of its own by an entry point of the group `telemetry_agent.checks`:

    [project.entry-points."telemetry_agent.checks"]
    queue = "my_package:QueueCheck"

Its class says which options it takes, is made with them, and has `run`:

    class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        depth: int = 100

    class QueueCheck:
        options = Options

        def __init__(self, options: Options) -> None:
            self._depth = options.depth

        def run(self) -> Finding:
            length = my_package.queue_length()
            if length > self._depth:
                return unhealthy(f"{length} messages wait", value=length)
            return healthy(f"{length} messages wait", value=length)

and is used so; options that the struct does not take are errors of the configuration:

    [[health.check]]
    kind = "queue"
    name = "orders"
    options = { depth = 500 }
"""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

import msgspec


class Level(IntEnum):
    """How things are. The numbers are those of the metrics."""

    UNKNOWN = 0
    HEALTHY = 1
    WARNING = 2
    UNHEALTHY = 3

    @property
    def word(self) -> str:
        """As status and logs say it."""
        return self.name.lower()


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one look found."""

    level: Level
    message: str = ""
    """A phrase with the numbers: what was found, also when all is well."""
    hint: str = ""
    """What to do about it."""
    value: float | None = None
    """The number that was judged, where there is one."""
    held: Level | None = None
    """With limits lowered by their margin: a state that is as bad as this stays, so a number that hovers at a limit
    does not flap. None: no margin."""


class Check(Protocol):
    """Something that can be looked at again and again."""

    def run(self) -> Finding:
        """Look once."""
        ...


def healthy(message: str, *, value: float | None = None) -> Finding:
    """All is well."""
    return Finding(level=Level.HEALTHY, message=message, value=value)


def warning(message: str, *, hint: str = "", value: float | None = None) -> Finding:
    """Somebody should look at it."""
    return Finding(level=Level.WARNING, message=message, hint=hint, value=value)


def unhealthy(message: str, *, hint: str = "", value: float | None = None) -> Finding:
    """It does not work."""
    return Finding(level=Level.UNHEALTHY, message=message, hint=hint, value=value)


def unknown(message: str, *, hint: str = "") -> Finding:
    """It could not be found out."""
    return Finding(level=Level.UNKNOWN, message=message, hint=hint)


def worst(*findings: Finding) -> Finding:
    """The worst of some findings, the first of those; unknown ones only where there is nothing else."""
    return max(findings, key=lambda finding: finding.level)
