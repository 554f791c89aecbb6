"""A segment that is not published yet: a hidden file in the archive directory, written member by member.

Each member describes itself, so whatever a crash leaves is found again by walking (`walk`). Members end where a
record ends, except inside a record longer than a member; `trim` gives up whatever follows the last record end.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from agent.kit import disk
from agent.kit.disk import Directory
from agent.kit.errors import CorruptError
from agent.kit.steps import reach
from agent.streams import index as indexes
from agent.streams import member as members
from agent.streams.index import Index
from agent.streams.member import Compressor, Member
from agent.streams.position import Identity

_INDEX_ROOM = 2048
"""JSON bytes kept free for everything in an index but its member table."""
_ENTRY = 24
"""JSON bytes one entry of the member table takes at most, below 10^11 bytes."""
MAX_MEMBERS = (indexes.MAX_JSON - _INDEX_ROOM - 1600) // _ENTRY
"""A segment ends with this many members; 1600 bytes are kept for a stream's name, escaped."""


class Part:
    """A part being written."""

    def __init__(self, directory: Directory, name: str, fd: int, stream_id: bytes, identity: Identity) -> None:
        self.directory = directory
        self.name = name
        self.fd = fd
        self.stream_id = stream_id
        self.identity = identity
        self.members: list[Member] = []
        self.checks: list[int] = []
        self.size = 0
        self._ends_record: list[bool] = []
        self._digest = hashlib.sha256()

    @classmethod
    def create(cls, directory: Directory, name: str, stream_id: bytes, identity: Identity) -> Part:
        """Make the file, never over another one. It belongs to us alone until it is published."""
        fd = directory.create(name, 0o600)
        reach("copy.created")
        return cls(directory, name, fd, stream_id, identity)

    @classmethod
    def reopen(cls, directory: Directory, name: str, found: list[Member]) -> Part:
        """Go on with a part that a crash left: its sound members, everything behind them cut off."""
        fd = directory.open_update(name)
        part = cls(directory, name, fd, found[0].stream_id, found[0].identity)
        for member in found:
            raw = os.pread(fd, member.size, member.offset)
            part._digest.update(raw)
            part.members.append(member)
            part.checks.append(members.crc32(raw))
            part._ends_record.append(members.inflate(raw, member).endswith(b"\n"))
        part.size = found[-1].offset + found[-1].size
        disk.truncate(fd, part.size)
        os.lseek(fd, part.size, os.SEEK_SET)
        return part

    @property
    def start(self) -> int:
        """Position of the first byte."""
        return self.members[0].position

    @property
    def end(self) -> int:
        """Position after the last byte."""
        return self.members[-1].position + self.members[-1].length

    @property
    def source_end(self) -> int:
        """Physical offset after the last byte."""
        return self.members[-1].physical + self.members[-1].length

    @property
    def records(self) -> int:
        """Line ends within the part; an unterminated last line counts when it was sealed."""
        count = sum(member.records for member in self.members)
        return count + (1 if self._ends_record and not self._ends_record[-1] else 0)

    def full(self) -> bool:
        """True when its index could not name another member."""
        return len(self.members) >= MAX_MEMBERS

    def append(
        self, data: memoryview, *, position: int, physical: int, seen: float, compress: Compressor, records: int
    ) -> None:
        """Write one member. OSError leaves the part to be discarded."""
        member, header, body, trailer = members.encode(
            data,
            stream_id=self.stream_id,
            identity=self.identity,
            position=position,
            physical=physical,
            seen=seen,
            records=records,
            compress=compress,
            offset=self.size,
        )
        raw = b"".join((header, body, trailer))
        self.size += disk.write_all(self.fd, raw)
        self._digest.update(raw)
        self.members.append(member)
        self.checks.append(members.crc32(raw))
        self._ends_record.append(data[-1] == 10)
        reach("copy.member")

    def trim(self, count: int | None = None) -> None:
        """Give up every member after the last record end within the first `count` members."""
        keep = len(self.members) if count is None else count
        while keep and not self._ends_record[keep - 1]:
            keep -= 1
        self.keep(keep)

    def keep(self, count: int) -> None:
        """Give up every member after the first `count`."""
        if count == len(self.members):
            return
        self.size = self.members[count].offset
        del self.members[count:], self.checks[count:], self._ends_record[count:]
        disk.truncate(self.fd, self.size)
        os.lseek(self.fd, self.size, os.SEEK_SET)
        self._digest = hashlib.sha256()
        for member in self.members:
            self._digest.update(os.pread(self.fd, member.size, member.offset))

    def digest(self) -> str:
        """SHA-256 of the members, in hexadecimal."""
        return self._digest.hexdigest()

    def table(self) -> tuple[tuple[int, int], ...]:
        """The index's member table: uncompressed and compressed offsets."""
        first = self.members[0].position if self.members else 0
        return tuple((member.position - first, member.offset) for member in self.members)

    def finish(self, index: Index) -> None:
        """Write the index member; the part is complete."""
        disk.write_all(self.fd, indexes.encode(index))
        reach("copy.written")

    def raw(self, number: int) -> bytes:
        """A member as it lies in the file."""
        member = self.members[number]
        return os.pread(self.fd, member.size, member.offset)

    def content(self, number: int) -> bytes:
        """A member's uncompressed bytes, checked. Raises CorruptError."""
        return members.inflate(self.raw(number), self.members[number])

    def sync(self) -> None:
        """Make the content durable; after OSError the part must be discarded (attack H8)."""
        disk.sync_file(self.fd)

    def discard(self) -> None:
        """Remove the file. The live file still has every byte of it."""
        self.close()
        self.directory.remove(self.name)

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def walk(fd: int, size: int) -> Iterator[tuple[Member, bytes]]:
    """The whole, sound members at the beginning of an open part, with their content; ends at the first bad one."""
    offset = 0
    while offset + members.HEADER_SIZE <= size:
        member = members.decode_header(os.pread(fd, members.HEADER_SIZE, offset), offset)
        if member is None or offset + member.size > size:
            return
        try:
            content = members.inflate(os.pread(fd, member.size, offset), member)
        except CorruptError:
            return
        yield member, content
        offset += member.size
