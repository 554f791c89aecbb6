"""How far a consumer is behind a stream: pure sums over a view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.streams.views import View


@dataclass(frozen=True, slots=True)
class Lag:
    """What waits behind a position."""

    bytes: int
    records: int | None
    """Exact for whole segments, by proportion within one and for the live file; None where nothing was sealed yet."""
    seconds: float
    """Since the oldest of it was noticed; 0 when nothing waits."""


def lag(view: View, position: int, now: float) -> Lag:
    """What of `view` lies after `position`, at the wall time `now`."""
    position = max(position, view.begins)
    waiting = max(0, view.readable - position)
    if not waiting:
        return Lag(0, 0, 0.0)
    size = sum(one.extent.length for one in view.segments)
    count = sum(one.records for one in view.segments)
    behind = [one for one in view.segments if one.extent.end > position]
    records = sum(
        one.records * (one.extent.end - max(position, one.extent.start)) / one.extent.length
        for one in behind
        if one.extent.length
    )
    live = view.readable - max(position, view.sealed)
    # Both are too early at most, so the later is nearer: old marks of growth are wide, a segment is not.
    oldest = max(_noticed(view, position), behind[0].first_seen if behind else view.since)
    seconds = max(0.0, now - oldest) if oldest else 0.0
    return Lag(waiting, round(records + max(0, live) * count / size) if size else None, seconds)


def share(one: Lag, max_bytes: int | None, max_age: float | None) -> float:
    """How full the bounds of what may wait in a stream are, by the fuller one: 1 at a bound, 0 without any."""
    return max(one.bytes / max_bytes if max_bytes else 0.0, one.seconds / max_age if max_age else 0.0)


def fullness(lags: Sequence[Lag], max_bytes: int | None, max_age: float | None) -> float | None:
    """The same for the fullest of several streams; None without a bound."""
    if not (max_bytes or max_age):
        return None
    return max((share(one, max_bytes, max_age) for one in lags), default=0.0)


def _noticed(view: View, position: int) -> float:
    """When the byte at `position` was noticed; 0 for one that was there when the agent came."""
    if not view.growth or position < view.growth[0][0]:
        return 0.0
    return next((at for end, at in view.growth if end > position), 0.0)
