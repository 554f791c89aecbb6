"""Finding parts again at a start, by what they say about themselves.

Decided by content, never by a name. A part is dropped only when a segment holds exactly its bytes, or the live file
does and S never moved over them; it becomes the stream's open part when it may be the only copy; what nothing explains
is quarantined, never deleted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from agent.kit import disk, log
from agent.kit.disk import Directory
from agent.kit.errors import CorruptError, RefusedError, printable
from agent.kit.steps import reach
from agent.streams import index as indexes
from agent.streams import member as members
from agent.streams import names, openpart, segment
from agent.streams.archive import Leftovers
from agent.streams.catalog import Catalog, Place, Stream
from agent.streams.hints import Hint
from agent.streams.live import Live
from agent.streams.member import Member
from agent.streams.part import headers, walk
from agent.streams.segment import Segment
from agent.streams.tools import Tools

_log = log.get("engine")


@dataclass(slots=True)
class Recovery:
    """Deals with the parts beside the segments of a catalogue that was just read."""

    tools: Tools
    catalog: Catalog
    quarantine: Directory | None
    hints: dict[str, Hint]
    left: set[str] = field(default_factory=set)
    """Files by the names of parts that may not be opened."""

    def expect(self, place: Place) -> None:
        """Give the streams that hints tell of their ids, also those of which nothing was sealed yet."""
        known = {one.id for one in self.catalog.all()}
        for hint in self.hints.values():
            if (leaf := _leaf(place, hint)) and hint.id not in known:
                self.catalog.stream(place, leaf, hint.id)

    def parts(self, place: Place, left: Leftovers) -> None:
        """Deal with every part in a place's archive; the open parts that streams have already are left alone."""
        known = {one.name for stream in self.catalog.all() if stream.place is place and (one := stream.open_part)}
        for name in sorted(set(left.parts) - known, key=_rank):
            try:
                fd = place.archive.open_update(name)
            except PermissionError as error:
                self._leave(place, name, error)
                continue
            try:
                found = list(walk(fd, os.fstat(fd).st_size))
                if found:
                    self._part(place, name, fd, found)
                else:
                    self._remnant(place, name, os.pread(fd, members.HEADER_SIZE, 0))
            finally:
                os.close(fd)

    def _leave(self, place: Place, name: str, error: PermissionError) -> None:
        """Another user's file, told once: a part that a run as root left stays in its stream's way until it goes."""
        path = os.path.join(place.archive.path, name)
        if path not in self.left:
            self.left.add(path)
            self.tools.audit.write("error", reason="unreadable part", path=path, why=printable(str(error)))
            _log.warning("a part is left alone", path=path, error=error, hint="remove it, or give it to the agent")

    def peek_all(self, place: Place, left: Leftovers) -> None:
        """Take up open parts as they are, and change nothing: another process may be writing them."""
        for name in filter(names.is_open, left.parts):
            part = self.peek(place, name)
            there = (one for one in self.catalog.all() if part and one.id == part.stream_id and one.place is place)
            owner = next(there, None)
            if part and owner and not owner.open_part and part.extent.start >= owner.end:
                owner.segments.append(part)

    def peek(self, place: Place, name: str, stream: Stream | None = None) -> Segment | None:
        """The open part of that name, as it is now; of that stream, or of the one that its members name."""
        try:
            fd = place.archive.open_read(name)
        except OSError:
            return None
        try:
            found = list(headers(fd, os.fstat(fd).st_size))
            while found and not _ends_record(fd, found[-1]):
                found.pop()
            owner = self._owner(place, name, found[0]) if found else None
            if owner is None or (stream and owner is not stream):
                return None
            return openpart.found(owner, place.archive, name, fd, found)
        finally:
            os.close(fd)

    def _part(self, place: Place, name: str, fd: int, found: list[tuple[Member, bytes]]) -> None:
        stream = self._owner(place, name, found[0][0])
        if stream is None:
            self._set_aside(place, name, "no stream has this id", found=found)
        elif self._in_segments(stream, found):
            place.archive.sync()  # the segment's name, before the other copy goes
            place.archive.remove(name)
            self._tell(stream.name, name, "part dropped: its bytes are elsewhere")
        elif not names.is_open(name) and self._still_live(stream, found):
            place.archive.remove(name)
            self._tell(stream.name, name, "part dropped: its bytes are elsewhere")
        elif found[0][0].position < stream.end:
            self._set_aside(place, name, "it overlaps published segments but differs from them", stream.name, found)
        else:
            self._adopt(place, name, fd, stream, found)

    def _adopt(self, place: Place, name: str, fd: int, stream: Stream, found: list[tuple[Member, bytes]]) -> None:
        """The part may be the only copy: cut it at its last record end, and make it the stream's open part."""
        kept = list(found)
        while kept and not kept[-1][1].endswith(b"\n"):
            kept.pop()
        if not kept:
            self._set_aside(place, name, "no whole record in it", stream.name, found)
            return
        whole = [member for member, _ in kept]
        place.sync_removals()
        disk.truncate(fd, whole[-1].offset + whole[-1].size)
        disk.sync_file(fd)
        target = names.open_name(stream.leaf)
        if name != target:
            place.archive.publish(name, target)
        place.archive.sync()
        reach("recover.adopted")
        stream.segments.append(openpart.found(stream, place.archive, target, fd, whole))
        noticed = max(0.0, self.tools.clock.now() - whole[0].seen)
        stream.part_since = self.tools.clock.monotonic() - noticed
        end = whole[-1].position + whole[-1].length
        self._tell(stream.name, target, "part taken up", positions=[whole[0].position, end])

    def _remnant(self, place: Place, name: str, head: bytes) -> None:
        """A part without one whole member: every byte is where it was before. Other programs' files stay."""
        known = [stream.leaf for stream in self.catalog.all() if stream.place is place]
        known += [place_leaf for hint in self.hints.values() if (place_leaf := _leaf(place, hint))]
        leaves = [*known, *place.home.names()]
        ours = next((leaf for leaf in leaves if name in names.hidden_names(leaf)), None)
        if members.begins(head) or indexes.begins(head) or (ours is not None and not head.strip(b"\0")):
            place.archive.remove(name)
            self._tell("", name, "empty part removed")
        elif ours is not None:
            self._set_aside(place, name, "it is no part, but has the name of one", place.stream_name(ours))

    def _owner(self, place: Place, name: str, first: Member) -> Stream | None:
        stream_id = first.stream_id.hex()
        for stream in self.catalog.all():
            if stream.id == stream_id:
                return stream if stream.place is place else None  # a copy of a directory is not the directory
        hint = self.hints.get(stream_id)
        if hint and hint.stream and hint.stream.rpartition("/")[0] == place.relative:
            return self.catalog.stream(place, hint.stream.rpartition("/")[2], hint.id)
        with place.home.entries() as entries:
            for entry in entries:
                # The state directory is gone and nothing was sealed yet: the part's name still tells the file.
                leaf = names.leaf_of_aside(entry.name) or entry.name
                if name in names.hidden_names(leaf) and entry.is_file(follow_symlinks=False):
                    return self.catalog.stream(place, leaf, stream_id)
        leaf = name[1:].rpartition(".")[0]
        if names.is_open(name) and names.open_name(leaf) == name:  # the file is gone as well
            return self.catalog.stream(place, leaf, stream_id)
        return None

    def _in_segments(self, stream: Stream, found: list[tuple[Member, bytes]]) -> bool:
        return all(self._sealed_as(stream, member, content) for member, content in found)

    def _sealed_as(self, stream: Stream, member: Member, content: bytes) -> bool:
        for one in stream.segments:
            if one.extent.start <= member.position and member.position + member.length <= one.extent.end:
                with suppress(CorruptError), segment.SegmentReader(one) as reader:
                    return reader.range(member.position, member.position + member.length) == content
        return False

    def _still_live(self, stream: Stream, found: list[tuple[Member, bytes]]) -> bool:
        try:
            with Live.open(stream.place.home, stream.leaf) as live:
                if not live.identity.same_file(found[0][0].identity):
                    return False
                return all(live.read(member.physical, member.length) == content for member, content in found)
        except (OSError, RefusedError):
            return False

    def _set_aside(
        self, place: Place, name: str, why: str, stream: str = "", found: Sequence[tuple[Member, bytes]] = ()
    ) -> None:
        """Move a file into quarantine; where that is another file system, it gets another name where it is."""
        size = 0
        with suppress(OSError):  # what is gone is told all the same
            size = place.archive.stat(name).st_size
        for number in range(1000):
            target = f"{name.lstrip('.')}.{number}"
            try:
                if self.quarantine is None:
                    return
                place.archive.move(name, self.quarantine, target)
            except FileExistsError:
                continue
            except OSError:
                with suppress(OSError):
                    place.archive.publish(name, f".{target}.quarantined")
            break
        self.tools.metrics.quarantined_files.inc()
        last = found[-1][0] if found else None
        positions = {"positions": [found[0][0].position, last.position + last.length]} if last else {}
        path = os.path.join(place.archive.path, name)
        self.tools.audit.write("quarantine", stream=stream, reason=why, path=path, bytes=size, **positions)

    def _tell(self, stream: str, name: str, what: str, **details: object) -> None:
        self.tools.audit.write("recover", stream=stream, reason=what, file=name, **details)


def _rank(name: str) -> int:
    """What was captured is dealt with before what was made of it."""
    return 0 if names.is_open(name) else 1


def _ends_record(fd: int, member: Member) -> bool:
    try:
        return members.inflate(os.pread(fd, member.size, member.offset), member).endswith(b"\n")
    except CorruptError:
        return False


def _leaf(place: Place, hint: Hint) -> str:
    """The file that a hint speaks of, where it lies in this place."""
    leaf = hint.stream.rpartition("/")[2]
    return leaf if place.stream_name(leaf) == hint.stream else ""
