"""The list of segments for pages: made by the keeper's own thread, which alone may touch the catalogue."""

from __future__ import annotations

from agent.control import Segments, SegmentStatus
from agent.duties.requests import Requests
from agent.kit.errors import AgentError, StoppingError, printable
from agent.streams.engine import Engine
from agent.streams.segment import Segment

_PATIENCE = 10.0
"""Seconds to wait for the keeper."""


def listing(requests: Requests, engine: Engine, stream: str, limit: int) -> Segments:
    """The newest `limit` segments of a stream, or of all where it is empty. From any thread.

    Raises StoppingError (the web's 503) when the keeper does not answer in time.
    """
    try:
        return requests.ask(lambda: _list(engine, stream, limit), _PATIENCE)
    except AgentError as error:
        raise StoppingError(error.what, hint=error.hint) from error


def _list(engine: Engine, stream: str, limit: int) -> Segments:
    chosen = [one for one in engine.catalog.all() if stream in ("", printable(one.name))]
    found = [segment for one in chosen for segment in one.published]
    found.sort(key=lambda segment: segment.sealed_at)
    return Segments(len(found), [_status(segment) for segment in found[-limit:]])


def _status(segment: Segment) -> SegmentStatus:
    return SegmentStatus(
        stream=printable(segment.stream),
        name=printable(segment.name),
        start=segment.extent.start,
        end=segment.extent.end,
        records=segment.records,
        size=segment.size,
        allocated=segment.allocated,
        sealed_at=segment.sealed_at,
        marker=segment.marker,
    )
