"""The open part as the catalogue knows it: a segment that is not published yet, and grows member by member."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from agent.kit.disk import Directory
from agent.streams.catalog import Stream
from agent.streams.member import Member
from agent.streams.part import Part
from agent.streams.position import Extent
from agent.streams.segment import Segment, Table, file_identity
from agent.streams.tools import Tools


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


def vanished(tools: Tools, stream: Stream, part: Segment) -> None:
    """Somebody removed the open part: what it held is lost, and the stream goes on without it."""
    stream.segments.remove(part)
    stream.pending = tuple(one for one in stream.pending if one is not part)
    stream.closing, stream.part_since = False, None
    positions = [part.extent.start, part.extent.end]
    tools.lost(stream, "deleted", part.extent.length, positions=positions, why="the open part was removed")
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
