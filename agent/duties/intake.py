"""What a consumer takes in: batches read within the memory's leave, begun, and durable before anybody may send them.

Invariants:

- No batch leaves whose bounds are not durable: while they cannot be written, what was read waits here.
- What is read fits into the agent's memory (`agent.duties.budget`), and its grant goes with the batch; what does not
  fit, waits on disk.
- Steps of one thread at a time, but for `notice`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from agent.config import Forward
from agent.duties.budget import Ask, Budget, Grant, weigh
from agent.duties.parcel import Parcel
from agent.duties.source import Source
from agent.kit.clock import Clock
from agent.kit.errors import CorruptError
from agent.kit.steps import reach
from agent.otlp.process import Chain
from agent.streams.cursors import Cursors
from agent.streams.views import View, Views

MEMORY_WAIT = 0.25
"""Seconds after which a consumer asks for memory again; the end of one of its own batches comes before."""


class Intake:
    """Takes in for one consumer. `skipped` and `corrupt` are told as `Source` tells them."""

    def __init__(
        self, forward: Forward, views: Views, cursors: Cursors, clock: Clock, budget: Budget, process: Chain | None,
        skipped: Callable[[View, int, int, str], None], corrupt: Callable[[CorruptError], None],
    ) -> None:  # fmt: skip
        self._name = forward.name
        self._batch = forward.batch
        self._cursors = cursors
        self._clock = clock
        self._budget = budget
        self._weight = weigh(forward, processed=process is not None)
        self._ceiling = budget.longest(self._weight, sys.maxsize)
        self.source = Source(forward, views, cursors, skipped, corrupt, self._ceiling, process)
        self._prepared: list[Parcel] = []
        """Begun batches whose bounds are not durable yet."""

    def next(self, places: int, *, busy: bool) -> tuple[list[Parcel], float | None]:
        """Batches whose bounds are durable, or the monotonic time at which one is due, None: when woken.

        As many small ones as there are places share a write of their bounds: what they wait for is the disk. `busy`
        says that batches are under way. Raises OSError; what was read before is given by the next call.
        """
        due = None
        while self._has_room(places):
            now = self._clock.monotonic()
            grant = self._budget.ask(self._wish(busy))
            if grant is None:
                due = now + MEMORY_WAIT
                break
            parcel, due = self._find(grant, now)
            if parcel is None:
                break
            self._prepared.append(parcel)
        reach("ship.begun")
        self._cursors.save()
        parcels, self._prepared = self._prepared, []
        return parcels, due

    def notice(self, view: View) -> bool:
        """A stream changed. True when that is news; from any thread."""
        return self.source.notice(view, self._clock.monotonic())

    def reset(self, view: View, position: int) -> None:
        """Go on from `position` of a stream; durable on return. Raises OSError: nothing is changed."""
        before = self._cursors.get(view.stream_id)
        self._cursors.reset(view.name, view.stream_id, position)
        try:
            self._cursors.save()
        except OSError:
            self._cursors.restore(view.stream_id, before)
            raise
        for one in self._prepared:
            if one.stream_id == view.stream_id and one.grant:
                one.grant.end()
        self._prepared = [one for one in self._prepared if one.stream_id != view.stream_id]
        self.source.reset(view)

    def _has_room(self, places: int) -> bool:
        size = sum(one.end - one.start for one in self._prepared)
        return not self._prepared or (len(self._prepared) < places and size < self._batch.max_bytes // 2)

    def _wish(self, busy: bool) -> Ask:
        busy = busy or bool(self._prepared)
        if self.source.wanted:
            return Ask(self.source.wanted, self._weight, busy, whole=True, who=self._name)
        return Ask(min(self._ceiling, self._batch.max_bytes), self._weight, busy, who=self._name)

    def _find(self, grant: Grant, now: float) -> tuple[Parcel | None, float | None]:
        """What the source has within the grant, which goes with the batch; without one it is given back."""
        parcel = None
        try:
            parcel, due = self.source.find(now, grant.bytes)
        finally:
            if parcel is None:
                grant.end()
        if parcel is not None:
            grant.read(parcel.end - parcel.start)
            parcel.grant = grant
        return parcel, due
