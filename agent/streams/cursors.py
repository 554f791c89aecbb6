"""One consumer's durable positions: where each stream goes on, and which batches were under way.

Invariants:

- A position moves forward only over settled batches, in order: what is before it was delivered, or put aside for good.
- The bounds of a batch are durable before its first try, so the same bytes go out again after a crash.
- The consumer's opaque state and the settled batches are saved in one write: they never contradict each other.
- A damaged file leads to an older cursor or to none, never to one further on.

There are two files, `cursor-NAME.0.json` and `cursor-NAME.1.json`; a save replaces the one with the older generation,
and the higher generation counts. So a save that fails, or is torn by a power cut, leaves the newest generation
as it was, and a file that rots has exactly one predecessor. A file that cannot be used is moved aside as `.damaged`
when its place is needed. Format: `{"version", "checksum", "body"}`, the checksum being the CRC-32 of the body's bytes.

Any thread may call; a save holds up no other call while it writes.
"""

from __future__ import annotations

import os
import re
import threading
import zlib
from collections.abc import Iterable
from typing import Annotated

import msgspec

from agent.kit import disk
from agent.kit.disk import Directory
from agent.kit.errors import ConfigError, CorruptError, printable

VERSION = 1

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FILE = re.compile(r"cursor-([A-Za-z0-9_-]{1,64})\.[01]\.json")
_HINT = "an older cursor is used, so some records may be delivered twice; the file is kept as .damaged"

Position = Annotated[int, msgspec.Meta(ge=0)]


class Bounds(msgspec.Struct, frozen=True, array_like=True):
    """A batch under way: positions [start, end). Settled ones that follow each other are one."""

    start: Position
    end: Position
    settled: bool = False
    """Done with, but an earlier batch is not, so the position could not move yet."""


class Cursor(msgspec.Struct, frozen=True):
    """Where one stream stands."""

    name: str
    """The stream's name when it was last read, printable; its id is what counts."""
    position: Position
    """Everything before it is settled."""
    inflight: tuple[Bounds, ...] = ()
    """Batches begun and not yet passed, in order. After a start, the unsettled ones are sent again first."""


class _Body(msgspec.Struct, frozen=True):
    generation: Position
    streams: dict[str, Cursor]
    state: bytes | None = None


class _File(msgspec.Struct, frozen=True):
    version: int
    checksum: int
    body: msgspec.Raw


class Cursors:
    """The cursors of one consumer."""

    def __init__(self, directory: Directory, name: str) -> None:
        """Read what is there; nothing is changed before the first save.

        `name` is the consumer's, of 1 to 64 letters, digits, `_` and `-` (ConfigError). Files that cannot be used
        are described in `problems` and never raise.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"the consumer's name {printable(name)!r} cannot name its cursor file",
                hint="use 1 to 64 letters, digits, '_' and '-'",
            )
        self.name = name
        self.problems: list[CorruptError] = []
        self._directory = directory
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._damaged: set[str] = set()
        found = sorted((body for slot in (0, 1) if (body := self._read(slot))), key=lambda body: body.generation)
        newest = found[-1] if found else _Body(0, {})
        self._older = {id_: one.position for id_, one in found[0].streams.items()} if len(found) == 2 else {}
        self._generation = newest.generation
        self._streams = dict(newest.streams)
        self._state = newest.state
        self._changes = 0
        self._saved = 0
        self.forgotten = not found and any(self._was_damaged(slot) for slot in (0, 1))
        """True when there were files but none could be used: start at the earliest position, whatever is configured.

        Starting at the latest one would skip what was never delivered.
        """
        self.known = bool(found) or self.forgotten
        """True when this consumer ran before, also where it met no stream."""

    @property
    def unsaved(self) -> bool:
        """True while something changed since the last save that succeeded."""
        return self._changes != self._saved

    @property
    def state(self) -> bytes | None:
        """The sink's opaque state after the batches settled so far."""
        return self._state

    def get(self, stream_id: str) -> Cursor | None:
        """The cursor of a stream; None for a stream never seen."""
        with self._lock:
            return self._streams.get(stream_id)

    def snapshot(self) -> dict[str, Cursor]:
        """Every cursor by stream id, as it is now."""
        with self._lock:
            return dict(self._streams)

    # -- changing; each of these is durable after the next save

    def reset(self, stream: str, stream_id: str, position: int) -> None:
        """Put a stream's cursor at `position`, in either direction, and forget its batches under way.

        This is also how a stream begins: a start at the latest position has to be remembered at once.
        """
        with self._lock:
            self._put(stream_id, Cursor(printable(stream), position))

    def begin(self, stream: str, stream_id: str, start: int, end: int) -> None:
        """Note that [start, end) is about to be sent; save before the first try.

        Batches begin in order. Bytes skipped before `start` (unreadable ones) are passed together with the batch.
        The same bounds again, after a restart, change nothing. Raises ValueError on an overlap.
        """
        with self._lock:
            cursor = self._streams.get(stream_id) or Cursor(printable(stream), 0)
            if any((one.start, one.end) == (start, end) for one in cursor.inflight):
                return
            reached = cursor.inflight[-1].end if cursor.inflight else cursor.position
            if not reached <= start < end:
                raise ValueError(f"batch {start}-{end} of {cursor.name} begins before {reached} or is empty")
            inflight = (*cursor.inflight, Bounds(start, end))
            self._put(stream_id, Cursor(printable(stream), cursor.position, inflight))

    def settle(self, stream_id: str, start: int, end: int, state: bytes | None = None) -> int:
        """Note that [start, end) is done with; the stream's position afterwards.

        The position moves over the settled batches at the front, so an earlier batch that still waits holds it.
        `state` replaces the consumer's state unless it is None. Bounds that are not under way (the cursor was reset
        meanwhile) change nothing.
        """
        with self._lock:
            cursor = self._streams.get(stream_id)
            if cursor is None or Bounds(start, end) not in cursor.inflight:
                return cursor.position if cursor else 0
            done = Bounds(start, end)
            inflight = _joined(Bounds(start, end, True) if one == done else one for one in cursor.inflight)
            position = inflight.pop(0).end if inflight[0].settled else cursor.position
            self._put(stream_id, Cursor(cursor.name, position, tuple(inflight)))
            self._state = state if state is not None else self._state
            return position

    def confine(self, stream_id: str, end: int) -> CorruptError | None:
        """Take back a position that lies beyond the stream's `end`: to the older generation's, else to 0.

        Such a cursor belongs to other data (a directory restored or copied, or a live file that a power cut made
        shorter). None when all was well; otherwise what was wrong, for the log and the audit trail. 0 means the
        earliest position that is kept. Bounds of batches that cannot be read again whole are dropped silently; of what
        was settled there, what is left is sent twice.
        """
        with self._lock:
            cursor = self._streams.get(stream_id)
            if cursor is None:
                return None
            if cursor.position <= end:
                inside = tuple(one for one in cursor.inflight if one.end <= end)
                self._put(stream_id, Cursor(cursor.name, cursor.position, inside))
                return None
            older = self._older.get(stream_id, 0)
            position = older if older <= end else 0
            self._put(stream_id, Cursor(cursor.name, position))
        return CorruptError(
            f"the cursor of {self.name} for {cursor.name} lies beyond the end of the stream, {end}",
            path=self._directory.path,
            position=cursor.position,
            hint=f"it goes on from {position}; was the directory restored or copied from elsewhere?",
        )

    def restore(self, stream_id: str, before: Cursor | None) -> None:
        """Take a `reset` back that could not be saved: the stream has the cursor again that `get` gave before it."""
        with self._lock:
            if before is not None:
                self._put(stream_id, before)
            elif self._streams.pop(stream_id, None) is not None:
                self._changes += 1

    def remember(self) -> None:
        """Have the first save write even where no stream was met: the next start is not the first one."""
        with self._lock:
            self._changes += not self._generation

    def forget(self, stream_ids: Iterable[str]) -> None:
        """Drop the cursors of streams that no longer exist."""
        with self._lock:
            for stream_id in stream_ids:
                if self._streams.pop(stream_id, None) is not None:
                    self._changes += 1

    def _put(self, stream_id: str, cursor: Cursor) -> None:
        if self._streams.get(stream_id) != cursor:
            self._streams[stream_id] = cursor
            self._changes += 1

    # -- disk

    def save(self) -> bool:
        """Make every change so far durable; False when there was none.

        Raises OSError; then the last save still stands, nothing in memory is lost, and the next call tries again.
        """
        with self._saving:
            with self._lock:
                if not self.unsaved:
                    return False
                changes = self._changes
                body = _Body(self._generation + 1, self._streams, self._state)
                content = _encode(body)
            self._set_aside()
            disk.write_atomic(self._directory, _slot(self.name, body.generation % 2), content)
            with self._lock:
                self._generation = body.generation
                self._saved = changes
            return True

    def _read(self, slot: int) -> _Body | None:
        file = _slot(self.name, slot)
        try:
            return _decode(_content(self._directory, file))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, msgspec.MsgspecError, RecursionError) as error:
            self._damaged.add(file)
            path = os.path.join(self._directory.path, file)
            self.problems.append(CorruptError(f"the cursor file is damaged: {error}", path=path, hint=_HINT))
            return None

    def _was_damaged(self, slot: int) -> bool:
        # The second name speaks after a crash between setting the damaged files aside and writing a new one.
        file = _slot(self.name, slot)
        return file in self._damaged or self._directory.exists(f"{file}.damaged")

    def _set_aside(self) -> None:
        for file in sorted(self._damaged):
            if self._directory.exists(file):
                self._directory.replace(file, f"{file}.damaged")
            self._damaged.discard(file)


def consumers(directory: Directory) -> list[str]:
    """The names of all consumers that have cursors here, also those no longer configured."""
    found = map(_FILE.fullmatch, directory.names())
    return sorted({match[1] for match in found if match})


def _joined(inflight: Iterable[Bounds]) -> list[Bounds]:
    """Settled batches that follow each other as one, so that a batch that waits for long has no long row behind it.

    They are never sent again: nobody asks where one of them ended. What lies between two was unreadable, and is passed
    with them.
    """
    joined: list[Bounds] = []
    for one in inflight:
        if joined and joined[-1].settled and one.settled:
            joined[-1] = Bounds(joined[-1].start, one.end, True)
        else:
            joined.append(one)
    return joined


def _slot(name: str, number: int) -> str:
    return f"cursor-{name}.{number}.json"


def _encode(body: _Body) -> bytes:
    raw = msgspec.json.encode(body)
    return msgspec.json.encode(_File(VERSION, zlib.crc32(raw), msgspec.Raw(raw))) + b"\n"


def _decode(content: bytes) -> _Body:
    file = msgspec.json.decode(content, type=_File)
    if file.version != VERSION:
        raise ValueError(f"version {file.version} is unknown, this agent writes {VERSION}")
    if zlib.crc32(file.body) != file.checksum:
        raise ValueError("the checksum does not fit the content")
    return msgspec.json.decode(file.body, type=_Body)


def _content(directory: Directory, file: str) -> bytes:
    with os.fdopen(directory.open_read(file), "rb") as opened:
        return opened.read()
