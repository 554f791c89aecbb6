"""Records that a destination refused for good, kept so that somebody can look at them and send them again.

One JSON object a line in `dead-letters-NAME.jsonl` in the state directory. Bounded: at half of the limit the file
becomes `.1`, and the one before that is removed and counted. A letter's id follows from its place in its stream, so the
same record, refused again after a crash, is the same letter. Any thread may call.
"""

from __future__ import annotations

import binascii
import os
import re
import threading
from base64 import b64decode, b64encode
from collections.abc import Collection, Container, Iterable, Iterator
from typing import Literal

import msgspec

from agent.kit import disk
from agent.kit.disk import Directory
from agent.kit.errors import UnknownError

_FILE = re.compile(r"dead-letters-([A-Za-z0-9_-]{1,64})\.jsonl(?:\.1)?")


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One refused record."""

    id: str
    time: float
    """When it was refused, in seconds since 1970 UTC."""
    stream: str
    stream_id: str
    start: int
    """Position of its first byte."""
    end: int
    signal: str = ""
    kind: str
    """Error class, one of a bounded set."""
    reason: str
    encoding: Literal["text", "base64"] = "text"
    record: str = ""
    truncated: bool = False
    """Only the beginning was kept, because the record is longer than the limit."""

    @property
    def content(self) -> bytes:
        """The record's bytes."""
        return b64decode(self.record) if self.encoding == "base64" else self.record.encode()


def pick(letters: Iterable[Letter], ids: Collection[str]) -> list[Letter]:
    """Those of these ids, all where none is given. Raises UnknownError where one is not there."""
    found = list(letters)
    unknown = set(ids) - {one.id for one in found}
    if unknown:
        raise UnknownError(
            f"there is no dead letter {', '.join(sorted(unknown))}", hint="`dead-letters list` has the ids"
        )
    return [one for one in found if not ids or one.id in ids]


def letter(
    *, time: float, stream: str, stream_id: str, start: int, end: int, signal: str, kind: str, reason: str,
    record: bytes, truncated: bool = False,
) -> Letter:  # fmt: skip
    """A letter about the record at [start, end)."""
    encoding: Literal["text", "base64"] = "text"
    try:
        text = record.decode()
    except UnicodeDecodeError:
        text, encoding = b64encode(record).decode("ascii"), "base64"
    return Letter(
        id=f"{stream_id[:8]}-{start}{f'-{signal}' if signal else ''}", time=time, stream=stream, stream_id=stream_id,
        start=start, end=end, signal=signal, kind=kind, reason=reason, encoding=encoding, record=text,
        truncated=truncated,
    )  # fmt: skip


class DeadLetters:
    """The dead letters of one consumer."""

    def __init__(self, directory: Directory, consumer: str, *, limit: int = 32_000_000) -> None:
        self._directory = directory
        self._names = (f"dead-letters-{consumer}.jsonl.1", f"dead-letters-{consumer}.jsonl")
        self._limit = limit // 2
        self._lock = threading.Lock()

    def append(self, letters: Iterable[Letter]) -> int:
        """Make letters durable; how many old ones had to go for them. Raises OSError; some may be there twice then."""
        lines = [msgspec.json.encode(one) + b"\n" for one in letters]
        if not lines:
            return 0
        with self._lock:
            gone = self._make_room(sum(map(len, lines)))
            fd = self._directory.open_append(self._names[1])
            try:
                if _torn(fd):
                    lines.insert(0, b"\n")
                disk.write_all(fd, b"".join(lines))
                disk.sync_file(fd)
            finally:
                os.close(fd)
            self._directory.sync()
        return gone

    def _make_room(self, size: int) -> int:
        old, new = self._names
        try:
            there = self._directory.stat(new).st_size
        except FileNotFoundError:
            return 0
        if not there or there + size <= self._limit:
            return 0
        gone = sum(1 for _ in self._read(old))
        self._directory.replace(new, old)
        return gone

    def all(self) -> Iterator[Letter]:
        """Every letter once, oldest first; a line that a crash cut short is skipped."""
        seen: set[str] = set()
        for name in self._names:
            for one in self._read(name):
                if one.id not in seen:
                    seen.add(one.id)
                    yield one

    def remove(self, ids: Container[str]) -> int:
        """Take letters out; how many there were. Raises OSError, then all are still there."""
        count = 0
        with self._lock:
            for name in self._names:
                found = list(self._read(name))
                kept = [one for one in found if one.id not in ids]
                if len(kept) < len(found):
                    content = b"".join(msgspec.json.encode(one) + b"\n" for one in kept)
                    disk.write_atomic(self._directory, name, content)
                    count += len({one.id for one in found} - {one.id for one in kept})
        return count

    def _read(self, name: str) -> Iterator[Letter]:
        try:
            fd = self._directory.open_read(name)
        except FileNotFoundError:
            return
        with os.fdopen(fd, "rb") as file:
            for line in file:
                try:
                    one = msgspec.json.decode(line, type=Letter)
                    _ = one.content
                except (msgspec.MsgspecError, UnicodeError, binascii.Error):
                    continue
                yield one


def owners(directory: Directory) -> list[str]:
    """The names of all consumers that have dead letters here."""
    found = map(_FILE.fullmatch, directory.names())
    return sorted({match[1] for match in found if match})


def _torn(fd: int) -> bool:
    """True when the file ends in the middle of a line."""
    size = os.fstat(fd).st_size
    return size > 0 and os.pread(fd, 1, size - 1) != b"\n"
