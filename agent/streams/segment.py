"""A sealed segment as a file: its index, its members, and any range of its bytes.

Segments are immutable, so what is read once stays true. The open part of a stream is a segment that still grows and
has no index: each value of it tells of what was durable at its time, and what it tells stays true as well. Everything
is checked where it is read: a member that does not match its header raises CorruptError with path and position, never
silence.
"""

from __future__ import annotations

import errno
import os
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import overload

from agent.kit import linux
from agent.kit.disk import Directory
from agent.kit.errors import CorruptError
from agent.kit.handle import Handle
from agent.streams import index as indexes
from agent.streams import member as members
from agent.streams.index import Index
from agent.streams.member import Member
from agent.streams.position import Extent, Identity


class Table(Sequence[tuple[int, int]]):
    """Where the members of an open part begin, uncompressed and in the file: it grows while readers use what they know.

    `file` is the part's own identity: another one may have its name by the time a reader opens it.
    """

    __slots__ = ("_offsets", "_starts", "file")

    def __init__(self, file: Identity) -> None:
        self.file = file
        self._starts = array("Q")
        self._offsets = array("Q")

    def add(self, start: int, offset: int) -> None:
        """One more member."""
        self._offsets.append(offset)
        self._starts.append(start)

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, number: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[tuple[int, int]]: ...
    def __getitem__(self, number: int | slice) -> tuple[int, int] | Sequence[tuple[int, int]]:
        if isinstance(number, slice):
            return list(zip(self._starts[number], self._offsets[number], strict=True))
        return self._starts[number], self._offsets[number]


@dataclass(frozen=True, slots=True)
class Segment:
    """What the catalogue knows of a segment without opening it again."""

    directory: Directory
    name: str
    stream: str
    stream_id: str
    identity: Identity
    extent: Extent
    source: Extent
    records: int
    gap_before: int
    marker: bool
    sealed_at: float
    first_seen: float
    size: int
    allocated: int
    guard: str
    changed: float
    """The inode's ctime: a second witness of the age."""
    boot: str = ""
    uptime: float = 0.0
    """Seconds on the steady clock of that boot when it was sealed."""
    table: Table | None = field(default=None, compare=False)
    """Of the open part only: it has no index yet."""

    @property
    def open(self) -> bool:
        """True for the open part, which is not published yet."""
        return self.table is not None

    @property
    def path(self) -> str:
        """Where the segment lies."""
        return os.path.join(self.directory.path, self.name)

    @property
    def base(self) -> int:
        """The position of the incarnation's physical offset 0."""
        return self.extent.start - self.source.start


def describe(directory: Directory, name: str, found: Index, info: os.stat_result) -> Segment:
    """The catalogue's entry for a segment with this index."""
    return Segment(
        directory=directory,
        name=name,
        stream=found.stream,
        stream_id=found.stream_id,
        identity=found.identity,
        extent=found.extent,
        source=found.source,
        records=found.records,
        gap_before=found.gap_before,
        marker=found.marker,
        sealed_at=found.sealed_at,
        first_seen=found.seen[0],
        size=info.st_size,
        allocated=info.st_blocks * 512,
        guard=found.guard,
        changed=info.st_ctime,
        boot=sys.intern(found.boot),
        uptime=found.uptime,
    )


def load(directory: Directory, name: str) -> Segment:
    """Read a segment's index. Raises CorruptError when the file does not end in one."""
    fd = directory.open_read(name)
    try:
        info = os.fstat(fd)
        return describe(directory, name, read_index(fd, info.st_size, os.path.join(directory.path, name))[0], info)
    finally:
        os.close(fd)


def read_index(fd: int, size: int, path: str) -> tuple[Index, int]:
    """The index of an open segment, and where its member begins."""
    want = indexes.first_read(size)
    try:
        found = indexes.decode(os.pread(fd, want, size - want))
        if isinstance(found, int):
            if found > size:
                raise CorruptError("the segment is shorter than its index")
            found = indexes.decode(os.pread(fd, found, size - found))
        if isinstance(found, int):
            raise CorruptError("the segment index is damaged")
    except CorruptError as error:
        error.path = path
        raise
    return found[0], size - found[1]


def file_identity(fd: int) -> Identity:
    """Which file an open part is."""
    return Identity(os.fstat(fd).st_ino, linux.birth_time(fd))


_START = itemgetter(0)


class SegmentReader(Handle):
    """An open segment; bytes by position. FileNotFoundError when it is not there any more."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        super().__init__(segment.directory.open_read(segment.name))
        try:
            if segment.table is None:
                self.index, self.data_end = read_index(self.fd, os.fstat(self.fd).st_size, segment.path)
                self._table: Sequence[tuple[int, int]] = self.index.members
            elif segment.table.file == file_identity(self.fd):
                self._table, self.data_end = segment.table, segment.size
            else:
                raise FileNotFoundError(errno.ENOENT, "the open part was published", segment.path)
        except BaseException:
            self.close()
            raise

    def members(self, position: int | None = None) -> Iterator[Member]:
        """The members' headers, from the one that holds `position` on."""
        start = self.segment.extent.start
        first = 0 if position is None else max(0, bisect_right(self._table, position - start, key=_START) - 1)
        if position is not None and position >= self.segment.extent.end:
            return
        for number in range(first, self._count()):
            uncompressed, offset = self._table[number]
            yield self._header(offset, start + uncompressed)

    def starts(self) -> Iterator[int]:
        """The positions at which members begin, by the table alone: it is read where a member is damaged."""
        return (self.segment.extent.start + self._table[number][0] for number in range(self._count()))

    def _count(self) -> int:
        """How many members there are; the table of an open part may have grown since."""
        return bisect_left(self._table, self.segment.extent.length, key=_START)

    def content(self, member: Member) -> bytes:
        """A member's uncompressed bytes."""
        raw = os.pread(self.fd, member.size, member.offset)
        try:
            return members.inflate(raw, member)
        except CorruptError as error:
            error.path = self.segment.path
            raise

    def raw(self, member: Member) -> bytes:
        """A member as it lies in the file."""
        return os.pread(self.fd, member.size, member.offset)

    def range(self, start: int, end: int) -> bytes:
        """The bytes of the positions [start, end), which must lie within the segment."""
        pieces: list[bytes] = []
        for one in self.members(start):
            if one.position >= end:
                break
            data = self.content(one)
            pieces.append(data[max(0, start - one.position) : end - one.position])
        return b"".join(pieces)

    def _header(self, offset: int, position: int) -> Member:
        found = members.decode_header(os.pread(self.fd, members.HEADER_SIZE, offset), offset)
        if found is None or found.position != position or offset + found.size > self.data_end:
            raise CorruptError("a member's header is damaged", path=self.segment.path, position=position)
        return found


def tail(segment: Segment, length: int) -> bytes:
    """The last `length` bytes of a segment's content, fewer when it is shorter."""
    with SegmentReader(segment) as reader:
        return reader.range(max(segment.extent.start, segment.extent.end - length), segment.extent.end)
