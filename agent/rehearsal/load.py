"""Generated load: how much, in which rhythm, and into which file."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from math import floor

from agent.control.drills import SERVICE
from agent.kit.clock import Clock
from agent.otlp.generate import Generator

BYTES_A_SPAN = 1_000
"""What a generated span takes, on average and rounded up."""
_FAILING = 0.2
"""Share of failing requests where some are wanted: so many that a hundred spans have some."""
_NAP = 0.02


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is written."""

    spans: int
    """In all."""
    due: Callable[[float, int, int], bool]
    """Whether the next line may go: from seconds since the start, and the spans and lines written so far."""
    errors: float = 0.0
    """Share of the requests that fail, 0 to 1."""
    delay: float = 0.05
    """Median duration of a request in the data, seconds."""


def at_once(_: float, __: int, ___: int) -> bool:
    """As fast as it goes."""
    return True


def steadily(rate: float) -> Callable[[float, int, int], bool]:
    """`rate` spans a second, evenly."""
    return lambda elapsed, spans, _: spans <= rate * elapsed


def in_bursts(rate: float, period: float) -> Callable[[float, int, int], bool]:
    """`rate` spans a second on average, those of each `period` seconds at its beginning."""
    return lambda elapsed, spans, _: spans < rate * period * (floor(elapsed / period) + 1)


def one_by_one(delay: float) -> Callable[[float, int, int], bool]:
    """A line each `delay` seconds: requests of one client that takes its answers one after the other."""
    return lambda elapsed, _, lines: elapsed >= lines * delay


def requests(spans: int, delay: float, *, errors: bool) -> Load:
    """So many spans of requests that take about `delay` seconds each, one after the other; 0: as fast as it goes."""
    share = _FAILING if errors else 0.0
    if delay <= 0:
        return Load(spans=spans, due=at_once, errors=share)
    return Load(spans=spans, due=one_by_one(delay), errors=share, delay=delay)


def write(
    load: Load, put: Callable[[bytes], None], wrote: Callable[[int, int], None], clock: Clock, stop: threading.Event
) -> None:
    """Write the load, a line a call of `put`; `wrote` is told each line's spans and bytes. Ends early at `stop`."""
    # A seed of its own, so that no two loads have the same trace ids.
    seed = random.SystemRandom().getrandbits(63)
    source = Generator(seed, services=[SERVICE], errors=load.errors, delay=load.delay, clock=clock)
    began = clock.monotonic()
    written = 0
    for lines, (line, spans) in zip(count(), source.spans(load.spans), strict=False):
        while not load.due(clock.monotonic() - began, written, lines):
            if stop.wait(_NAP):
                return
        if stop.is_set():
            return
        put(line)
        written += spans
        wrote(spans, len(line))
