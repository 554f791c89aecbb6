"""Publishing: a part gets its index and a name, both durable. A batch runs each phase over all its parts.

One sync serves many: the parts of a batch are made durable by one syncfs, their names by one fsync of the directory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from agent import __version__
from agent.kit import disk
from agent.streams import names, segment
from agent.streams.candidate import C, Candidate, each, places
from agent.streams.catalog import Place, Stream
from agent.streams.index import IncarnationKey, Index
from agent.streams.part import Part
from agent.streams.segment import Segment
from agent.streams.tools import Tools


class Publisher:
    """Publishes parts; one thread uses it."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def index(self, one: Candidate) -> None:
        """Write the index behind the part's members. Raises OSError."""
        stream, part = one.stream, one.part
        published = stream.published
        before = published[-1].extent.end if published else 0
        now = max(self._tools.clock.now(), float(stream.last_stamp[0]))
        one.index = Index(
            stream=stream.name,
            stream_id=stream.id,
            incarnation=IncarnationKey(part.identity.inode, part.identity.birth),
            physical=(part.members[0].physical, part.source_end),
            logical=(part.start, part.end),
            records=part.records,
            seen=one.seen,
            digest=part.digest(),
            reason=one.reason,
            agent=__version__,
            gap_before=max(0, part.start - before),
            sealed_at=round(now, 3),
            boot="" if one.reason == "recovered" else self._tools.boot,  # nobody knows when it was captured
            uptime=round(self._tools.clock.monotonic(), 3),
            members=part.table(),
        )
        part.finish(one.index)

    def sync(self, batch: Sequence[Candidate]) -> None:
        """One fsync for one part, one syncfs for many on one file system; first the removal of what came before."""
        _for_places(batch, lambda place: place.sync_removals())
        good = [one for one in batch if one.problem is None]
        if len(good) <= 2:
            each(good, lambda one: one.part.sync())
        else:
            _for_places(good, lambda place: disk.sync_filesystem(place.archive.fd))

    def name(self, one: Candidate) -> None:
        """Give the part its final name. Raises OSError."""
        assert one.index is not None  # noqa: S101 - `index` comes first
        archive = one.part.directory
        name = publish_as(self._tools, one.stream, one.part)
        one.published = segment.describe(archive, name, one.index, os.fstat(one.part.fd))

    def sync_names(self, batch: Sequence[C], failed: Callable[[C, OSError], None]) -> None:
        """Make the names of what was published, or created, durable: one fsync a directory."""
        for place in places(batch):
            try:
                place.archive.sync()
            except OSError as error:
                for one in batch:
                    if one.stream.place is place:
                        failed(one, error)

    def take_back(self, one: Candidate, error: OSError) -> None:
        """A name that may vanish is no publication."""
        assert one.published is not None  # noqa: S101 - the caller chose those
        try:
            one.published.directory.remove(one.published.name)
        except OSError:
            # It stays, so S moves, or its records would be sealed twice; nothing is released meanwhile.
            one.stream.place.unsynced = True
            return
        one.published = None
        one.give_up(error)

    def tell(self, one: Candidate, published: Segment) -> None:
        """Count a published segment, and audit it."""
        metrics = self._tools.metrics
        one.stream.seals += 1
        metrics.seals.labels(one.reason).inc()
        metrics.segment_written_bytes.inc(published.size)
        metrics.seal_duration_seconds.observe(max(0.0, self._tools.clock.monotonic() - one.started))
        self._tools.audit.write(
            "seal",
            stream=one.stream.name,
            reason=one.reason,
            segment=published.name,
            positions=[published.extent.start, published.extent.end],
            bytes=published.extent.length,
            compressed=published.size,
            records=published.records,
            digest=one.index.digest if one.index else "",
        )


def _for_places(batch: Sequence[Candidate], act: Callable[[Place], None]) -> None:
    """Do one thing for each place of the candidates that are still good; where it fails, they all do."""
    good = [one for one in batch if one.problem is None]
    for place in places(good):
        try:
            act(place)
        except OSError as error:
            for one in good:
                if one.stream.place is place:
                    one.give_up(error)


def publish_as(tools: Tools, stream: Stream, part: Part) -> str:
    """Rename the part to the next free name of its stream. Raises OSError."""
    while True:
        name = names.segment_name(stream.leaf, *stream.next_stamp(tools.clock.now())).format()
        try:
            part.directory.publish(part.name, name)
        except FileExistsError:
            continue
        return name
