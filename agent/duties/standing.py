"""Where consumers stand in each stream: by their cursors, also of consumers no longer configured. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from agent.config import Config
from agent.control import CursorStatus
from agent.kit.clock import Clock
from agent.kit.disk import Directory
from agent.streams import cursors as cursor_files
from agent.streams.cursors import Cursors
from agent.streams.engine import peek as peek_engine
from agent.streams.lag import lag
from agent.streams.views import View, view


def standing(
    state: Directory, configured: Mapping[str, Cursors], views: Iterable[View], now: float
) -> Iterator[CursorStatus]:
    """Where each consumer, configured or with a cursor file in `state`, stands in each stream it has a cursor for."""
    by_id = {one.stream_id: one for one in views}
    orphaned = {name: Cursors(state, name) for name in cursor_files.consumers(state) if name not in configured}
    for name, cursors in sorted({**orphaned, **configured}.items()):
        for stream_id, found in sorted(cursors.snapshot().items(), key=lambda item: item[1].name):
            one = by_id.get(stream_id)
            behind = lag(one, found.position, now) if one else None
            yield CursorStatus(
                consumer=name,
                stream=found.name,
                stream_id=stream_id,
                position=found.position,
                end=one.end if one else found.position,
                lag_bytes=behind.bytes if behind else 0,
                lag_records=behind.records if behind else 0,
                lag_seconds=round(behind.seconds, 3) if behind else 0.0,
                in_flight=sum(not batch.settled for batch in found.inflight),
                orphaned=name in orphaned,
            )


def peek(config: Config, clock: Clock) -> list[CursorStatus]:
    """The same from the files alone, changing nothing. Raises FileNotFoundError when there is no such directory."""
    with peek_engine(config, clock) as engine:
        if engine.grounds.state is None:
            return []
        views = [view(one) for one in engine.catalog.all()]
        return list(standing(engine.grounds.state, engine.holding.cursors, views, clock.now()))
