"""How old segments are, whatever the wall clock does.

Within one boot an age is the difference of two readings of the steady clock: no step of the wall clock counts. A
segment of another boot is dated by what was last known of that boot's clock, so what was sealed before the clock was
set (1970) has its true age, too. Where nothing is known, wall time tells once, when the segment is first seen, and
steady time goes on from there: a wall clock that jumps later deletes nothing early (attack M1).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate

import msgspec

from agent.kit import disk
from agent.kit.clock import Clock
from agent.kit.disk import Directory
from agent.streams.segment import Segment

NAME = "clock.json"

CLOCK_UNSET = 1_577_836_800.0
"""Wall times before 2020 are those of a clock that nobody had set: they tell nothing."""

_BOOTS = 32
"""Boots whose clocks are remembered; segments that old have their date from elsewhere, or from their own index."""
_STEP = 1.0
"""Seconds by which the wall clock must differ from what is remembered, to be written down again."""


@dataclass(frozen=True, slots=True)
class _Sight:
    """A segment of another boot: its age at a steady time, `final` once the wall clock made sense of it."""

    age: float
    at: float
    final: bool


class Ages:
    """Dates segments; one thread uses it. `state` keeps what is known of each boot's clock, where it may be written."""

    def __init__(self, clock: Clock, boot: str, state: Directory | None) -> None:
        self._clock = clock
        self._boot = boot
        self._state = state
        self._sights: dict[tuple[str, str], _Sight] = {}
        self._witnesses: dict[str, tuple[float, float]] = {}
        self._offsets = _load(state)
        """Wall time minus steady time of each boot, as last known in it."""

    def witness(self, segments: Iterable[Segment]) -> None:
        """Learn from what was sealed last in each boot, should the state be lost."""
        for one in segments:
            if one.boot and one.uptime >= self._witnesses.get(one.boot, (0.0, 0.0))[0]:
                self._witnesses[one.boot] = (one.uptime, one.sealed_at - one.uptime)

    def keep_time(self) -> bool:
        """Write down how wall and steady clock differ, when that changed. A disk that takes nothing stops nobody.

        True when the wall clock was set since the last call.
        """
        offset = self._clock.now() - self._clock.monotonic()
        before = self._offsets.get(self._boot)
        if not self._boot or (before is not None and abs(offset - before) <= _STEP):
            return False
        self._offsets.pop(self._boot, None)
        self._offsets[self._boot] = offset
        for old in list(self._offsets)[:-_BOOTS]:
            del self._offsets[old]
        if self._state is not None:
            with suppress(OSError):
                disk.write_atomic(self._state, NAME, msgspec.json.encode(self._offsets))
        return before is not None

    def of(self, segments: Iterable[Segment]) -> list[float]:
        """Each segment's age in seconds. An older one is never younger than the next, whoever touched its file."""
        ages = [self._age(one) for one in segments]
        return list(accumulate(reversed(ages), max))[::-1]

    def forget(self, stream_id: str, name: str) -> None:
        """The segment is gone."""
        self._sights.pop((stream_id, name), None)

    def _age(self, one: Segment) -> float:
        now = self._clock.monotonic()
        if one.boot and one.boot == self._boot and one.uptime <= now:
            return now - one.uptime
        key = (one.stream_id, one.name)
        sight = self._sights.get(key)
        if sight is None or not sight.final:
            before = sight.age + now - sight.at if sight else 0.0
            wall = self._by_wall(one)
            # One from the future: the clock is wrong now, or it was; asked again until time has caught up.
            sight = self._sights[key] = _Sight(max(before, wall), now, wall >= 0)
        return sight.age + now - sight.at

    def _by_wall(self, one: Segment) -> float:
        """The age by the wall clock; negative for one from the future, 0 where no clock was set when it was sealed."""
        offset = self._offsets.get(one.boot)
        if offset is None and one.boot in self._witnesses:
            offset = self._witnesses[one.boot][1]
        sealed = max(one.sealed_at, one.changed) if offset is None else offset + one.uptime
        return self._clock.now() - sealed if sealed >= CLOCK_UNSET else 0.0


def _load(state: Directory | None) -> dict[str, float]:
    if state is None:
        return {}
    try:
        fd = state.open_read(NAME)
        with os.fdopen(fd, "rb") as file:
            return msgspec.json.decode(file.read(), type=dict[str, float])
    except (OSError, msgspec.MsgspecError):
        return {}
