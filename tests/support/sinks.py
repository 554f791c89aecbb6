"""A sink by itself."""

from __future__ import annotations

from agent.sinks.base import Outcome, Sink
from agent.streams.batch import Batch


async def deliver(sink: Sink, batch: Batch) -> Outcome:
    """Encode and send, as the shipping loop does. Raises Retry, Reject or TooLarge."""
    return await sink.send(batch, sink.encode(batch))
