"""What waits beyond the bounds of `[forward.unsent]` where nothing may be deleted for it: unhealthy, until it is less.

`when_full = "keep"` is a promise that the disk pays for: who sets a bound beside it wants to hear of it in time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from agent.config import Forward
from agent.config.forward import Unsent
from agent.kit import log
from agent.kit.errors import printable
from agent.kit.loops import Failures
from agent.kit.words import count, duration, size
from agent.streams.lag import Lag, share

_log = log.get("forwards")

EVERY = 10.0
"""Seconds between two looks: soon enough for health, and cheap where there are ten thousand streams."""

HINT = (
    "nothing is deleted for it: look at the destination, raise the bound in [forward.unsent], or let the oldest go "
    'with when_full = "drop_oldest"'
)

Waiting = Sequence[tuple[str, Lag]]
"""What waits, by the name of its stream."""


def bounded(forward: Forward) -> bool:
    """True for a forward that sets bounds beyond which nothing may be deleted all the same."""
    unsent = forward.unsent
    return unsent.when_full == "keep" and bool(unsent.max_bytes or unsent.max_age)


def excess(waiting: Waiting, unsent: Unsent) -> str:
    """What waits beyond the bounds, in words, by the stream that is farthest beyond; empty while all is within."""
    shares = [(share(one, unsent.max_bytes, unsent.max_age), name, one) for name, one in waiting]
    beyond = [one for one in shares if one[0] > 1]
    if not beyond:
        return ""
    _, name, worst = max(beyond, key=lambda one: one[0])
    told = []
    if unsent.max_bytes and worst.bytes > unsent.max_bytes:
        told.append(f"{size(worst.bytes)} wait, unsent.max_bytes is {unsent.max_bytes}")
    if unsent.max_age and worst.seconds > unsent.max_age:
        told.append(f"the oldest has waited for {duration(worst.seconds)}, unsent.max_age is {unsent.max_age}")
    others = len(beyond) - 1
    more = f", and {count(others, 'more stream')} beyond the bounds" if others else ""
    return f"{printable(name)}: {'; '.join(told)}{more}"


class Bound:
    """The bounds of one forward: `waiting` says what waits for it, `report` is told what is beyond, and what to do."""

    def __init__(self, forward: Forward, waiting: Callable[[], Waiting], report: Callable[[str, str], None]) -> None:
        self._forward = forward
        self._waiting = waiting
        self._report = report
        self._lapses = Failures()
        self._told = False

    def look(self, now: float) -> None:
        """Judge what waits at the monotonic time `now`."""
        beyond = excess(self._waiting(), self._forward.unsent)
        self._report(beyond, HINT if beyond else "")
        self._tell(beyond, now)

    def _tell(self, beyond: str, now: float) -> None:
        """Log its begin and its end; a backlog that swings about a bound is told of once in some minutes."""
        if not beyond:
            _, over = self._lapses.succeeded()
            self._told = False
            if over:
                _log.info("what waits is within the bounds of [forward.unsent] again", forward=self._forward.name)
        elif not self._told:
            _, self._told = self._lapses.failed(now)
            if self._told:
                _log.error(
                    "more waits than [forward.unsent] allows; health is unhealthy until it is less",
                    forward=self._forward.name, waiting=beyond, hint=HINT,
                )  # fmt: skip


class Backlog:
    """The duty that looks at all bounds. `ready` says whether every stream is known."""

    name = "backlog"

    def __init__(self, bounds: Iterable[Bound], ready: Callable[[], bool]) -> None:
        self._bounds = list(bounds)
        self._ready = ready
        self._met = False

    def step(self, now: float) -> float | None:
        """Look at each. Consumers have a while after the start to meet their streams: before, all seems to wait."""
        if self._met:
            for one in self._bounds:
                one.look(now)
        self._met = self._met or self._ready()
        return now + EVERY
