"""What pages show beside `Control`: questions about other parts of the agent, wired by app."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.control import AlertsStatus, CheckStatus, Segments
from agent.control.drills import Drills
from agent.web.history import History
from agent.web.messages import ConfigKey, Source


def _no_segments(_stream: str, _limit: int) -> Segments:
    return Segments(0, [])


def _no_entries(_most: int) -> Sequence[Mapping[str, Any]]:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Each may be called from any thread; all but `segments` answer at once."""

    checks: Callable[[], list[CheckStatus]] = list
    """Every health check as it is now."""
    alerts: Callable[[], AlertsStatus] = AlertsStatus
    """Every alert rule and notifier."""
    sources: Callable[[], dict[str, Source]] = dict
    """Where system metrics come from, by collector."""
    config: Callable[[], list[ConfigKey]] = list
    """The configuration in force, secrets hidden."""
    audit: Callable[[int], Sequence[Mapping[str, Any]]] = _no_entries
    """The newest entries of the audit trail, newest first, at most so many."""
    drills: Drills | None = None
    """Tests, where they are switched on."""
    history: History = field(default_factory=History)
    """What the status page draws."""
    log: Callable[[], list[str]] = list
    """The last lines logged, without secrets."""
    loop: Callable[[], asyncio.AbstractEventLoop | None] = lambda: None
    """The main loop, once it runs."""
    segments: Callable[[str, int], Segments] = _no_segments
    """The newest segments of a stream (empty: of all), at most so many. Raises AgentError where nobody answers."""
