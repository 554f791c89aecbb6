"""What to do, decided without touching anything: which stream is due and why, which segments may go and why.

Plans are data, so a dry run, the audit trail and a test show the same thing. Ages are counted from what was
known when a segment was first seen plus monotonic time since, so a wall clock that jumps deletes nothing early.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from agent.config import Retention, Rotation

DueReason = Literal["size", "age", "schedule"]
RetireReason = Literal["keep", "max_age", "max_total", "min_free", "forgotten"]

MARKER_AGE = 30 * 86_400.0
"""Seconds after which the marker of a stream whose live file is gone is forgotten."""


WATCHED = 60.0
"""Seconds for which a stream that is captured is looked at in the rhythm of its captures after it grew."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What is known of a live file when it is asked whether it is due. Times are monotonic unless named wall."""

    live_bytes: int
    rate: float
    """Bytes a second, smoothed."""
    since: float | None
    """When the oldest unsealed byte was noticed."""
    scheduled: float | None
    """Wall time of the next scheduled rotation."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Why a stream is due, or None with the monotonic time at which it may be, as far as that is known."""

    reason: DueReason | None
    at: float | None
    kind: str = ""


def due(growth: Growth, rotation: Rotation, now: float, wall: float) -> Timing:
    """Decide whether a stream has to be sealed now."""
    live = growth.live_bytes
    if live <= 0:
        return Timing(None, None)
    if rotation.max_size is not None and live >= rotation.max_size:
        return Timing("size", now)
    times: list[tuple[float, str]] = []
    if live >= rotation.min_size:
        if rotation.max_age is not None and growth.since is not None:
            if now - growth.since >= rotation.max_age:
                return Timing("age", now)
            times.append((growth.since + rotation.max_age, "age"))
        if growth.scheduled is not None:
            if wall >= growth.scheduled:
                return Timing("schedule", now)
            times.append((now + growth.scheduled - wall, "schedule"))
    if rotation.max_size is not None and growth.rate > 0:
        times.append((now + (rotation.max_size - live) / growth.rate, "size"))
    at, kind = min(times, default=(None, ""))
    return Timing(None, at, kind)


def capture(rotation: Rotation, now: float, last: float, *, fresh: bool, quiet: float) -> float | None:
    """When to capture, or to look whether there is something to capture; None where growth has to be noticed first.

    `last` is the time of the last capture, `fresh` says whether the live file changed since, `quiet` is how long it
    has not grown, in seconds.
    """
    if rotation.capture is None:
        return None
    if fresh:
        return max(now, last + rotation.capture)
    return now + rotation.capture if quiet < WATCHED else None


@dataclass(frozen=True, slots=True)
class Claim:
    """What one consumer still wants of a stream: everything from `position` on."""

    position: int
    droppable: bool = False
    """False: nothing of it may be deleted before it was delivered."""
    max_bytes: int | None = None
    max_age: float | None = None
    """Seconds. Beyond these bounds a droppable claim protects nothing."""


class Hold(msgspec.Struct, frozen=True, gc=False):
    """How consumers protect one segment."""

    unsent: bool = False
    """Some consumer has not passed it: when it goes all the same, it is lost."""
    held: bool = False
    """No rule may delete it, but perhaps `min_free`."""
    firm: bool = False
    """No rule may delete it at all."""


_FREE = Hold()


def hold(claims: Iterable[Claim], start: int, end: int, age: float, stream_end: int) -> Hold:
    """Whether a segment at [start, end), `age` seconds old, is protected in a stream that ends at `stream_end`."""
    open_claims = [claim for claim in claims if claim.position < end]
    if not open_claims:
        return _FREE
    inside = [
        not claim.droppable
        or not (
            (claim.max_bytes is not None and stream_end - max(start, claim.position) > claim.max_bytes)
            or (claim.max_age is not None and age > claim.max_age)
        )
        for claim in open_claims
    ]
    return Hold(True, any(inside), any(not claim.droppable for claim in open_claims))


class Shelved(msgspec.Struct, frozen=True, gc=False):
    """One segment as retention sees it. `age` in seconds, `end` a position, `allocated` bytes on disk.

    A value that costs little: there is one of each segment at each pass.
    """

    stream: str
    name: str
    end: int
    age: float
    allocated: int
    marker: bool
    newest: bool
    released: bool
    """False while its bytes may still be in the live file: then it stays, whatever the rules say."""
    hold: Hold = _FREE


@dataclass(frozen=True, slots=True)
class Shelf:
    """A stream's segments, oldest first, with the rules that hold for them."""

    retention: Retention
    segments: Sequence[Shelved]
    live: bool
    """True while the live file is there."""


@dataclass(frozen=True, slots=True)
class Room:
    """A directory's space: bytes allocated to everything that counts, free and capacity of its file system."""

    total: int
    free: int
    capacity: int
    max_total: int | None
    min_free: float | None
    """Bytes, already computed from a share."""


@dataclass(frozen=True, slots=True)
class Retire:
    """Delete a segment; with `mark` an empty one takes the newest one's place and keeps the position."""

    segment: Shelved
    reason: RetireReason
    mark: bool


def retire(shelves: Iterable[Shelf], room: Room) -> list[Retire]:
    """Decide which segments go: by count and age for each stream, then oldest first for the directory's space."""
    plan: list[Retire] = []
    left: list[Shelved] = []
    for shelf in shelves:
        gone = {item.segment.name: item for item in _by_stream(shelf)}
        plan.extend(gone.values())
        left.extend(one for one in shelf.segments if one.name not in gone)
    plan.extend(_by_space(left, room, sum(item.segment.allocated for item in plan)))
    return plan


def _by_stream(shelf: Shelf) -> Iterable[Retire]:
    rules = shelf.retention
    kept = [one for one in shelf.segments if not one.marker]
    surplus = len(kept) - rules.keep if rules.keep else 0
    for one in shelf.segments:
        if not one.released or one.hold.held:
            continue
        if one.marker:
            if not one.newest or (not shelf.live and one.age >= MARKER_AGE):
                yield Retire(one, "forgotten", mark=False)
        elif surplus > 0:
            surplus -= 1
            yield Retire(one, "keep", mark=one.newest)
        elif rules.max_age is not None and one.age >= rules.max_age:
            yield Retire(one, "max_age", mark=one.newest)


def _by_space(left: list[Shelved], room: Room, freed: int) -> Iterable[Retire]:
    total, free = room.total - freed, room.free + freed
    for one in sorted(left, key=lambda item: -item.age):
        over = room.max_total is not None and total > room.max_total
        low = room.min_free is not None and free < room.min_free
        if not over and not low:
            return
        reason: RetireReason = "max_total" if over and not one.hold.held else "min_free"
        if one.marker or not one.released or (one.hold.firm if low else one.hold.held):
            continue
        total -= one.allocated
        free += one.allocated
        yield Retire(one, reason, mark=one.newest)
