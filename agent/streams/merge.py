"""The open part becomes a segment: written anew, small members into large ones, so that the ratio is that of one pass.

The result is a file of its own. The part stays, and readers read it, until the new file is durable under its final
name; a crash in between leaves both, and recovery finds the same bytes in the segment.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from agent.kit.errors import AgentError, CorruptError
from agent.kit.steps import reach
from agent.streams import names
from agent.streams.candidate import Candidate, each
from agent.streams.catalog import Stream
from agent.streams.compare import check_raw, drop_cache
from agent.streams.copying import Copier
from agent.streams.member import Member, grouped
from agent.streams.openpart import DAMAGED, is_rest, left_behind, set_aside, spoiled, tell_damaged, vanished
from agent.streams.outcome import FULL, Sealed
from agent.streams.owner import dress_as
from agent.streams.part import Part, headers
from agent.streams.publish import Publisher
from agent.streams.segment import Segment, SegmentReader
from agent.streams.tools import Tools


@dataclass(slots=True, kw_only=True)
class Closing(Candidate):
    """An open part on its way to become a segment."""

    source: Segment
    """The open part."""
    damaged: bool = False
    """True when not every member of it is sound: the segment holds some that follow each other, the first there are."""


class Merger:
    """Publishes open parts, one batch at a time; one thread uses it."""

    def __init__(self, tools: Tools, copier: Copier, publisher: Publisher) -> None:
        self._tools = tools
        self._copier = copier
        self._publisher = publisher

    def close(self, outcomes: Sequence[Sealed]) -> None:
        """Publish open parts: written anew with large members, or as they are where there is no room for that.

        Of a damaged one each run of sound members becomes a segment; what lies between them is lost, and counted.
        """
        while outcomes:
            outcomes = self._close(outcomes)

    def _close(self, outcomes: Sequence[Sealed]) -> list[Sealed]:
        """Returns those of which more is to be published."""
        pairs = [(one, closing) for one in outcomes if (closing := one.attempt(self._written_anew))]
        batch = [closing for _, closing in pairs]
        if not batch:
            return []
        try:
            self._publisher.sync(batch)
            reach("merge.synced")
            each(batch, self._verify)
            each(batch, self._publisher.name)
            reach("merge.renamed")
            done = [one for one in batch if one.published]
            for closing in done:
                self._settle(closing)
            self._publisher.sync_names(done, _unsynced)
            reach("merge.named")
            for closing in done:
                self._remove_source(closing)
            reach("merge.removed")
        finally:
            for closing in batch:
                closing.close()
        for one, closing in pairs:
            one.conclude(closing)
        return [one for one, closing in pairs if closing.published and closing.part.end < closing.source.extent.end]

    def _written_anew(self, outcome: Sealed) -> Closing | None:
        stream, one = outcome.stream, outcome.stream.open_part
        if one is None:
            return None
        started = self._tools.clock.monotonic()
        damaged = False
        try:
            try:
                part = self._merge(stream, one)
            except CorruptError:
                damaged, sound = True, _first_sound(one)
                if not sound:
                    spoiled(self._tools, stream, one)
                    return None
                part = self._merge(stream, one, sound)
        except FileNotFoundError:
            vanished(self._tools, stream, one)
            return None
        except OSError as error:
            if error.errno not in FULL:
                raise
            part = _as_it_is(one)
        closing = Closing(
            stream=stream, reason=outcome.reason, part=part, started=started, seen=(one.first_seen, one.sealed_at),
            source=one, damaged=damaged or is_rest(one),
        )  # fmt: skip
        try:
            self._publisher.index(closing)
            dress_as(part.fd, one.directory.stat(one.name), stream.rotation)
        except (OSError, AgentError) as error:
            closing.give_up(error)
            raise
        return closing

    def _merge(self, stream: Stream, one: Segment, sound: Sequence[Member] = ()) -> Part:
        """Write the open part anew, or of a damaged one the `sound` members.

        Raises OSError, CorruptError; nothing of the new file is left then.
        """
        name = names.merge_name(stream.leaf)
        one.directory.remove(name)  # what an earlier attempt left: its bytes are in the part
        part = Part.create(one.directory, name, stream.raw_id, one.identity)
        compress = self._copier.compressor(stream.rotation.level)
        try:
            with SegmentReader(one) as reader:
                for group in grouped(sound or reader.members(), self._copier.member_size):
                    self._tools.breathe()
                    if len(group) == 1:
                        part.take(group[0], reader.raw(group[0]))
                        continue
                    data = memoryview(b"".join(reader.content(member) for member in group))
                    part.append(
                        data, position=group[0].position, physical=group[0].physical, seen=group[-1].seen,
                        compress=compress, records=sum(member.records for member in group),
                    )  # fmt: skip
            part.flush()
        except BaseException:
            part.discard()
            raise
        reach("merge.written")
        return part

    def _verify(self, closing: Closing) -> None:
        """Read the new file back. What is in it was compared with the live file when it was captured.

        Raises CorruptError, OSError.
        """
        part = closing.part
        drop_cache(part)
        for number in range(len(part.members)):
            self._tools.breathe()
            if closing.stream.rotation.verify == "full":
                part.content(number)
            else:
                check_raw(part, number)

    def _settle(self, closing: Closing) -> None:
        assert closing.published is not None  # noqa: S101 - the caller chose those
        stream, source, part = closing.stream, closing.source, closing.part
        pending = any(one is source for one in stream.pending)
        stream.settle(closing.published)
        if closing.damaged and part.end < source.extent.end:
            left = left_behind(source, part.end)
            stream.segments.append(left)
            stream.pending += (left,) if pending else ()
            stream.closing = True
        if part.start > source.extent.start:
            positions = [source.extent.start, part.start]
            self._tools.lost(stream, "damaged", part.start - source.extent.start, positions=positions, why=DAMAGED)
            tell_damaged(stream, source.path, part.start - source.extent.start)
        self._tools.changed(stream)
        self._publisher.tell(closing, closing.published)

    def _remove_source(self, closing: Closing) -> None:
        """Readers of an older view read the part until here; without a durable name it is the only copy."""
        stream, source = closing.stream, closing.source
        if source.name == closing.part.name or stream.open_part:
            return
        place = stream.place
        place.outlived[stream] = None
        if not place.unsynced:
            with suppress(OSError):  # the next look finishes it
                if closing.damaged:
                    set_aside(self._tools, stream, source)
                else:
                    source.directory.remove(source.name)
                del place.outlived[stream]


def _first_sound(one: Segment) -> list[Member]:
    """The first sound members of a damaged part that follow each other and end with a record."""
    found: list[Member] = []
    whole = 0
    with SegmentReader(one) as reader:
        for position in reader.starts():
            try:
                member = next(reader.members(position))
                ends_record = reader.content(member).endswith(b"\n")
            except CorruptError:
                if whole:
                    break
                found.clear()
                continue
            found.append(member)
            whole = len(found) if ends_record else whole
    return found[:whole]


def _as_it_is(one: Segment) -> Part:
    """The open part itself, to be given an index. Raises CorruptError where it is damaged, and leaves it then."""
    fd = one.directory.open_read(one.name)
    try:
        found = list(headers(fd, one.size))
    finally:
        os.close(fd)
    if not found or found[0].position != one.extent.start or found[-1].offset + found[-1].size != one.size:
        raise CorruptError("the open part is damaged, and there is no room to write anew what is sound", path=one.path)
    return Part.reopen(one.directory, one.name, found)


def _unsynced(closing: Closing, _: OSError) -> None:
    """The name stays: what is in it may be the only copy. Nothing is released until the directory is synced."""
    closing.stream.place.unsynced = True
