"""Retention over the catalogue: what lies where, how old it is, who still wants it; and what goes by plan."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agent.kit.errors import AgentError
from agent.kit.units import Share
from agent.streams import plan
from agent.streams.ages import Ages
from agent.streams.catalog import Catalog, Stream
from agent.streams.failures import failed
from agent.streams.holding import Holding
from agent.streams.load import Loader
from agent.streams.recognise import find_inode
from agent.streams.retire import Retirer
from agent.streams.survey import Survey
from agent.streams.tools import Tools

GONE = 600.0
"""Seconds until a stream is dropped of which there is neither a file nor a segment any more."""

TIDY_EVERY = 60.0
"""Seconds between two searches for such streams."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """One item of a plan that was carried out, or why it was not: its segment is there still then."""

    stream: Stream
    item: plan.Retire
    error: Exception | None = None


@dataclass(slots=True)
class Shelves:
    """Plans retention and carries it out; one thread uses it."""

    tools: Tools
    catalog: Catalog
    survey: Survey
    ages: Ages
    holding: Holding
    retirer: Retirer
    loader: Loader
    _next_tidy: float = 0.0

    def surplus(self, total: int) -> list[tuple[Stream, plan.Retire]]:
        """What retention would delete now; `total` is what the directory takes on disk."""
        self.ages.keep_time()
        shelves: list[plan.Shelf] = []
        owners: dict[tuple[str, str], Stream] = {}
        for stream in self.catalog.all():
            if stream.published:
                shelves.append(self._shelf(stream))
                owners.update({(stream.name, one.name): stream for one in stream.published})
        items = plan.retire(shelves, _room(self.catalog, total))
        return [(owners[item.segment.stream, item.segment.name], item) for item in items]

    def clear(self, items: Iterable[tuple[Stream, plan.Retire]]) -> list[Cleared]:
        """Carry out a plan; what came of each item. Streams whose last segment went go with it."""
        cleared: list[Cleared] = []
        failing: set[Stream] = set()
        for stream, item in items:
            self.tools.breathe()
            try:
                self.retirer.retire(stream, item)
                self.ages.forget(stream.id, item.segment.name)
                cleared.append(Cleared(stream, item))
            except (OSError, AgentError) as error:
                cleared.append(Cleared(stream, item, error))
                if stream not in failing:  # or each pass would tell of all its segments anew
                    failed(self.tools, stream, error)
                failing.add(stream)
                if isinstance(error, FileExistsError):
                    self.loader.unblock(stream)
        self.catalog.orphans = [stream for stream in self.catalog.orphans if stream.segments]
        if self.survey.swept:
            self._drop(dict.fromkeys(one.stream for one in cleared if _nothing_left(one.stream)))
        return cleared

    def tidy(self) -> None:
        """Drop streams that left nothing behind, not even a segment: asked at each pass, looked for now and then."""
        now = self.tools.clock.monotonic()
        if not self.survey.swept or now < self._next_tidy:
            return
        self._next_tidy = now + TIDY_EVERY
        self._drop([one for one in self.catalog.streams.values() if _nothing_left(one) and self._gone(one, now)])

    def _gone(self, stream: Stream, now: float) -> bool:
        """True when its file has been gone for long enough not to come back as it was.

        One that was not seen since the start may lie in a directory that is only not mounted now, with its segments.
        It is kept as long as a marker is, counted from its last change, or from the start where that is not known.
        """
        facts, wall = stream.facts, self.tools.clock.now()
        away = now - facts.looked
        if facts.begun is None and away < plan.MARKER_AGE:
            return away >= GONE and 0 < facts.changed <= wall - plan.MARKER_AGE
        return away >= GONE

    def _drop(self, streams: Iterable[Stream]) -> None:
        for stream in streams:
            if self.catalog.streams.get(stream.name) is stream:
                del self.catalog.streams[stream.name]
                self.tools.hints.forget(stream.id)
                self.holding.forget(stream.id)

    def _shelf(self, stream: Stream) -> plan.Shelf:
        """The open part is on no shelf: it is no segment yet."""
        pending = {one.name for one in stream.pending}.union(self._witnesses(stream))
        segments = stream.published
        claims = self.holding.claims(stream)
        end = stream.incarnation.end if stream.incarnation else stream.end
        rows = [
            plan.Shelved(
                stream.name, one.name, one.extent.end, age, one.allocated, one.marker, one is segments[-1],
                one.name not in pending, plan.hold(claims, one.extent.start, one.extent.end, age, end),
            )
            for one, age in zip(segments, self.ages.of(segments), strict=True)
        ]  # fmt: skip
        return plan.Shelf(stream.retention, rows, stream.facts.there)

    def _witnesses(self, stream: Stream) -> Iterator[str]:
        """The segments by which something that is still there is known to be sealed.

        Those of a hidden part that could not be removed yet. Those of a renamed file that is finished, while the disk
        takes no hint that says so: a start that could not compare its bytes any more would seal them again.
        """
        if stream in stream.place.outlived:
            yield from (one.name for one in stream.segments)
            return
        life = stream.incarnation
        if stream.id not in self.tools.hints.owed or not stream.segments or life is None:
            return
        last = stream.segments[-1].identity
        if not last.same_file(life.identity) and find_inode(stream.place.home, last):
            yield from (one.name for one in stream.segments if one.identity.same_file(last))


def _nothing_left(stream: Stream) -> bool:
    return not (stream.segments or stream.facts.there or stream.pending or stream.departed)


def _room(catalog: Catalog, total: int) -> plan.Room:
    info = os.fstatvfs(catalog.places[""].archive.fd)
    free, capacity = info.f_bavail * info.f_frsize, info.f_blocks * info.f_frsize
    rules = catalog.config.retention
    least = capacity * float(rules.min_free) if isinstance(rules.min_free, Share) else rules.min_free
    return plan.Room(total, free, capacity, rules.max_total, least)
