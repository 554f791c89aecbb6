"""Reading a stream by position: segments first, then the open part's place in the live file, as one run of bytes.

A reader takes no lock and disturbs nobody. It works on a `View`, an immutable picture of a stream; whatever it read
from the live file counts only when the sealed end has not passed the read's start meanwhile, because a piece may be
half punched (attack H3). What cannot be read is skipped and said, never silently left out.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

from agent.kit.errors import CorruptError, printable
from agent.streams.live import Live
from agent.streams.segment import Segment, SegmentReader
from agent.streams.views import View

CHUNK = 1 << 20
LONGEST = 64 << 20
HEAD = 1 << 16
"""Bytes that are given of a record longer than the limit."""


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes of the positions [start, end): whole records, but for an unterminated one at the end of a segment.

    `skipped` positions before `start` could not be read, for the reason in `why`. With `cut` it is one record longer
    than the limit, and `data` is its beginning.
    """

    start: int
    end: int
    read: bytes
    """As it was read: after the last whole record there may be the beginning of another one."""
    skipped: int = 0
    why: str = ""
    cut: bool = False

    @property
    def data(self) -> bytes:
        """The bytes of these positions alone: a copy where more was read."""
        return self.read[: self.end - self.start]


def read(now: View, position: int, again: Callable[[], View], limit: int = CHUNK, longest: int = LONGEST) -> Run | None:
    """The next whole records at or after `position`, about `limit` bytes; None when there is nothing yet.

    `again` gives a fresh view: what was read live counts only while it is still live. A record of more than `longest`
    bytes, and of more than 1 MiB, is cut. Raises OSError for what is no fault of the data (too many open files, no
    permission).
    """
    if position < now.sealed:
        try:
            return _from_segments(now, position, limit, longest)
        except FileNotFoundError:
            # Deleted since: the next view says what is left.
            fresh = again()
            if fresh is now or fresh.segments == now.segments:
                return _past_missing(now, position)
            return read(fresh, position, again, limit, longest)
    found = _from_live(now, position, limit, longest)
    fresh = again()
    if fresh.sealed > position or (fresh.base, fresh.identity) != (now.base, now.identity):
        return read(fresh, position, again, limit, longest)
    return found


def record_start(now: View, position: int) -> int:
    """Where the record that holds `position` begins: itself between two records, and where nothing is kept.

    A position after the end is the end's; so a half-written last record is still to come. Raises OSError, and
    CorruptError where a segment is damaged.
    """
    position = max(0, min(position, max(now.sealed, now.end)))
    for one in now.segments:
        if one.extent.start < position < one.extent.end:
            with SegmentReader(one) as segment:
                return _line_start(segment.range, one.extent.start, position)
    lowest = max(now.sealed, now.begins)
    if now.identity is None or position <= lowest:
        return position
    with Live.open(now.place.home, now.leaf) as live:
        return _line_start(lambda start, end: live.read(start - now.base, end - start), lowest, position)


def _line_start(content: Callable[[int, int], bytes], lowest: int, position: int) -> int:
    """Behind the last line's end before `position`, looked for backwards down to `lowest`."""
    while position > lowest:
        start = max(lowest, position - CHUNK)
        if end := content(start, position).rfind(b"\n") + 1:
            return start + end
        position = start
    return lowest


def _from_segments(now: View, position: int, limit: int, longest: int) -> Run:
    for one in now.segments:
        if one.extent.end <= position:
            continue
        start = max(position, one.extent.start)
        why = "retired or lost" if start > position else ""
        try:
            return _within(one, start, limit, longest, start - position, why)
        except (CorruptError, OSError) as error:
            if not _is_damage(error):
                raise
            # Nothing is believed of a damaged member; what follows it may be whole.
            return _behind_damage(one, position, start, limit, longest, error)
    return Run(now.sealed, now.sealed, b"", now.sealed - position, "retired or lost")


def _past_missing(now: View, position: int) -> Run:
    """Nobody retired the segment there, and it is gone all the same: removed by hand, it never comes back."""
    one = next(one for one in now.segments if one.extent.end > position)
    if one.open:
        raise FileNotFoundError(errno.ENOENT, "the open part is not there; its segment is not known yet", one.path)
    return Run(one.extent.end, one.extent.end, b"", one.extent.end - position, "missing")


def _is_damage(error: Exception) -> bool:
    """True for what a medium or a file's content does; anything else may pass and must not be skipped."""
    return isinstance(error, CorruptError) or (isinstance(error, OSError) and error.errno == errno.EIO)


class _Records:
    """Puts members together until enough whole records are there; of a record that is too long only the beginning."""

    def __init__(self, limit: int, longest: int) -> None:
        self._limit = limit
        # So much is looked at whatever the limits are: whether a record is cut must not hang on how it is read.
        self._longest = max(longest, CHUNK)
        self._pieces: list[bytes] = []
        self.size = 0
        self.whole = 0
        """Bytes up to the end of the last whole record."""
        self.cut = False

    def add(self, data: bytes) -> bool:
        """Take the next bytes; True when that is enough."""
        if self.cut:
            end = data.find(b"\n") + 1
            self.size += end or len(data)
            self.whole = self.size if end else 0
            return bool(end)
        end = data.rfind(b"\n") + 1
        if end:
            self.whole = self.size + end
        self._pieces.append(data)
        self.size += len(data)
        if not self.whole and self.size > self._longest:
            self.cut = True
            self._pieces = [b"".join(self._pieces)[:HEAD]]
        return self.whole > 0 and self.size >= self._limit

    def run(self, start: int, skipped: int, why: str, *, ended: bool) -> Run:
        """What is there; with `ended` also a record that has no end."""
        size = self.size if ended or self.cut else self.whole
        return Run(start, start + size, b"".join(self._pieces), skipped, why, self.cut)


def _within(one: Segment, start: int, limit: int, longest: int, skipped: int, why: str) -> Run:
    found = _Records(limit, longest)
    with SegmentReader(one) as reader:
        try:
            for member in reader.members(start):
                if found.add(reader.content(member)[max(0, start - member.position) :]):
                    return found.run(start, skipped, why, ended=False)
        except (CorruptError, OSError) as error:
            if not _is_damage(error) or not found.whole:
                raise
            return found.run(start, skipped, why, ended=False)
    return found.run(start, skipped, why, ended=True)


def _behind_damage(one: Segment, position: int, start: int, limit: int, longest: int, error: Exception) -> Run:
    why = f"damaged: {printable(str(error))}"
    try:
        with SegmentReader(one) as reader:
            for at in reader.starts():
                if at <= start:
                    continue
                try:
                    return _within(one, at, limit, longest, at - position, why)
                except (CorruptError, OSError) as other:
                    if not _is_damage(other):
                        raise
    except (CorruptError, OSError) as other:
        if not _is_damage(other):
            raise
    return Run(one.extent.end, one.extent.end, b"", one.extent.end - position, why)


def _from_live(now: View, position: int, limit: int, longest: int) -> Run | None:
    # Never beyond what the engine has seen: those bytes may belong to a life that it will place elsewhere.
    if now.identity is None or now.end <= position:
        return None
    # NULs that nobody wrote are no gap: nothing was there.
    position = max(position, now.begins)
    found = _Records(limit, longest)
    try:
        with Live.open(now.place.home, now.leaf) as live:
            if not now.identity.same_file(live.identity) or not _begins_here(live, position - now.base):
                return None
            at = position
            while at < now.end:
                data = live.read(at - now.base, min(max(limit, CHUNK) if found.size else limit, now.end - at))
                plain = data.partition(b"\0")[0]
                at += len(plain)
                if found.add(plain) or not plain or len(plain) < len(data):
                    break
    except (FileNotFoundError, BlockingIOError):
        return None
    return found.run(position, 0, "", ended=False) if found.whole else None


def _begins_here(live: Live, physical: int) -> bool:
    """True unless something else than the end of a record lies before: then the file was rewritten unnoticed."""
    return physical == 0 or live.read(physical - 1, 1) in (b"\n", b"\0")
