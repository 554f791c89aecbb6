"""Generated traces that look like an application's: OTLP-JSON export requests, one a line.

A seed and the arguments decide every byte: two generators made alike write alike (with a clock of their own, all but
the times). Each line carries a number that grows by one from line to line, so that whoever reads the lines back can
count what is lost, doubled or out of order without trusting anybody's counters.

Speed comes from templates: a line is one `%` of a template with that line's ids, times and values.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Sequence
from itertools import count

from agent.kit.clock import Clock
from agent.otlp import scenes

SERVICES = ("frontend", "checkout", "cart", "payment", "catalogue")

_EPOCH_NS = 1_767_225_600_000_000_000  # 2026-01-01 UTC: where time starts without a clock
_TICK_NS = 1_000_000  # and what it advances a line
_SEQUENCE = re.compile(
    rb'"%b"\s*,\s*"value"\s*:\s*\{\s*"intValue"\s*:\s*"?(\d+)' % re.escape(scenes.SEQUENCE_KEY).encode()
)

Values = dict[bytes, bytes | int | float]


class Generator:
    """Writes export requests, one a line, each with its line's end.

    `services` names the applications (without percent signs), `errors` is the share of requests that fail (0 to 1),
    `delay` the median duration of a request in seconds, `first` the number in the first line. With a `clock` the times
    are its times; without one they advance 1 ms a line from 2026-01-01. ValueError when an argument is out of its
    range. Not for several threads at once.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        services: Sequence[str] = SERVICES,
        errors: float = 0.02,
        delay: float = 0.05,
        first: int = 0,
        clock: Clock | None = None,
    ) -> None:
        if not services or any("%" in name for name in services):
            raise ValueError("services must be names without a percent sign, at least one")
        if not 0 <= errors <= 1 or not 0 <= delay < math.inf or first < 0:
            raise ValueError("errors must be in 0..1, delay finite and not negative, first not negative")
        self._random = random.Random(seed)  # noqa: S311 - a seed must give the same lines again; nothing is secret
        self._errors = errors
        self._delay = delay
        self._numbers = count(first)
        self._clock = clock
        self._ticks = count(_EPOCH_NS, _TICK_NS)
        self._traces = [scene for service in services for scene in scenes.traces(service)]
        self._pings = [scenes.ping(service) for service in services]

    def trace_line(self) -> bytes:
        """One trace of 2 to 4 spans of one service, 2 to 4 KB, 2.7 KB on average; gzip -6 makes it 9 times smaller."""
        return self._trace()

    def spans(self, number: int) -> Iterator[tuple[bytes, int]]:
        """Lines of traces that have `number` spans together, each line with how many it has."""
        left = number
        while left > 0:
            # Never leaves one span alone: only a wish for a single one is answered by a trace of one.
            fitting = [one for one in self._traces if len(one.parents) <= left and len(one.parents) != left - 1]
            scene = self._random.choice(fitting or self._pings)
            yield self._trace(scene), len(scene.parents)
            left -= len(scene.parents)

    def _trace(self, scene: scenes.Scene | None = None) -> bytes:
        values, failed = self._values()
        scene = scene or self._random.choice(self._traces)
        self._spans(values, scene.parents)
        return (scene.failed if failed else scene.well) % values

    def _now(self) -> int:
        return int(self._clock.now() * 1e9) if self._clock else next(self._ticks)

    def _values(self) -> tuple[Values, bool]:
        """What a template may ask for besides its spans', and whether this request fails."""
        rng = self._random
        draw = rng.random
        end = self._now() + int(draw() * _TICK_NS)
        seconds = self._delay * math.exp(rng.gauss(0.0, 0.5))
        values: Values = {
            b"sequence": next(self._numbers),
            b"trace": _identity(rng, 128),
            b"span0": _identity(rng, 64),
            b"request": _identity(rng, 128),
            b"session": _identity(rng, 64),
            b"user": _identity(rng, 128),
            b"start0": end - int(seconds * 1e9),
            b"end0": end,
            b"ms": seconds * 1000,
            b"item": int(draw() * 1_000_000),
            b"port": 32_768 + int(draw() * 28_000),
            b"pod": int(draw() * 3),
            b"address": b"10.%d.%d.%d" % (int(draw() * 64), int(draw() * 256), int(draw() * 256)),
            b"size": int(1000 * 100 ** draw()),
            b"rows": int(draw() * 50),
        }
        return values, draw() < self._errors

    def _spans(self, values: Values, parents: tuple[int, ...]) -> None:
        """Give each span below the root an id and a time: inside its parent's, after its elder siblings'."""
        rng = self._random
        free, ends = [int(values[b"start0"])], [int(values[b"end0"])]
        for index, parent in enumerate(parents[1:], 1):
            room = ends[parent] - free[parent]
            begin = free[parent] + int(room * 0.2 * rng.random())
            end = begin + int(room * 0.6 * rng.random())
            free[parent] = end
            free.append(begin)
            ends.append(end)
            values[b"span%d" % index] = _identity(rng, 64)
            values[b"key%d" % index] = _identity(rng, 128)
            values[b"start%d" % index] = begin
            values[b"end%d" % index] = end


def sequences(request: bytes) -> Iterator[int]:
    """The numbers of all generated lines that were joined into a request, in order."""
    return (int(found[1]) for found in _SEQUENCE.finditer(request))


def _identity(rng: random.Random, bits: int) -> bytes:
    """An id in hex; never all zero, which OTLP forbids."""
    return b"%0*x" % (bits // 4, rng.getrandbits(bits) or 1)
