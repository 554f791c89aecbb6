"""Which streams have to be sealed now, and why: the rules of `plan` over what the last look saw of each stream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from agent.kit import linux
from agent.kit.errors import RefusedError
from agent.kit.schedule import next_run
from agent.streams import plan
from agent.streams.catalog import Stream
from agent.streams.failures import refuse
from agent.streams.live import refusal
from agent.streams.recognise import open_live
from agent.streams.tools import Tools

IN_PLACE = ("auto", "in-place")
"""Methods that give sealed space back while the writer keeps its file open."""


@dataclass(frozen=True, slots=True)
class Due:
    """A stream that has to be sealed, and why."""

    stream: Stream
    reason: str


def find(tools: Tools, streams: Iterable[Stream]) -> tuple[list[Due], dict[Stream, plan.Timing]]:
    """Which of these streams have to be sealed now, and what is known about the others' time."""
    now, wall = tools.clock.monotonic(), tools.clock.now()
    ready: list[Due] = []
    later: dict[Stream, plan.Timing] = {}
    for stream in streams:
        if stream.departed:
            ready.append(Due(stream, "rename"))
            continue
        part = stream.open_part
        if part and now >= stream.not_before and (stream.refused or not stream.continues(part)):
            ready.append(Due(stream, "incarnation"))
            continue
        if not stream.facts.there or _refused(tools, stream):
            continue
        if now < stream.not_before:
            later[stream] = plan.Timing(None, stream.not_before)
            continue
        _schedule(stream, wall)
        verdict = _verdict(stream, now, wall)
        capture = _capture_at(stream, now)
        if verdict.reason:
            ready.append(Due(stream, verdict.reason))
        elif idle_part(stream):
            ready.append(Due(stream, "request"))
        elif capture is not None and capture <= now:
            ready.append(Due(stream, "capture"))
        elif capture is not None and (verdict.at is None or capture < verdict.at):
            later[stream] = plan.Timing(None, capture)
        else:
            later[stream] = verdict
    return ready, later


def reschedule(streams: Iterable[Stream]) -> list[Stream]:
    """The wall clock was set: these streams come due by their schedule at another time."""
    scheduled = [one for one in streams if one.rotation.schedule]
    for one in scheduled:
        one.facts.scheduled = None
    return scheduled


def share(ready: list[Due], most: int) -> tuple[list[Due], list[Due]]:
    """What one step seals, about `most` bytes but at least one stream, and what waits for the next; the least first."""
    ready = sorted(ready, key=lambda due: due.stream.live_bytes)
    total = 0
    for number, due in enumerate(ready):
        if total >= most:
            return ready[:number], ready[number:]
        total += due.stream.live_bytes
    return ready, []


def barred(tools: Tools, stream: Stream) -> RefusedError | None:
    """Why nothing more of the stream's file may be sealed, whoever asks for it."""
    if _refused(tools, stream) and stream.refused and stream.refused.reason in ("excluded", "filesystem"):
        return stream.refused
    return None


def growth(stream: Stream) -> plan.Growth:
    """What rotation's rules ask about: live bytes together with those that were captured since the last rotation."""
    facts = stream.facts
    since = facts.since if stream.part_since is None else stream.part_since
    return plan.Growth(stream.rotating_bytes, facts.rate, since, facts.scheduled)


def idle_part(stream: Stream) -> bool:
    """True for an open part that is not gone on with."""
    return stream.open_part is not None and stream.rotation.capture is None


def _schedule(stream: Stream, wall: float) -> None:
    """Note when the stream comes due by its schedule: the first time after its oldest unsealed byte came.

    So what fell into a time when no agent ran, or before the clock was set, is made up for. A file may bear any time:
    one before 1970 is as good as the beginning of that year.
    """
    facts, part = stream.facts, stream.open_part
    if stream.rotation.schedule and facts.scheduled is None and stream.rotating_bytes > 0:
        oldest = part.first_seen if part else facts.since_wall
        facts.scheduled = next_run(stream.rotation.schedule, max(0.0, min(oldest or wall, wall)))


def _verdict(stream: Stream, now: float, wall: float) -> plan.Timing:
    verdict = plan.due(growth(stream), stream.rotation, now, wall)
    if verdict.reason == "size" and not _large(stream):
        rules = msgspec.structs.replace(stream.rotation, max_size=None)
        return plan.due(growth(stream), rules, now, wall)
    return verdict


def _large(stream: Stream) -> bool:
    """Preallocated and sparse files are smaller than they look: ask the file itself (attack M4)."""
    life, limit = stream.incarnation, stream.rotation.max_size
    if life is None or limit is None or stream.facts.allocated >= min(limit, stream.live_bytes):
        return True
    captured = stream.rotating_bytes - stream.live_bytes
    try:
        with open_live(stream) as live:
            return captured + live.live_bytes(life.sealed) >= limit
    except (OSError, RefusedError):
        return True


def _capture_at(stream: Stream, now: float) -> float | None:
    facts, (last, size) = stream.facts, stream.captured
    fresh = stream.live_bytes > 0 and facts.size != size
    return plan.capture(stream.rotation, now, last, fresh=fresh, quiet=now - facts.grew)


def _refused(tools: Tools, stream: Stream) -> bool:
    if stream.refused is not None:
        return True
    if stream.rotation.method in IN_PLACE and stream.place.filesystem not in linux.LOCAL:
        refuse(tools, stream, refusal("filesystem", stream.place.home.path, stream.place.filesystem))
        return True
    return False
