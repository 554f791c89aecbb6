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


def fullness(lags: Sequence[Lag], max_bytes: int | None, max_age: float | None) -> float | None:
    """How full the bounds of what may wait in one stream are in the fullest of these; None without a bound."""
    shares = [
        share
        for one in lags
        for share in (
            one.bytes / max_bytes if max_bytes else None,
            one.seconds / max_age if max_age else None,
        )
        if share is not None
    ]
    return max(shares, default=0.0) if max_bytes or max_age else None


def _noticed(view: View, position: int) -> float:
    """When the byte at `position` was noticed; 0 for one that was there when the agent came."""
    if not view.growth or position < view.growth[0][0]:
        return 0.0
    return next((at for end, at in view.growth if end > position), 0.0)
