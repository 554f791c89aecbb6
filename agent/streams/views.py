"""The newest view of each stream: published by the engine's thread, read by any.

Invariant: a view is published as soon as the sealed end moved, and before anything below it is punched or truncated.
One thread writes; entries are replaced whole, and whoever lists them takes a copy in one go, so nobody needs a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace

from agent.kit.clock import Clock
from agent.streams.catalog import Place, Stream
from agent.streams.live import NO_LOG
from agent.streams.position import Extent, Identity
from agent.streams.segment import Segment

Growth = tuple[tuple[int, float], ...]

_MARKS = 64
"""Marks of a stream's growth that are kept, at least half of them one look apart."""


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
    growth: Growth = ()
    """Ends at which the stream was seen, each with the wall time when first, oldest first; the first one was there
    before. Few: the older, the wider apart."""
    begins: int = 0
    """Position of the live file's first byte where it begins with NULs that nobody wrote: emptied under a writer that
    kept its place."""
    document: bool = False
    """The live file is refused for what is in it: it is no log, so nobody waits for it."""
    damaged: tuple[Extent, ...] = ()
    """What segments hold that nobody can read, because their index is damaged."""

    @property
    def readable(self) -> int:
        """Position up to which there is, or will be, something to read."""
        return self.sealed if self.document else self.end

    @property
    def first(self) -> int:
        """Position of the oldest record that is kept."""
        return self.segments[0].extent.start if self.segments else self.sealed

    def sealed_since(self, time: float) -> int:
        """Position of the first record that was sealed at the wall time `time` or later, or is not sealed yet."""
        return next((one.extent.start for one in self.segments if one.sealed_at >= time), self.sealed)


def view(stream: Stream) -> View:
    """The stream as the engine's thread sees it now."""
    life = stream.incarnation
    return View(
        name=stream.name,
        stream_id=stream.id,
        place=stream.place,
        leaf=stream.departed or stream.leaf,
        segments=tuple(one for one in stream.segments if not one.marker),
        identity=life.identity if life else None,
        base=life.base if life else stream.end,
        sealed=stream.end,
        end=life.end if life else stream.end,
        since=stream.facts.since_wall,
        begins=life.base + life.hollow if life and life.hollow and not life.sealed else 0,
        document=stream.refused is not None and stream.refused.reason in NO_LOG,
        damaged=stream.damaged,
    )


Listener = Callable[[View], None]


class Views:
    """Views by stream id, and who is told of each new one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._views: dict[str, View] = {}
        self._listeners: list[Listener] = []
        self._waiting: list[Callable[[], None]] = []
        self.ready = False
        """True once every stream was looked at: before that an end may be shorter than it is."""

    def complete(self) -> None:
        """Everything was looked at: whoever waited may read. In the engine's thread."""
        self.ready = True
        for wake in self._waiting:
            wake()

    def listen(self, listener: Listener, wake: Callable[[], None]) -> None:
        """Call `listener` with each new view, `wake` once all are there: in the engine's thread, neither may block."""
        self._listeners.append(listener)
        self._waiting.append(wake)

    def publish(self, stream: Stream) -> None:
        """Take the stream's view as it is now; called in the engine's thread."""
        if stream.incarnation is None and stream.facts.there:
            return
        fresh = view(stream)
        if not stream.accepted:
            fresh = replace(fresh, identity=None)
        before = self._views.get(fresh.stream_id)
        fresh = replace(fresh, growth=grown(before.growth if before else (), fresh.end, self._clock.now()))
        if before == fresh:
            return
        self._views[fresh.stream_id] = fresh
        for listener in self._listeners:
            listener(fresh)

    def keep(self, stream_ids: Container[str]) -> None:
        """Drop the streams that are gone: all but these. In the engine's thread."""
        for stream_id in [one for one in self._views if one not in stream_ids]:
            del self._views[stream_id]

    def get(self, stream_id: str) -> View | None:
        """The newest view of a stream."""
        return self._views.get(stream_id)

    def all(self) -> list[View]:
        """The newest view of every stream."""
        return list(self._views.values())


def grown(growth: Growth, end: int, now: float) -> Growth:
    """The marks with one more where the stream has grown: bytes are never noted younger than they are.

    When there are too many, each two become one with the later end and the earlier time.
    """
    if growth and growth[-1][0] == end:
        return growth
    if len(growth) < _MARKS:
        return (*growth, (end, now))
    pairs = zip(growth[1::2], growth[2::2], strict=False)
    merged = [(later[0], earlier[1]) for earlier, later in pairs]
    rest = growth[-1:] if len(growth) % 2 == 0 else ()
    return (growth[0], *merged, *rest, (end, now))
