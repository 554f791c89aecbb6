"""The engine's state as the values that status, pages and metrics show."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from agent import __version__
from agent.config import Config
from agent.control import (
    NEARLY,
    DirectoryStatus,
    Method,
    NextRotation,
    Status,
    StreamState,
    StreamStatus,
    WatcherStatus,
)
from agent.kit.clock import Clock
from agent.kit.disk import Directory
from agent.kit.errors import printable
from agent.streams import names, plan
from agent.streams.catalog import Stream
from agent.streams.dues import growth
from agent.streams.engine import Engine, peek

_LONG = 60.0
"""Seconds after which the growth is that since the first look, not the present one."""


def directory(engine: Engine) -> DirectoryStatus:
    """The watched directory against its limits; counts allocated bytes, each file once."""
    parts = sum(_parts(place.archive) for place in engine.catalog.places.values())
    live = sum(stream.facts.allocated for stream in engine.catalog.streams.values() if stream.facts.there)
    segments = sum(one.allocated for stream in engine.catalog.all() for one in stream.published)
    quarantine = _files(engine.grounds.quarantine)
    state = _files(engine.grounds.state)
    total = live + parts + segments + quarantine + state
    root = engine.catalog.places[""]
    info = os.fstatvfs(root.home.fd)
    limit = engine.catalog.config.files.critical_total
    critical = limit is not None and total > limit
    return DirectoryStatus(
        path=printable(root.home.path),
        live_bytes=live,
        part_bytes=parts,
        segment_bytes=segments,
        quarantine_bytes=quarantine,
        state_bytes=state,
        total_bytes=total,
        max_total=_plain(engine.catalog.config.retention.max_total),
        critical_total=_plain(limit),
        free_bytes=info.f_bavail * info.f_frsize,
        capacity_bytes=info.f_blocks * info.f_frsize,
        filesystem=root.filesystem,
        critical=critical,
        problems=_problems(engine, total, critical, info.f_bavail * info.f_frsize),
    )


def _problems(engine: Engine, total: int, critical: bool, free: int) -> list[str]:
    found: list[str] = []
    if not free:
        found.append(
            "no byte is free on the file system: writers cannot append, nothing new is kept; "
            "free space, or lower [retention]"
        )
    if critical:
        found.append(
            f"{total} bytes are used, more than files.critical_total ({engine.catalog.config.files.critical_total}): "
            "what is left is live or not allowed to be deleted; lower the limits in [rotation] or free space"
        )
    found.extend(engine.grounds.problems())
    strays = [why for place in engine.catalog.places.values() for why in list(place.strays.values()) if why]
    found.extend(strays[:20])
    found.extend(f"{printable(name)}: {why}" for name, why in list(engine.survey.refused.items())[:20])
    return found


def stream(engine: Engine, one: Stream, now: float, wall: float) -> StreamStatus:
    """One stream's line."""
    life, facts = one.incarnation, one.facts
    kept = [segment for segment in one.published if not segment.marker]
    plain = sum(segment.extent.length for segment in kept)
    packed = sum(segment.size for segment in kept)
    growing = now - facts.grew < _LONG
    pace = growth(one)
    # What does not grow any more comes due by its size at no time.
    verdict = plan.due(pace if growing else replace(pace, rate=0.0), one.rotation, now, wall)
    if one.refused:
        verdict = plan.Timing(None, None)
    state, why = _state(one)
    return StreamStatus(
        name=printable(one.name),
        id=one.id,
        state=state,
        method="refused" if state == "refused" else _method(one),
        why=why,
        live_bytes=one.live_bytes,
        allocated_bytes=facts.allocated if facts.there else 0,
        apparent_size=facts.size if facts.there else 0,
        growth_per_minute=max(0.0, facts.rate * 60) if growing else 0.0,
        position=life.base + max(life.sealed, facts.size) if life and facts.there else one.end + one.live_bytes,
        sealed=one.end,
        first=one.first,
        next_rotation=NextRotation(
            reason=verdict.reason or verdict.kind,
            at=None if verdict.at is None else wall + max(0.0, verdict.at - now),
        ),
        segments=len(kept),
        segment_bytes=sum(segment.allocated for segment in one.published),
        oldest=wall - engine.ages.of(kept)[0] if kept else None,
        ratio=plain / packed if packed else None,
        seals=one.seals,
        lost_bytes=one.lost,
        pending_release=sum(segment.source.length for segment in one.pending),
        size_limit=one.place.largest,
        days_left=_days_left(one, now),
        flags=_flags(engine, one, verdict),
    )


def _days_left(one: Stream, now: float) -> float | None:
    """Days until the live file is as long as a file can be, by its growth since it was first seen (attack H5)."""
    facts, limit = one.facts, one.place.largest
    if limit is None or facts.begun is None or not facts.there:
        return None
    elapsed = now - facts.begun
    rate = (facts.size - facts.begun_size) / elapsed if elapsed >= _LONG else facts.rate
    return max(0.0, (limit - facts.size) / rate / 86_400) if rate > 0 else None


def _state(one: Stream) -> tuple[StreamState, str]:
    if one.refused:
        state: StreamState = "gone" if one.refused.reason == "excluded" else "refused"
        return state, printable(str(one.refused))
    if one.failure:
        return "failing", one.failure
    if not one.facts.looked:
        return "ok", "not looked at yet since the start"
    if not one.facts.there:
        return "gone", "the live file is gone; its segments stay until retention deletes them"
    return "ok", _why(_method(one), one.place.filesystem)


@cache
def _why(method: Method, filesystem: str) -> str:
    """Remembered: ten thousand streams of one directory share the sentence."""
    return _WHY[method].format(filesystem=filesystem)


_WHY: dict[Method, str] = {
    "in-place": "{filesystem} gives sealed bytes back while the writer keeps the file open",
    "rename": "asked for: the file is moved aside, its writer has to reopen",
    "copytruncate": "asked for: what is written between copy and truncation may be lost",
    "refused": "",
}


def _method(one: Stream) -> Method:
    return "in-place" if one.rotation.method == "auto" else one.rotation.method


def _flags(engine: Engine, one: Stream, verdict: plan.Timing) -> tuple[str, ...]:
    flags: list[str] = []
    warn = engine.catalog.config.files.warn_size
    if warn is not None and one.live_bytes > warn:
        flags.append("warn_size")
    if verdict.reason and one.fruitless > 1:
        flags.append("overdue")
    if one.departed:
        flags.append("renamed")
    if one.facts.there and one.place.largest and one.facts.size >= one.place.largest * NEARLY[0]:
        flags.append("size_limit")
    return tuple(flags)


def status(
    engine: Engine,
    clock: Clock,
    *,
    running: bool,
    started: float,
    ready: bool,
    config_path: str,
    watcher: WatcherStatus,
    usage: DirectoryStatus | None = None,
    streams: list[StreamStatus] | None = None,
) -> Status:
    """Everything, as one value; `usage` and `streams` where they are known already."""
    now, wall = clock.monotonic(), clock.now()
    if streams is None:
        streams = [stream(engine, one, now, wall) for _, one in sorted(engine.catalog.streams.items())]
    return Status(
        version=__version__,
        pid=os.getpid() if running else 0,
        running=running,
        started=started,
        now=wall,
        ready=ready,
        config_path=config_path,
        service_name=engine.catalog.config.agent.service_name,
        environment=engine.catalog.config.agent.environment,
        watcher=watcher,
        directory=usage or directory(engine),
        streams=streams,
        lost_bytes=sum(one.lost for one in engine.catalog.all()),
        audit_unwritten=engine.audit.unwritten,
    )


def _plain(size: int | None) -> int | None:
    """A configured size as the plain number that messages carry."""
    return None if size is None else int(size)


def offline(config: Config, clock: Clock, config_path: str = "") -> Status:
    """What the files alone say, while no agent runs or beside one that cannot be asked; changes nothing.

    `config_path` is the file the configuration came from, empty for the defaults.
    Raises FileNotFoundError when there is no such directory.
    """
    with peek(config, clock) as engine:
        return status(
            engine,
            clock,
            running=False,
            started=0.0,
            ready=False,
            config_path=config_path,
            watcher=WatcherStatus(mode="stopped"),
        )


def _parts(archive: Directory) -> int:
    return _files(archive, names.is_part)


def _files(place: Directory | None, counts: Callable[[str], bool] = bool) -> int:
    """Allocated bytes of the plain files in a directory whose names count; one that goes meanwhile takes none."""
    if place is None:
        return 0
    total = 0
    with place.entries() as entries:
        for entry in entries:
            try:
                if counts(entry.name) and entry.is_file(follow_symlinks=False):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
            except FileNotFoundError:
                continue
    return total
