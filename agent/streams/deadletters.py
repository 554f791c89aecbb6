"""Records that a destination refused for good, kept so that somebody can look at them and send them again.

One JSON object a line in `dead-letters-NAME.jsonl` in the state directory. Bounded: at half of the limit the file
becomes `.1`; the letters of the one before that go and are counted, but not before the new ones are durable. A letter's
id follows from its place in its stream, so the same record, refused again after a crash, is the same letter. Any thread
may call.
"""

from __future__ import annotations

import binascii
import os
import re
import threading
from base64 import b64decode, b64encode
from collections.abc import Collection, Container, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

from agent.kit import disk
from agent.kit.disk import Directory
from agent.kit.errors import LockedError, UnknownError

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
        self._limit = limit
        self._lock = threading.Lock()
        self._consumer = consumer
        self._busy = threading.Lock()
        self._gone: set[str] = set()
        """Letters that had to go, and were not told yet because something failed behind that."""

    def append(self, letters: Iterable[Letter]) -> int:
        """Make letters durable; how many had to go for them, the oldest first. A letter above the limit is kept alone.

        Raises OSError: some may be there twice then, and what went all the same is told by the next call.
        """
        lines = {one.id: msgspec.json.encode(one) + b"\n" for one in letters}
        if not lines:
            return 0
        with self._lock:
            if self._size(self._names[1]) + sum(map(len, lines.values())) <= self._limit // 2:
                self._add(list(lines.values()))
            else:
                shares = _shares(lines, self._limit // 2)
                for share in shares[-2:]:
                    self._turn(share)
                self._gone.update(*shares[:-2])
            gone = len(self._gone)
            self._gone.clear()
        return gone

    def _add(self, lines: list[bytes]) -> None:
        fd = self._directory.open_append(self._names[1])
        try:
            if _torn(fd):
                lines.insert(0, b"\n")
            disk.write_all(fd, b"".join(lines))
            disk.sync_file(fd)
        finally:
            os.close(fd)
        self._directory.sync()

    def _turn(self, share: dict[str, bytes]) -> None:
        """Begin another file with these; the one before is kept where there is room for both."""
        old, new = self._names
        fresh, content = f"{new}.next", b"".join(share.values())
        disk.write_atomic(self._directory, fresh, content)
        before = new if self._size(new) else old
        fits = self._size(before) + len(content) <= self._limit
        kept = share.keys() | {one.id for one in self._read(before) if fits}
        self._gone |= {one.id for one in self.all()} - kept
        if not fits:
            self._directory.remove(old)
        elif before == new:
            self._directory.replace(new, old)
        self._directory.replace(fresh, new)
        self._directory.sync()

    def _size(self, name: str) -> int:
        try:
            return self._directory.stat(name).st_size
        except FileNotFoundError:
            return 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else sends or drops letters meanwhile. Raises LockedError while somebody does."""
        if not self._busy.acquire(blocking=False):
            raise LockedError(
                f"the dead letters of {self._consumer} are being sent again already",
                hint=f"wait until that is done; `dead-letters list {self._consumer}` shows what is left",
            )
        try:
            yield
        finally:
            self._busy.release()

    def all(self) -> Iterator[Letter]:
        """Every letter once, oldest first; a line that a crash cut short, or that is damaged, is skipped."""
        seen: set[str] = set()
        for name in self._names:
            for one in self._read(name):
                if one.id not in seen:
                    seen.add(one.id)
                    yield one

    def remove(self, ids: Container[str]) -> int:
        """Take letters out; how many there were. What cannot be read stays. Raises OSError, then some may be left."""
        gone: set[str] = set()
        with self._lock:
            for name in self._names:
                found: set[str] = set()
                kept: list[bytes] = []
                for line, one in self._lines(name):
                    if one and one.id in ids:
                        found.add(one.id)
                    else:
                        kept.append(line)
                if found:
                    disk.write_atomic(self._directory, name, b"".join(kept))
                    gone |= found
        return len(gone)

    def _read(self, name: str) -> Iterator[Letter]:
        return (one for _, one in self._lines(name) if one)

    def _lines(self, name: str) -> Iterator[tuple[bytes, Letter | None]]:
        """Each line of a file as it is, with the letter that it is."""
        try:
            fd = self._directory.open_read(name)
        except FileNotFoundError:
            return
        with os.fdopen(fd, "rb") as file:
            for line in file:
                yield line, _letter(line)


def _letter(line: bytes) -> Letter | None:
    try:
        one = msgspec.json.decode(line, type=Letter)
        _ = one.content
    except (msgspec.MsgspecError, UnicodeError, binascii.Error, RecursionError):
        return None
    return one


def _shares(lines: dict[str, bytes], limit: int) -> list[dict[str, bytes]]:
    """The lines in groups of so many bytes, or of one line; filled from the end, so that the newest fill theirs."""
    shares: list[dict[str, bytes]] = []
    room = 0
    for one, line in reversed(lines.items()):
        room -= len(line)
        if room < 0:
            shares.insert(0, {})
            room = limit - len(line)
        shares[0][one] = line
    return [dict(reversed(share.items())) for share in shares]


def owners(directory: Directory) -> list[str]:
    """The names of all consumers that have dead letters here."""
    found = map(_FILE.fullmatch, directory.names())
    return sorted({match[1] for match in found if match})


def _torn(fd: int) -> bool:
    """True when the file ends in the middle of a line."""
    size = os.fstat(fd).st_size
    return size > 0 and os.pread(fd, 1, size - 1) != b"\n"
