"""What `top` shows: one look at the running agent, and what differs from the one before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from agent.control import CheckStatus, Status

if TYPE_CHECKING:
    from agent.config import Config
    from agent.kit.errors import AgentError


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """The agent at one moment; rates are those since the look before, null where there was none.

    This is the JSON of `top`. Times are seconds since 1970 UTC, sizes bytes.
    """

    at: float
    """When the look was taken, by the clock of this command."""
    missing: str = ""
    """Why there is nothing to see: no agent answers."""
    verdict: str = ""
    """`healthy`, `degraded` or `unhealthy`."""
    issues: list[str] = []
    cpu_percent: float | None = None
    """100 is one CPU, all threads of the agent together."""
    written_per_second: dict[str, float] = {}
    """Bytes by stream."""
    delivered_per_second: dict[str, float] = {}
    """Records by destination."""
    checks: list[CheckStatus] = []
    status: Status | None = None


class Looker:
    """Looks again and again, and computes rates from one look to the next."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._last: Look | None = None

    def look(self) -> Look:
        """A look. Raises UnreachableError when no agent answers."""
        from agent.cli import reach

        agent = reach.present(self._config)
        health = agent.health()
        status = agent.status()
        found = compare(
            self._last,
            Look(at=time.time(), verdict=health.status, issues=health.issues, checks=health.checks, status=status),
        )
        self._last = found
        return found

    def try_look(self) -> Look:
        """As `look`; where no agent answers, a look that says so and has what was seen last."""
        from agent.kit.errors import AgentError

        try:
            return self.look()
        except AgentError as error:
            return self._without(error)

    def _without(self, error: AgentError) -> Look:
        missing = f"{error.what}; {error.hint}" if error.hint else error.what
        return msgspec.structs.replace(self._last or Look(at=time.time()), missing=missing)


def compare(before: Look | None, now: Look) -> Look:
    """`now` with its rates; an agent that was started anew has none at first. Pure."""
    if before is None or before.status is None or now.status is None or before.status.pid != now.status.pid:
        return now
    old, new = before.status, now.status
    passed = max(now.at - before.at, 1e-3)
    positions = {stream.id: stream.position for stream in old.streams}
    counts = {forward.name: forward.delivered for forward in old.forwards}
    # Streams are as of the agent's newest snapshot, the rest is as of the look.
    aged = new.now - old.now if new.now > old.now else passed
    cpu = (new.own.cpu_seconds - old.own.cpu_seconds) / passed if new.own and old.own else None
    return msgspec.structs.replace(
        now,
        cpu_percent=None if cpu is None else round(100 * max(0.0, cpu), 1),
        written_per_second={
            stream.name: round(max(0, stream.position - positions[stream.id]) / aged, 1)
            for stream in new.streams
            if stream.id in positions
        },
        delivered_per_second={
            forward.name: round(max(0, forward.delivered - counts[forward.name]) / passed, 1)
            for forward in new.forwards
            if forward.name in counts
        },
    )
