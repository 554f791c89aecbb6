"""The open part as the catalogue knows it: a segment that is not published yet, and grows member by member."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from agent.kit import log
from agent.kit.disk import Directory
from agent.kit.errors import CorruptError
from agent.streams.catalog import Stream
from agent.streams.member import Member
from agent.streams.part import Part
from agent.streams.position import Extent
from agent.streams.segment import Segment, Table, file_identity
from agent.streams.tools import Tools

_log = log.get("engine")

DAMAGED = "the open part was damaged"


def grown(stream: Stream, part: Part, seen: tuple[float, float]) -> Segment:
    """The open part with what was just written to it."""
    before = stream.open_part
    added = _describe(stream, part.directory, part.name, part.fd, part.members, seen[0])
    if before is None or before.table is None:
        return added
    _enter(before.table, before.extent.start, part.members)
    return replace(
        added,
        extent=Extent(before.extent.start, added.extent.end),
        source=Extent(before.source.start, added.source.end),
        records=before.records + added.records,
        gap_before=before.gap_before,
        first_seen=before.first_seen,
        table=before.table,
    )


def found(stream: Stream, directory: Directory, name: str, fd: int, members: Sequence[Member]) -> Segment:
    """An open part that an earlier process left, or another one writes."""
    return _describe(stream, directory, name, fd, members, members[0].seen)


def tell_damaged(stream: Stream, path: str, lost: int) -> None:
    """Log what became of a damaged open part, and what an operator can do."""
    hint = "it was set aside, `audit` says where; look what else the medium or another program changed: run `verify`"
    _log.error(DAMAGED, stream=stream.name, path=path, lost_bytes=lost, hint=hint)


def vanished(tools: Tools, stream: Stream, part: Segment) -> None:
    """Somebody removed the open part: what it held is lost, and the stream goes on without it.

    Raises CorruptError where it was only cut short: it takes no more then, and what is sound in it is published.
    """
    if _is_there(part):
        stream.closing = True
        raise CorruptError(
            "the open part is shorter than what was written to it", path=part.path, position=part.extent.start,
            hint="another program cut it: what is sound in it becomes a segment, the rest is counted as lost",
        )  # fmt: skip
    _give_up(tools, stream, part, "deleted", "the open part was removed")


def spoiled(tools: Tools, stream: Stream, part: Segment) -> None:
    """Nothing sound is in the open part, or in what is left of it: the stream goes on without it. Raises OSError."""
    set_aside(tools, stream, part)
    _give_up(tools, stream, part, "damaged", DAMAGED)
    tell_damaged(stream, part.path, part.extent.length)


def set_aside(tools: Tools, stream: Stream, part: Segment) -> None:
    """Give a damaged open part a name of its own where it is, for whoever can read more of it. Raises OSError."""
    for number in count():
        name = f"{part.name}.{number}.quarantined"
        try:
            part.directory.publish(part.name, name)
        except FileExistsError:
            continue
        break
    tools.metrics.quarantined_files.inc()
    tools.audit.write(
        "quarantine", stream=stream.name, reason=DAMAGED, path=part.path, to=name, bytes=part.size,
        positions=[part.extent.start, part.extent.end],
    )  # fmt: skip


def left_behind(part: Segment, first: int) -> Segment:
    """What of a damaged open part lies behind the first members, which are in a segment by now: from position on."""
    assert part.table is not None  # noqa: S101 - it is an open part
    table = Table(part.table.file)
    start = part.extent.start
    for at, offset in part.table[:]:
        if first <= start + at < part.extent.end:
            table.add(start + at - first, offset)
    extent, source = Extent(first, part.extent.end), Extent(first - part.base, part.source.end)
    return replace(part, extent=extent, source=source, gap_before=0, table=table)


def is_rest(part: Segment) -> bool:
    """True for what `left_behind` makes."""
    return part.table is not None and part.table[0][1] > 0


def _is_there(part: Segment) -> bool:
    try:
        fd = part.directory.open_read(part.name)
    except OSError:
        return False
    try:
        return part.table is not None and part.table.file == file_identity(fd)
    finally:
        os.close(fd)


def _give_up(tools: Tools, stream: Stream, part: Segment, reason: str, why: str) -> None:
    stream.segments.remove(part)
    stream.pending = tuple(one for one in stream.pending if one is not part)
    stream.closing, stream.part_since = False, None
    tools.lost(stream, reason, part.extent.length, positions=[part.extent.start, part.extent.end], why=why)
    tools.changed(stream)


def _describe(
    stream: Stream, directory: Directory, name: str, fd: int, members: Sequence[Member], first_seen: float
) -> Segment:
    first, last = members[0], members[-1]
    published = stream.published
    info = os.fstat(fd)
    table = Table(file_identity(fd))
    _enter(table, first.position, members)
    return Segment(
        directory=directory,
        name=name,
        stream=stream.name,
        stream_id=stream.id,
        identity=first.identity,
        extent=Extent(first.position, last.position + last.length),
        source=Extent(first.physical, last.physical + last.length),
        records=sum(member.records for member in members),
        gap_before=max(0, first.position - (published[-1].extent.end if published else 0)),
        marker=False,
        sealed_at=last.seen,
        first_seen=first_seen,
        size=last.offset + last.size,
        allocated=info.st_blocks * 512,
        guard="",
        changed=info.st_ctime,
        table=table,
    )


def _enter(table: Table, start: int, members: Sequence[Member]) -> None:
    for member in members:
        table.add(member.position - start, member.offset)
