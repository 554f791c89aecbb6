"""Reading a stream by position: segments first, then the open part's place in the live file, as one run of bytes.

A reader takes no lock and disturbs nobody. It works on a `View`, an immutable picture of a stream; whatever it read
from the live file counts only when the sealed end has not passed the read's start meanwhile, because a piece may be
half punched (attack H3). What cannot be read is skipped and said, never silently left out.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agent.config import Config
from agent.kit.clock import Clock, SystemClock
from agent.kit.errors import AgentError, CorruptError, printable
from agent.metrics import Metrics
from agent.streams import names, segment
from agent.streams.catalog import Place, Stream
from agent.streams.engine import Engine
from agent.streams.live import Live
from agent.streams.position import Identity
from agent.streams.recognise import open_live, recognise
from agent.streams.segment import Segment, SegmentReader

CHUNK = 1 << 20
LONGEST = 64 << 20
HEAD = 1 << 16
"""Bytes that are given of a record longer than the limit."""
POLL = 0.25
"""Seconds between two looks while following."""


@dataclass(frozen=True, slots=True)
class View:
    """A stream as it was at one moment."""

    name: str
    stream_id: str
    place: Place
    leaf: str
    segments: tuple[Segment, ...]
    identity: Identity | None
    base: int
    sealed: int
    """Position up to which everything lies in segments."""
    end: int
    """Position up to which the live file was seen to reach."""
    since: float = 0.0
    """Wall time at which the oldest unsealed byte was noticed; 0 when there is none."""
    growth: tuple[tuple[int, float], ...] = ()
    """Ends at which the stream was seen, each with the wall time when first, oldest first; the first one was there
    before. Few: the older, the wider apart."""


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes of the positions [start, end): whole records, but for an unterminated one at the end of a segment.

    `skipped` positions before `start` could not be read, for the reason in `why`. With `cut` it is one record longer
    than the limit, and `data` is its beginning.
    """

    start: int
    end: int
    data: bytes
    skipped: int = 0
    why: str = ""
    cut: bool = False


def view(stream: Stream) -> View:
    """The stream as the engine's thread sees it now."""
    life = stream.incarnation
    return View(
        name=stream.name,
        stream_id=stream.id.hex(),
        place=stream.place,
        leaf=stream.departed or stream.leaf,
        segments=tuple(one for one in stream.segments if not one.marker),
        identity=life.identity if life else None,
        base=life.base if life else stream.end,
        sealed=stream.end,
        end=life.end if life else stream.end,
        since=stream.facts.since_wall,
    )


def read(now: View, position: int, again: Callable[[], View], limit: int = CHUNK, longest: int = LONGEST) -> Run | None:
    """The next whole records at or after `position`, about `limit` bytes; None when there is nothing yet.

    `again` gives a fresh view: what was read live counts only while it is still live. A record of more than `longest`
    bytes is cut. Raises OSError for what is no fault of the data (too many open files, no permission).
    """
    if position < now.sealed:
        try:
            return _from_segments(now, position, limit, longest)
        except FileNotFoundError:
            # Deleted since: the next view says what is left.
            fresh = again()
            if fresh is now or fresh.segments == now.segments:
                raise
            return read(fresh, position, again, limit, longest)
    found = _from_live(now, position, limit, longest)
    fresh = again()
    if fresh.sealed > position or (fresh.base, fresh.identity) != (now.base, now.identity):
        return read(fresh, position, again, limit, longest)
    return found


def latest(now: View) -> int:
    """The position after the last whole record that was seen."""
    if now.identity is None or now.end <= now.sealed:
        return now.sealed
    with Live.open(now.place.home, now.leaf) as live:
        start = max(now.sealed, now.end - CHUNK)
        return start + live.read(start - now.base, now.end - start).rfind(b"\n") + 1


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


def _is_damage(error: Exception) -> bool:
    """True for what a medium or a file's content does; anything else may pass and must not be skipped."""
    return isinstance(error, CorruptError) or (isinstance(error, OSError) and error.errno == errno.EIO)


class _Records:
    """Puts members together until enough whole records are there; of a record that is too long only the beginning."""

    def __init__(self, limit: int, longest: int) -> None:
        self._limit = limit
        self._longest = longest
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
        data = b"".join(self._pieces)
        return Run(start, start + size, data if self.cut else data[:size], skipped, why, self.cut)


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


class Follower:
    """One stream of a directory that this process does not manage: its view is kept fresh from the files."""

    def __init__(self, config: Config, name: str, clock: Clock) -> None:
        self._engine = Engine(config, clock, Metrics(), lambda: None, reading=True)
        self._engine.open()
        self._engine.lookout.look("", None)
        self._stream = self._engine.catalog.find([name])[0]
        self._seen = {one.name for one in self._stream.segments}
        self._recognise()

    def view(self) -> View:
        """The stream now."""
        self._reload()
        self._recognise()
        return view(self._stream)

    def _reload(self) -> None:
        """Take in what was captured and published since; the part first, as it goes only once its segment is there."""
        stream = self._stream
        archive = stream.place.archive
        if stream.open_part:
            stream.segments.pop()
        part = self._engine.recovery.peek(stream.place, names.open_name(stream.leaf), stream)
        fresh = [
            entry.name
            for entry in archive.entries()
            if entry.name not in self._seen and entry.name.endswith(".gz") and names.parse(entry.name)
        ]
        for name in fresh:
            self._seen.add(name)
            try:
                one = segment.load(archive, name)
            except (CorruptError, FileNotFoundError):
                continue
            if one.stream_id == stream.id.hex():
                stream.segments.append(one)
        if fresh:
            stream.segments.sort(key=lambda one: (one.extent.start, one.extent.end))
        if part and (not stream.segments or stream.segments[-1].extent.end <= part.extent.start):
            stream.segments.append(part)
        if stream.segments:
            self._catch_up()

    def _catch_up(self) -> None:
        stream, life, newest = self._stream, self._stream.incarnation, self._stream.segments[-1]
        if life is None or newest.extent.end <= life.position:
            return
        if newest.identity.same_file(life.identity) and newest.base == life.base:
            life.sealed, life.guard, life.clean = newest.source.end, b"", False
        else:
            stream.incarnation = None

    def _recognise(self) -> None:
        try:
            with open_live(self._stream) as live:
                recognise(self._engine.tools, self._stream, live)
        except (OSError, AgentError):
            return

    def close(self) -> None:
        """Let go of the directories."""
        self._engine.close()


def records(
    config: Config,
    stream: str,
    *,
    start: int | None = None,
    since: float | None = None,
    follow: bool = False,
    stop: Callable[[], bool] = lambda: False,
    clock: Clock | None = None,
) -> Iterator[bytes]:
    """A stream's bytes, from position `start`, or from what was sealed or written after the time `since`, else all.

    With `follow` it goes on until `stop()`. An unterminated last line is not given. Raises AgentError for an
    unknown stream, FileNotFoundError for an unknown directory.
    """
    time = clock or SystemClock()
    follower = Follower(config, stream, time)
    try:
        now = follower.view()
        first = now.segments[0].extent.start if now.segments else now.sealed
        position = first if start is None else start
        if since is not None:
            later = [one.extent.start for one in now.segments if one.sealed_at >= since]
            position = max(position, later[0] if later else now.sealed)
        while not stop():
            run = read(now, position, follower.view)
            if run is None:
                if not follow:
                    return
                time.sleep(POLL)
                now = follower.view()
                continue
            if run.data:
                yield run.data
            position = run.end
            if position >= now.sealed:
                now = follower.view()
    finally:
        follower.close()
