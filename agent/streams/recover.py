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
from typing import NamedTuple

import msgspec

from agent.kit import disk, log
from agent.kit.disk import Directory
from agent.kit.errors import CorruptError, RefusedError, printable
from agent.kit.steps import reach
from agent.streams import index as indexes
from agent.streams import member as members
from agent.streams import names, openpart, salvage, segment
from agent.streams.archive import Leftovers
from agent.streams.catalog import Catalog, Place, Stream
from agent.streams.hints import Hint
from agent.streams.live import Live
from agent.streams.member import Member
from agent.streams.openpart import DAMAGED, tell_damaged
from agent.streams.part import content, headers, walk
from agent.streams.salvage import Gone
from agent.streams.segment import Segment
from agent.streams.tools import Tools

_log = log.get("engine")
_CHUNK = 1 << 20


class Found(NamedTuple):
    """A sound member of a part. Its content is read again where it is asked for: a part may be larger than memory."""

    member: Member
    ends_record: bool


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
                found = [Found(one, data[-1:] == b"\n") for one, data in walk(fd, os.fstat(fd).st_size)]
                if names.is_open(name):
                    self._open_part(place, name, fd, found)
                elif found:
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

    def _open_part(self, place: Place, name: str, fd: int, found: list[Found]) -> None:
        """It may be the only copy of what is damaged in it too: nothing of that is cut off before it lies elsewhere."""
        sound = found[-1].member.offset + found[-1].member.size if found else 0
        rest = salvage.rest(fd, sound, os.fstat(fd).st_size)
        last = next((one.member for one in reversed(found) if one.ends_record), None)
        first = found[0].member if found else rest.begun or rest.last
        stream = self._owner(place, name, first) if first else self._named(place, name)
        gone = salvage.NOTHING if stream is not None and not rest.torn else None  # while it runs, merging has counted
        if stream is not None and stream.incarnation is None:
            hint = self.hints.get(stream.id)
            gone = salvage.gone(stream, fd, last, rest, hint)
            gone = gone and salvage.but_for_merge(stream, gone)
            if gone and hint and not rest.size and gone.end == hint.sealed:
                gone = None  # it was counted when the part was cut, and S has moved on
        if stream is not None and gone is not None:
            if last and (not rest.size or self._copy_aside(place, name, fd, last.offset + last.size, stream.name)):
                self._part(place, name, fd, found)
            else:
                self._set_aside(place, name, DAMAGED, stream.name, found)
            self._lose(stream, name, gone)
        elif found:
            self._part(place, name, fd, found)
        else:
            self._remnant(place, name, os.pread(fd, members.HEADER_SIZE, 0), torn=rest.torn)

    def _lose(self, stream: Stream, name: str, gone: Gone) -> None:
        """Count what was in the damaged part alone, and let the stream go on behind it."""
        if gone.end > gone.start:
            hint = self.hints.get(stream.id) or Hint(stream=stream.name, id=stream.id)
            largest = hint.largest if (hint.inode, hint.base) == (gone.identity.inode, gone.base) else 0
            self.hints[stream.id] = moved = msgspec.structs.replace(
                hint, stream=stream.name, inode=gone.identity.inode, birth=gone.identity.birth, base=gone.base,
                sealed=gone.end, largest=max(largest, gone.end), released=0, boot=self.tools.boot, settled=False,
            )  # fmt: skip
            try:
                self.tools.hints.note(moved)  # before it is told: after a crash in between it is told never, not twice
            except OSError as error:
                self.tools.forgetful.begins(self.tools.audit, error)
            positions = [gone.base + gone.start, gone.base + gone.end]
            self.tools.lost(stream, "damaged", gone.end - gone.start, positions=positions, why=DAMAGED)
        tell_damaged(stream, os.path.join(stream.place.archive.path, name), gone.end - gone.start)

    def _part(self, place: Place, name: str, fd: int, found: list[Found]) -> None:
        stream = self._owner(place, name, found[0].member)
        if stream is None:
            self._set_aside(place, name, "no stream has this id", found=found)
        elif self._in_segments(stream, fd, found):
            place.archive.sync()  # the segment's name, before the other copy goes
            place.archive.remove(name)
            self._tell(stream.name, name, "part dropped: its bytes are elsewhere")
        elif not names.is_open(name) and self._still_live(stream, fd, found):
            place.archive.remove(name)
            self._tell(stream.name, name, "part dropped: its bytes are elsewhere")
        elif found[0].member.position < stream.end:
            self._set_aside(place, name, "it overlaps published segments but differs from them", stream.name, found)
        else:
            self._adopt(place, name, fd, stream, found)

    def _adopt(self, place: Place, name: str, fd: int, stream: Stream, found: list[Found]) -> None:
        """The part may be the only copy: cut it at its last record end, and make it the stream's open part."""
        kept = list(found)
        while kept and not kept[-1].ends_record:
            kept.pop()
        if not kept:
            self._set_aside(place, name, "no whole record in it", stream.name, found)
            return
        whole = [one.member for one in kept]
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

    def _remnant(self, place: Place, name: str, head: bytes, *, torn: bool = True) -> None:
        """A part without one whole member: every byte is where it was before. Other programs' files stay.

        An open part that is not only `torn` held more than that, so it is kept.
        """
        known = [stream.leaf for stream in self.catalog.all() if stream.place is place]
        known += [place_leaf for hint in self.hints.values() if (place_leaf := _leaf(place, hint))]
        leaves = [*known, *place.home.names()]
        ours = next((leaf for leaf in leaves if name in names.hidden_names(leaf)), None)
        begins = members.begins(head) or indexes.begins(head)
        if torn and (begins or (ours is not None and not head.strip(b"\0"))):
            place.archive.remove(name)
            self._tell("", name, "empty part removed")
        elif ours is not None or begins:
            why = "it is no part, but has the name of one" if torn else DAMAGED
            self._set_aside(place, name, why, place.stream_name(ours) if ours else "")

    def _named(self, place: Place, name: str) -> Stream | None:
        """The stream that a part without a whole member is named after."""
        for stream in self.catalog.streams.values():
            if stream.place is place and name in names.hidden_names(stream.leaf):
                return stream
        for hint in self.hints.values():
            if (leaf := _leaf(place, hint)) and name in names.hidden_names(leaf):
                return self.catalog.stream(place, leaf, hint.id)
        return None

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

    def _in_segments(self, stream: Stream, fd: int, found: list[Found]) -> bool:
        return all(self._sealed_as(stream, fd, one.member) for one in found)

    def _sealed_as(self, stream: Stream, fd: int, member: Member) -> bool:
        for one in stream.segments:
            if one.extent.start <= member.position and member.position + member.length <= one.extent.end:
                with suppress(CorruptError), segment.SegmentReader(one) as reader:
                    return reader.range(member.position, member.position + member.length) == content(fd, member)
        return False

    def _still_live(self, stream: Stream, fd: int, found: list[Found]) -> bool:
        try:
            with Live.open(stream.place.home, stream.leaf) as live:
                if not live.identity.same_file(found[0].member.identity):
                    return False
                members = (one.member for one in found)
                return all(live.read(one.physical, one.length) == content(fd, one) for one in members)
        except (OSError, RefusedError, CorruptError):
            return False

    def _set_aside(self, place: Place, name: str, why: str, stream: str = "", found: Sequence[Found] = ()) -> None:
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
        last = found[-1].member if found else None
        positions = {"positions": [found[0].member.position, last.position + last.length]} if last else {}
        path = os.path.join(place.archive.path, name)
        self.tools.audit.write("quarantine", stream=stream, reason=why, path=path, bytes=size, **positions)

    def _copy_aside(self, place: Place, name: str, fd: int, offset: int, stream: str) -> bool:
        """Copy what lies in a file from `offset` on into quarantine; False where there is no room for it."""
        if self.quarantine is None:
            return False
        target = next(one for n in range(1000) if not self.quarantine.exists(one := f"{name.lstrip('.')}.{n}"))
        try:
            to = self.quarantine.create(target)
            try:
                size = _copy(fd, to, offset)
                disk.sync_file(to)
            finally:
                os.close(to)
            self.quarantine.sync()
        except OSError:
            with suppress(OSError):  # the whole file is set aside then
                self.quarantine.remove(target)
            return False
        self.tools.metrics.quarantined_files.inc()
        path = os.path.join(place.archive.path, name)
        self.tools.audit.write("quarantine", stream=stream, reason=DAMAGED, path=path, bytes=size, offset=offset)
        return True

    def _tell(self, stream: str, name: str, what: str, **details: object) -> None:
        self.tools.audit.write("recover", stream=stream, reason=what, file=name, **details)


def _rank(name: str) -> int:
    """What was captured is dealt with before what was made of it."""
    return 0 if names.is_open(name) else 1


def _copy(fd: int, to: int, offset: int) -> int:
    size = 0
    while piece := os.pread(fd, _CHUNK, offset + size):
        size += disk.write_all(to, piece)
    return size


def _ends_record(fd: int, member: Member) -> bool:
    try:
        return content(fd, member).endswith(b"\n")
    except CorruptError:
        return False


def _leaf(place: Place, hint: Hint) -> str:
    """The file that a hint speaks of, where it lies in this place."""
    leaf = hint.stream.rpartition("/")[2]
    return leaf if place.stream_name(leaf) == hint.stream else ""
