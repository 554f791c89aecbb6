"""A segment that is not published yet: a hidden file in the archive directory, written member by member.

Each member describes itself, so whatever a crash leaves is found again by walking (`walk`). Members end where a
record ends, except inside a record longer than a member; `trim` gives up whatever follows the last record end.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace

from agent.kit import disk
from agent.kit.disk import Directory
from agent.kit.errors import CorruptError
from agent.kit.handle import Handle
from agent.kit.steps import reach
from agent.streams import index as indexes
from agent.streams import member as members
from agent.streams.index import Index
from agent.streams.member import Compressor, Member
from agent.streams.position import Identity

_INDEX_ROOM = 2048
"""JSON bytes kept free for everything in an index but its member table."""
_CHUNK = 1 << 17
_ENTRY = 24
"""JSON bytes one entry of the member table takes at most, below 10^11 bytes."""
MAX_MEMBERS = (indexes.MAX_JSON - _INDEX_ROOM - 1600) // _ENTRY
"""A segment ends with this many members; 1600 bytes are kept for a stream's name, escaped."""


class Part(Handle):
    """A part being written."""

    def __init__(self, directory: Directory, name: str, fd: int, stream_id: bytes, identity: Identity) -> None:
        super().__init__(fd)
        self.directory = directory
        self.name = name
        self.stream_id = stream_id
        self.identity = identity
        self.members: list[Member] = []
        """The members of this writing; `before` others lie in front of them where the part was open already."""
        self.checks: list[int] = []
        self.size = 0
        self.before = 0
        self._begin: int | None = None
        """Bytes that were there before this writing, None where it made the file."""
        self._ends_record: list[bool] = []
        self._gathered = bytearray()
        """Members that are not in the file yet: whoever adds some ends with `flush`."""

    @classmethod
    def create(cls, directory: Directory, name: str, stream_id: bytes, identity: Identity) -> Part:
        """Make the file, never over another one. It belongs to us alone until it is published."""
        fd = directory.create(name, 0o600)
        reach("copy.created")
        return cls(directory, name, fd, stream_id, identity)

    @classmethod
    def resume(
        cls, directory: Directory, name: str, stream_id: bytes, identity: Identity, *, size: int, count: int
    ) -> Part:
        """Go on behind the first `count` members, which take `size` bytes; what lies behind them is cut off.

        Raises FileNotFoundError also where their end is gone: to cut a file that is shorter would lengthen it by NULs.
        """
        part = cls(directory, name, directory.open_update(name), stream_id, identity)
        if os.fstat(part.fd).st_size < size:
            part.close()
            raise FileNotFoundError(errno.ENOENT, "the end of the open part", os.path.join(directory.path, name))
        part.before, part._begin, part.size = count, size, size
        part._cut()
        return part

    @classmethod
    def reopen(cls, directory: Directory, name: str, found: list[Member]) -> Part:
        """Take up a part with these members; what lies behind them is cut off."""
        part = cls(directory, name, directory.open_update(name), found[0].stream_id, found[0].identity)
        for member in found:
            raw = os.pread(part.fd, member.size, member.offset)
            part.members.append(member)
            part.checks.append(members.crc32(raw))
            part._ends_record.append(members.inflate(raw, member).endswith(b"\n"))
        part.size = part._begin = found[-1].offset + found[-1].size
        part._cut()
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
        return self.before + len(self.members) >= MAX_MEMBERS

    def append(
        self, data: memoryview, *, position: int, physical: int, seen: float, compress: Compressor, records: int
    ) -> None:
        """Add one member. OSError leaves the part to be discarded."""
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
        self._add(member, b"".join((header, body, trailer)), ends_record=data[-1] == 10)

    def take(self, member: Member, raw: bytes) -> None:
        """Add a member of another part as it is."""
        self._add(replace(member, offset=self.size), raw, ends_record=members.inflate(raw, member).endswith(b"\n"))

    def _add(self, member: Member, raw: bytes, *, ends_record: bool) -> None:
        self._gathered += raw
        self.size += len(raw)
        self.members.append(member)
        self.checks.append(members.crc32(raw))
        self._ends_record.append(ends_record)
        if len(self._gathered) >= member.length:
            self.flush()
        reach("copy.member")

    def flush(self) -> None:
        """Write what is gathered. OSError leaves the part to be discarded.

        As many bytes as a member has plain are written by one call: a call a member takes twice the CPU (measured), and
        each one wakes whoever watches the directory.
        """
        if self._gathered:
            disk.write_all(self.fd, self._gathered)
            self._gathered.clear()

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
        self.flush()
        self.size = self.members[count].offset
        del self.members[count:], self.checks[count:], self._ends_record[count:]
        self._cut()

    def _cut(self) -> None:
        disk.truncate(self.fd, self.size)
        os.lseek(self.fd, self.size, os.SEEK_SET)

    def digest(self) -> str:
        """SHA-256 of the members, in hexadecimal."""
        digest = hashlib.sha256()
        at = 0
        while at < self.size:
            piece = os.pread(self.fd, min(_CHUNK, self.size - at), at)
            if not piece:
                raise CorruptError("the part is shorter than what was written", path=self.name)
            digest.update(piece)
            at += len(piece)
        return digest.hexdigest()

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
        """Give up what was written: the live file still has every byte of it. What was there before stays."""
        try:
            if self._begin is None:
                self.directory.remove(self.name)
            else:
                self.size = self._begin
                self._cut()
        finally:
            self.close()


def headers(fd: int, size: int) -> Iterator[Member]:
    """The members at the beginning of an open part by their headers alone; ends at the first that is not whole."""
    offset = 0
    while offset + members.HEADER_SIZE <= size:
        member = members.decode_header(os.pread(fd, members.HEADER_SIZE, offset), offset)
        if member is None or offset + member.size > size:
            return
        yield member
        offset += member.size


def walk(fd: int, size: int) -> Iterator[tuple[Member, bytes]]:
    """The whole, sound members at the beginning of an open part, with their content; ends at the first bad one."""
    for member in headers(fd, size):
        try:
            yield member, content(fd, member)
        except CorruptError:
            return


def content(fd: int, member: Member) -> bytes:
    """A member's uncompressed bytes, read from its file and checked. Raises CorruptError."""
    return members.inflate(os.pread(fd, member.size, member.offset), member)
