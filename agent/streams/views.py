"""The newest view of each stream: published by the engine's thread, read by any.

Invariant: a view is published as soon as the sealed end moved, and before anything below it is punched or truncated.
One thread writes; entries are replaced whole, and whoever lists them takes a copy in one go, so nobody needs a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace

from agent.streams.catalog import Stream
from agent.streams.reader import View, view

Listener = Callable[[View], None]


class Views:
    """Views by stream id, and who is told of each new one."""

    def __init__(self) -> None:
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
        if self._views.get(fresh.stream_id) == fresh:
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
