"""What is worth remembering but may be lost: a stream's id, the life it was in, and how far it was seen.

A journal of JSON lines in the state directory; the last line of a stream wins. Nothing here is needed to keep data
safe: positions and sealed ends come from segments. Without it a stream that was never sealed gets a new id, and
the first look after a start compares more than it had to. A hint that contradicts a segment is ignored. What the disk
did not take is owed, until it is noted as it is by then.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec

from agent.kit import disk
from agent.kit.disk import Directory

NAME = "streams.jsonl"
_ROOM = 4 << 20
_UNTOLD = -1
"""In the place of a checksum: the next hint is written, whatever it says."""


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """One stream, as last known."""

    stream: str
    id: str
    inode: int = 0
    birth: int | None = None
    base: int = 0
    sealed: int = 0
    largest: int = 0
    hollow: int = 0
    """How much of `largest` was never written: NULs before a writer's kept offset."""
    released: int = 0
    boot: str = ""
    """The boot in which everything below `released` was punched; empty when that is not known."""
    settled: bool = False
    """True when nothing was left to release."""
    since: float = 0.0
    """Wall time at which the first unsealed byte was noticed; 0 when none was."""
    resetting: bool = False
    """True from just before a reset punches the guard until the file is empty."""
    changed: float = 0.0
    """The live file's mtime at the last look."""


class Hints:
    """The journal. Of each stream only a hash of its last line is kept in memory."""

    def __init__(self, directory: Directory | None) -> None:
        self._directory = directory
        self._fd = -1
        self._size = 0
        self._noted: dict[str, int] = {}
        self.owed: set[str] = set()
        """Streams whose last hint is not in the journal, by id."""

    def load(self) -> dict[str, Hint]:
        """The last hint of each stream, by stream id; damaged lines are skipped."""
        return {hint.id: hint for hint, _ in self._read()}

    def _read(self) -> Iterator[tuple[Hint, bytes]]:
        if self._directory is None:
            return
        try:
            fd = self._directory.open_read(NAME)
        except OSError:
            return
        with os.fdopen(fd, "rb") as file:
            for line in file:
                try:
                    hint = msgspec.convert(json.loads(line), Hint)
                    bytes.fromhex(hint.id)
                except (ValueError, msgspec.ValidationError, RecursionError):
                    continue
                yield hint, line

    def note(self, hint: Hint) -> None:
        """Append a hint when it says something new. Raises OSError, it is owed then."""
        line = _line(hint)
        value = zlib.crc32(line)
        if self._noted.get(hint.id) == value:
            return
        try:
            self._append(line)
        except OSError:
            self.close()
            self._noted[hint.id] = _UNTOLD  # the line before it stays in the journal
            self.owed.add(hint.id)
            raise
        self._noted[hint.id] = value
        self.owed.discard(hint.id)

    def keep(self, stream_id: str) -> None:
        """Let compaction leave a stream's last line, though nothing was noted of it since the start."""
        self._noted.setdefault(stream_id, _UNTOLD)

    def forget(self, stream_id: str) -> None:
        """Leave a stream out from the next compaction on."""
        self._noted.pop(stream_id, None)
        self.owed.discard(stream_id)

    def compact(self) -> None:
        """Write one line a stream, atomically; a disk that does not take that keeps the journal as it was."""
        if self._directory is None:
            return
        self.close()
        last = {hint.id: line for hint, line in self._read()}
        content = b"".join(line for stream_id, line in last.items() if stream_id in self._noted)
        with suppress(OSError):
            disk.write_atomic(self._directory, NAME, content)

    def _append(self, line: bytes) -> None:
        if self._directory is None:
            return
        if self._size > _ROOM + 2 * len(self._noted) * len(line):
            self.compact()
        if self._fd < 0:
            self._fd = self._directory.open_append(NAME)
            self._size = disk.end_line(self._fd)
        self._size += disk.write_all(self._fd, line)

    def close(self) -> None:
        """Close the file; the next hint opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _line(hint: Hint) -> bytes:
    try:
        return msgspec.json.encode(hint) + b"\n"
    except UnicodeEncodeError:
        pass  # a name that is no UTF-8: escaped as lone surrogates
    fields: dict[str, Any] = {name: getattr(hint, name) for name in hint.__struct_fields__}
    return (json.dumps(fields, separators=(",", ":")) + "\n").encode("ascii")
