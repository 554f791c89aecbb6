"""What consumers have not delivered yet: their cursors, and the claims on segments that follow from them.

A consumer that is configured but has never looked at a stream claims all of it. Cursors of consumers that are no
longer configured claim nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.config import Forward
from agent.kit.disk import Directory
from agent.streams.catalog import Stream
from agent.streams.cursors import Cursors
from agent.streams.plan import Claim


class Holding:
    """The cursors of every configured forward, by its name, in the order of the configuration."""

    def __init__(self, forwards: Sequence[Forward], state: Directory | None) -> None:
        """Read the cursors in the state directory; without one there are none."""
        self.forwards = {one.name: one for one in forwards}
        self.cursors = {name: Cursors(state, name) for name in self.forwards} if state else {}

    def claims(self, stream: Stream) -> list[Claim]:
        """What is still wanted of a stream."""
        return list(self._claims(stream.name, stream.id))

    def _claims(self, name: str, stream_id: str) -> Iterator[Claim]:
        for forward in self.forwards.values():
            if not forward.selects(name):
                continue
            cursors = self.cursors.get(forward.name)
            found = cursors.get(stream_id) if cursors else None
            unsent = forward.unsent
            yield Claim(
                found.position if found else 0, unsent.when_full == "drop_oldest", unsent.max_bytes, unsent.max_age
            )

    def forget(self, stream_id: str) -> None:
        """Drop the cursors of a stream that is gone with all its segments."""
        for cursors in self.cursors.values():
            cursors.forget((stream_id,))
