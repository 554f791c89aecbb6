"""Copying: whole records from a live file into a part, members of about 1 MiB, from S on.

Nothing is decided here about what the part becomes. Until it is durable and compared, the live file has every byte.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from agent.kit.steps import reach
from agent.streams import member as members
from agent.streams import names
from agent.streams.candidate import Draft
from agent.streams.catalog import Stream
from agent.streams.incarnation import guard_holds
from agent.streams.live import Live, refusal
from agent.streams.openpart import vanished
from agent.streams.owner import dress
from agent.streams.part import MAX_MEMBERS, Part
from agent.streams.recognise import accept, open_live, recognise
from agent.streams.tools import Tools

SEGMENT_LIMIT = 1 << 30
"""Uncompressed bytes at which a segment ends; a larger rest gives several segments."""

NUL_GRACE = 10.0
"""Seconds that a run of NULs may stand at S before it counts as a gap: a writer may still fill it (attack C9)."""

PROBE = 4096
_LINE_SAMPLE = 1 << 12
_LONG_LINE = 700


class Copier:
    """Makes drafts; one thread uses it."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._buffer = bytearray(members.TARGET)
        self._compressors: dict[str, members.Compressor] = {}
        self.member_size = members.TARGET
        """Uncompressed bytes a member aims at."""

    def copy(self, stream: Stream, reason: str, *, live: Live | None = None, whole: bool = False) -> Draft | None:
        """Copy whole records from S into a new part; None when there is nothing to seal.

        Raises RefusedError, OSError; the part is gone then and the live file is as it was.
        """
        return self._draft(stream, reason, live, whole=whole)

    def capture(self, stream: Stream, most: int) -> Draft | None:
        """Copy whole records, about `most` bytes, from S to the end of the open part, or into one that begins here.

        None also when they may not go on in the open part: it has to be published first. Raises as `copy`.
        """
        return self._draft(stream, "capture", None, open_part=True, most=most)

    def compressor(self, level: str) -> members.Compressor:
        """The deflate of a level."""
        if level not in self._compressors:
            self._compressors[level] = members.compressor(level)
        return self._compressors[level]

    def _draft(
        self, stream: Stream, reason: str, live: Live | None, *, whole: bool = False, open_part: bool = False,
        most: int = SEGMENT_LIMIT,
    ) -> Draft | None:  # fmt: skip
        started = self._tools.clock.monotonic()
        opened = live or open_live(stream)
        draft: Draft | None = None
        kept = False
        try:
            reach("seal.opened")
            if recognise(self._tools, stream, opened) == "other_file" and stream.departed:
                return None
            first = self._start(stream, opened)
            if first is None or not accept(stream, opened, first):
                return None
            part = self._open_part(stream, opened, first) if open_part else _new(stream, opened, names.part_name)
            if part is None:
                return None
            draft = Draft(
                stream=stream, reason=reason, part=part, started=started, live=opened, owns_live=live is None,
                first=first, base=_base(stream, first),
            )  # fmt: skip
            self._fill(draft, min(most, _room(stream)) if open_part else SEGMENT_LIMIT, whole=whole)
            kept = bool(part.members)
            if kept:
                dress(part.fd, opened, stream.rotation, still_open=open_part)
            return draft if kept else None
        except BaseException:
            kept = False
            raise
        finally:
            if not kept:
                if draft is not None:
                    with suppress(OSError):  # what went wrong is told, not that its part stays behind
                        draft.part.discard()
                if live is None:
                    opened.close()

    def _start(self, stream: Stream, live: Live) -> int | None:
        """Where to begin: S, or behind a run of NULs at S, or in the record at S, that outlived its grace."""
        life = stream.incarnation
        assert life is not None  # noqa: S101 - recognise has just set it
        first = live.first_byte(live.torn(life.sealed), self._tools.breathe)
        facts = stream.facts
        if first is None or first == life.sealed:
            facts.nul_since = None
            return first
        now = self._tools.clock.monotonic()
        if facts.nul_since is None:
            facts.nul_since = now
        return first if now - facts.nul_since >= NUL_GRACE else None

    def _open_part(self, stream: Stream, live: Live, first: int) -> Part | None:
        """The open part, ready for more; None when these bytes may not go on in it."""
        one = stream.open_part
        if one is None:
            return _new(stream, live, names.open_name)
        if one.source.end != first or not stream.continues(one) or _room(stream) <= 0 or one.table is None:
            stream.closing = True
            return None
        size, count = one.size, len(one.table)
        try:
            return Part.resume(one.directory, one.name, stream.raw_id, one.identity, size=size, count=count)
        except FileNotFoundError:
            vanished(self._tools, stream, one)
            return _new(stream, live, names.open_name)

    def _fill(self, draft: Draft, most: int, *, whole: bool) -> None:
        live, part = draft.live, draft.part
        compress = self.compressor(draft.stream.rotation.level)
        end = live.size()
        limit = min(end, draft.first + most)
        view = memoryview(self._buffer)
        at = draft.first
        now = self._tools.clock.now()
        draft.seen = (draft.stream.facts.since_wall or now, now)
        while at < limit and not part.full():
            self._tools.breathe()
            count = live.read_into(view[: min(self.member_size, limit - at)], at)
            stop, last = self._cut(count, at + count >= end, whole)
            if stop == 0:
                break
            data = view[:stop]
            draft.head = draft.head or bytes(data[:PROBE])
            if not _still_there(draft, data, at):
                draft.stream.captured = (draft.stream.captured[0], -1)
                break  # what it was, a truncation or a rewrite, the comparison says, or the next look
            lines = _count_lines(self._buffer, stop)
            part.append(data, position=draft.base + at, physical=at, seen=now, compress=compress, records=lines)
            draft.tail = (draft.tail + bytes(data[-2 * PROBE :]))[-2 * PROBE :]
            at += stop
            if last:
                break
        if not (whole and at >= end):
            part.trim()
            if part.members and part.source_end != at:
                draft.tail = b""
        part.flush()
        draft.more = bool(part.members) and (at >= limit or part.full()) and at < end
        if part.members or limit == end or live.size() < end:
            return  # truncated meanwhile, nothing is known of its lines
        if part.before:
            draft.stream.closing = True  # the next record does not fit any more
        elif most == SEGMENT_LIMIT:
            raise refusal("no_newline", os.path.join(draft.stream.place.home.path, live.name))

    def _cut(self, count: int, at_end: bool, whole: bool) -> tuple[int, bool]:
        """How much of the buffer to take, and whether nothing may follow it: a NUL, or the file's end."""
        nul = self._buffer.find(b"\0", 0, count)
        stop = count if nul < 0 else nul
        newline = self._buffer.rfind(b"\n", 0, stop) + 1
        if whole and at_end and nul < 0:
            return stop, True
        if newline:
            return newline, nul >= 0
        # A record longer than a member goes on in the next one; before a NUL or the end it is not whole.
        return (stop, False) if nul < 0 and not at_end else (0, True)


def _new(stream: Stream, live: Live, name: Callable[[str], str]) -> Part:
    return Part.create(stream.place.archive, name(stream.leaf), stream.raw_id, live.identity)


def _base(stream: Stream, first: int) -> int:
    """The position of physical offset 0.

    A writer whose file was emptied under it goes on at its old offset: the NULs before are no loss of this life,
    what was lost was counted when the life before ended. So they take no positions.
    """
    life = stream.incarnation
    assert life is not None  # noqa: S101 - recognise has just set it
    return life.base - first if life.sealed == 0 < life.base else life.base


def _room(stream: Stream) -> int:
    """Uncompressed bytes that the open part may still take."""
    one = stream.open_part
    if one is None or one.table is None:
        return SEGMENT_LIMIT
    return 0 if len(one.table) >= MAX_MEMBERS else SEGMENT_LIMIT - one.extent.length


def _count_lines(buffer: bytearray, end: int) -> int:
    """Line ends in the first `end` bytes. Searching beats counting where lines are long (measured from 700 bytes)."""
    sample = min(end, _LINE_SAMPLE)
    if buffer.count(b"\n", 0, sample) * _LONG_LINE > sample:
        return buffer.count(b"\n", 0, end)
    count, at = 0, buffer.find(b"\n", 0, end)
    while at >= 0:
        count += 1
        at = buffer.find(b"\n", at + 1, end)
    return count


def _still_there(draft: Draft, data: memoryview, at: int) -> bool:
    """True when the guard, the draft's first bytes and this range's last ones are in the file as they were read.

    So no truncation tore the read, and none came since the file was recognised: the members are of one incarnation,
    also where the writer has come farther again than `at` (attack C6).
    """
    life, live, last = draft.stream.incarnation, draft.live, bytes(data[-PROBE:])
    if life is None or live.size() < at + len(data) or not guard_holds(life, live):
        return False
    if live.read(draft.first, len(draft.head)) != draft.head:
        return False
    return live.read(at + len(data) - len(last), len(last)) == last
