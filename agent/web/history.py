"""The last minutes as numbers: a bounded ring for each thing that the status page draws.

Invariants: at most `POINTS` points of at most `MOST` streams; what is gone is forgotten. One thread takes, any reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import pairwise

from agent.control import Status

POINTS = 90
EVERY = 10.0
"""Seconds between two points at least: 90 of them are a quarter of an hour."""
MOST = 50
"""Streams that are remembered; of many, those that were written to most of late."""

Key = tuple[str, str]
"""What (`position`, `backlog`, `disk`, `cpu`, `memory`) and of whom."""


class History:
    """Points of time and value by key."""

    def __init__(self) -> None:
        self._points: dict[Key, deque[tuple[float, float]]] = {}
        self._last = float("-inf")

    def take(self, status: Status, now: float) -> None:
        """Add what `status` says at the monotonic time `now`; too soon after the last time it is left out."""
        if now - self._last < EVERY * 0.9:
            return
        self._last = now
        found = dict(_values(status))
        # A new dict each time: who reads meanwhile has the old one.
        self._points = {key: self._with(key, now, value) for key, value in found.items()}

    def _with(self, key: Key, now: float, value: float) -> deque[tuple[float, float]]:
        points = deque(self._points.get(key, ()), maxlen=POINTS)
        points.append((now, value))
        return points

    def values(self, what: str, whose: str = "") -> list[float]:
        """The points of one thing, oldest first."""
        return [value for _, value in self._points.get((what, whose), ())]

    def rates(self, what: str, whose: str = "") -> list[float]:
        """How much a second it grew between two points each; what went down counts as standing still."""
        points = list(self._points.get((what, whose), ()))
        return [max(0.0, value - before) / max(at - then, 1e-3) for (then, before), (at, value) in pairwise(points)]


def _values(status: Status) -> Iterable[tuple[Key, float]]:
    yield ("disk", ""), float(status.directory.total_bytes)
    yield ("position", ""), float(sum(stream.position for stream in status.streams))
    busiest = sorted(status.streams, key=lambda stream: -stream.growth_per_minute)[:MOST]
    for stream in busiest:
        yield ("position", stream.name), float(stream.position)
    for forward in status.forwards:
        yield ("backlog", forward.name), float(forward.backlog_bytes)
    if status.forwards:
        yield ("backlog", ""), float(sum(forward.backlog_bytes for forward in status.forwards))
    if status.own:
        yield ("cpu", ""), status.own.cpu_seconds
        yield ("memory", ""), float(status.own.memory_used)
