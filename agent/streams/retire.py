"""Carrying out a retention plan, one segment at a time, each one audited.

A stream's newest segment is replaced by a marker that is durable before the segment goes, so positions never start
again. Before a segment goes whose release may not be on the medium yet, the live file is synced once (attack C2).
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from contextlib import suppress

from agent import __version__
from agent.kit import disk
from agent.kit.errors import CorruptError
from agent.kit.steps import reach
from agent.streams import names, segment
from agent.streams.catalog import Stream
from agent.streams.incarnation import Incarnation
from agent.streams.index import IncarnationKey, Index
from agent.streams.live import GUARD
from agent.streams.part import Part
from agent.streams.plan import Retire
from agent.streams.publish import publish_as
from agent.streams.recognise import open_live
from agent.streams.segment import Segment
from agent.streams.tools import Tools


class Retirer:
    """Deletes segments; one thread uses it."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def retire(self, stream: Stream, item: Retire) -> None:
        """Delete one segment. Raises OSError, the segment is there still then."""
        found = next((one for one in stream.segments if one.name == item.segment.name), None)
        if found is None:
            return
        self._sync_live(stream, found)
        stream.place.sync_removals()
        reach("retain.synced")
        digest = _digest(found)
        if item.mark and stream.published[-1] is found:
            # In front of the open part, which may be the only other witness of the position after a crash.
            stream.segments.insert(len(stream.published), self._mark(stream, found))
            reach("retain.marked")
        found.directory.remove(found.name)
        reach("retain.removed")
        stream.segments.remove(found)
        life = stream.incarnation
        if life and _of(life, found) and found.source.start < life.spared <= found.source.end:
            life.spared = 0  # what it could not give back goes with it, by the next release
            self._tools.remember(stream)
        self._tools.changed(stream)
        self._tell(stream, found, item, digest)

    def _tell(self, stream: Stream, found: Segment, item: Retire, digest: str) -> None:
        if item.segment.hold.unsent and not found.marker:
            positions = [found.extent.start, found.extent.end]
            self._tools.lost(stream, "unsent", found.extent.length, positions=positions, why=item.reason)
        self._tools.metrics.retired_bytes.labels(item.reason).inc(found.allocated)
        self._tools.metrics.retired_segments.labels(item.reason).inc()
        self._tools.audit.write(
            "retire",
            stream=stream.name,
            reason=item.reason,
            segment=found.name,
            positions=[found.extent.start, found.extent.end],
            bytes=found.extent.length,
            allocated=found.allocated,
            digest=digest,
        )

    def _sync_live(self, stream: Stream, found: Segment) -> None:
        """Make the holes durable that took this segment's bytes out of the live file."""
        life = stream.incarnation
        if life is None or not _of(life, found):
            return
        if found.source.end <= stream.synced:
            return
        try:
            with open_live(stream) as live:
                life.learn_guard(live)
                disk.sync_file(live.fd)
                if live.identity.same_file(life.identity):
                    stream.synced = life.released
        except FileNotFoundError:
            return

    def _mark(self, stream: Stream, last: Segment) -> Segment:
        """Publish an empty segment that keeps the position, the life and the guard of the one that goes."""
        life = stream.incarnation
        current = life is not None and life.base == last.base and life.sealed == last.source.end
        now = max(self._tools.clock.now(), float(stream.last_stamp[0]))
        index = Index(
            stream=stream.name,
            stream_id=stream.id,
            incarnation=IncarnationKey(last.identity.inode, last.identity.birth),
            physical=(last.source.end, last.source.end),
            logical=(last.extent.end, last.extent.end),
            records=0,
            seen=(now, now),
            digest=hashlib.sha256().hexdigest(),
            reason="marker",
            agent=__version__,
            marker=True,
            sealed_at=round(now, 3),
            boot=self._tools.boot,
            uptime=round(self._tools.clock.monotonic(), 3),
            guard=b64encode(life.guard).decode("ascii") if life and current else last.guard or _end_of(last),
        )
        part = Part.create(last.directory, names.part_name(stream.leaf), stream.raw_id, last.identity)
        try:
            part.finish(index)
            part.sync()
            name = publish_as(self._tools, stream, part)
        except OSError:
            part.discard()
            raise
        info = os.fstat(part.fd)
        part.close()
        last.directory.sync()
        return segment.describe(last.directory, name, index, info)


def _of(life: Incarnation, found: Segment) -> bool:
    """True for a segment with bytes of the present life."""
    return not found.marker and found.identity.same_file(life.identity) and found.base == life.base


def _digest(found: Segment) -> str:
    """What its index says of its content: read where it is wanted, ten thousand of them are too many to keep."""
    with suppress(OSError, CorruptError), segment.SegmentReader(found) as reader:
        return reader.index.digest
    return ""


def _end_of(last: Segment) -> str:
    """What a file that came back to this life would have at S: the hint of the life that began since may be lost."""
    with suppress(OSError, CorruptError):
        return b64encode(segment.tail(last, GUARD)).decode("ascii")
    return ""
