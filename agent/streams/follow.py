"""Following a stream from the files alone, beside a running agent or without one: what `cat` reads by."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from agent.config import Config
from agent.kit.clock import Clock, SystemClock
from agent.kit.errors import AgentError, CorruptError
from agent.streams import names, segment
from agent.streams.engine import Engine, peek
from agent.streams.live import Live
from agent.streams.reader import CHUNK, LONGEST, read, record_start
from agent.streams.recognise import open_live, recognise
from agent.streams.segment import SegmentReader
from agent.streams.views import View, view

POLL = 0.25
"""Seconds between two looks while following."""


class Follower:
    """One stream of a directory that this process does not manage: its view is kept fresh from the files."""

    def __init__(self, engine: Engine, name: str) -> None:
        """`engine` peeks. Raises AgentError for an unknown stream."""
        self._engine = engine
        self._stream = engine.catalog.find([name])[0]
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
            name for name in archive.names() if name not in self._seen and name.endswith(".gz") and names.parse(name)
        ]
        for name in fresh:
            self._seen.add(name)
            try:
                one = segment.load(archive, name)
            except (CorruptError, FileNotFoundError):
                continue
            if one.stream_id == stream.id:
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


def records(
    config: Config,
    stream: str,
    *,
    start: int | None = None,
    since: float | None = None,
    follow: bool = False,
    stop: Callable[[], bool] = lambda: False,
    left_out: Callable[[int, int, str], None] = lambda _start, _end, _why: None,
    clock: Clock | None = None,
) -> Iterator[bytes]:
    """A stream's bytes, from position `start`, or from what was sealed or written after the time `since`, else all.

    With `follow` it goes on until `stop()`. An unterminated last line is not given. `left_out` is told what cannot be
    read, from where, to where and why, before what comes behind it. Raises AgentError for an unknown stream,
    FileNotFoundError for an unknown directory.
    """
    time = clock or SystemClock()
    with peek(config, time) as engine:
        follower = Follower(engine, stream)
        now = follower.view()
        first = now.first if start is None else start
        if since is not None:
            first = max(first, now.sealed_since(since))
        if start is None and first == now.first:
            _tell_damaged(now, left_out)
        position = _begin(now, first)
        while not stop():
            run = read(now, position, follower.view, longest=LONGEST)
            if run is None:
                if not follow:
                    return
                time.sleep(POLL)
                now = follower.view()
                continue
            if run.skipped:
                left_out(run.start - run.skipped, run.start, run.why)
            if run.cut:
                yield from _pieces(follower, max(run.start, first), run.end)
            elif data := run.data[max(0, first - run.start) :]:
                yield data
            position = run.end
            if position >= now.sealed:
                now = follower.view()


def _tell_damaged(now: View, left_out: Callable[[int, int, str], None]) -> None:
    """What lies before the first readable segment: behind that the reader finds such gaps itself."""
    for one in now.damaged:
        if one.start < now.first:
            left_out(one.start, min(one.end, now.first), "damaged: no readable index")


def _begin(now: View, position: int) -> int:
    """Where to read from to get at `position`: of the live file only whole records are read."""
    if position <= now.sealed:
        return position
    try:
        return record_start(now, position)
    except OSError:
        return now.sealed


def _pieces(follower: Follower, start: int, end: int) -> Iterator[bytes]:
    """A record too long to be read at once. Raises CorruptError where it goes meanwhile, OSError."""
    now = follower.view()
    while now.sealed <= start < end:
        with Live.open(now.place.home, now.leaf) as live:
            data = live.read(start - now.base, min(CHUNK, end - start))
        before, now = now, follower.view()
        if now.sealed > start or (now.base, now.identity) != (before.base, before.identity) or not data:
            break  # what was read may be half punched, or another file's
        yield data
        start += len(data)
    for one in now.segments:
        if one.extent.start <= start < min(end, one.extent.end):
            with SegmentReader(one) as reader:
                for member in reader.members(start):
                    if member.position >= end:
                        return
                    yield reader.content(member)[max(0, start - member.position) : end - member.position]
            return
    if start < end:
        raise CorruptError("the record went while it was read", position=start)
