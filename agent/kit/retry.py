"""When to try again, when to stop asking, and whom to ask instead.

Three small machines, each pure but for the clock and the randomness it is given: they never sleep, log or send.

- `Backoff` answers how long to wait after the n-th failure in a row. It has no state and is shared freely.
- `Breaker` stops a destination from being asked in vain: closed, open after a row of failures, half-open after the
  recovery time, when exactly one call goes out as a probe, closed again once that has succeeded.
- `Failover` keeps one breaker a target and picks the first target, in order, whose breaker lets a call through. So
  traffic comes back to the first target by itself, by its probe.

A refusal of the data (`Reject`) is an answer: the destination lives. Report it as a success here; it neither opens a
breaker nor fails over.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Generic, Literal, TypeVar

from agent.kit.clock import Clock

T = TypeVar("T")
State = Literal["closed", "half-open", "open"]

_SECONDS = re.compile(r"[0-9]{1,300}(\.[0-9]{1,300})?(e[0-9]{1,2})?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait between tries: exponential growth up to a cap, spread at random (OTLP/HTTP Connection)."""

    initial: float = 1.0
    """Seconds after the first failure, before jitter; above 0."""
    maximum: float = 60.0
    """No wait is longer, but for the jitter above a server's own `Retry-After`, which is capped here first."""
    multiplier: float = 2.0
    """Growth from one failure to the next; at least 1."""
    jitter: float | Literal["full"] = 0.25
    """0.25 draws from ±25 % of the nominal wait, "full" from 0 to all of it, 0 adds nothing; at most 1.

    Without jitter every agent that lost the same destination comes back in the same moment.
    """
    attempts: int | None = None
    """Tries in all, the first one included; None tries for ever."""
    uniform: Callable[[float, float], float] = random.uniform
    """Where randomness comes from: uniform(low, high)."""

    def __post_init__(self) -> None:
        if not 0 < self.initial <= self.maximum:
            raise ValueError("backoff: initial must be above 0 and at most maximum")
        if self.multiplier < 1:
            raise ValueError("backoff: multiplier must be at least 1")
        if self.jitter != "full" and not 0 <= self.jitter <= 1:
            raise ValueError('backoff: jitter must be between 0 and 1, or "full"')
        if self.attempts is not None and self.attempts < 1:
            raise ValueError("backoff: attempts must be at least 1")

    def wait(self, failures: int, retry_after: float | None = None) -> float | None:
        """Seconds to wait after `failures` (at least 1) failed tries in a row; None when no try is left.

        `retry_after`, what the server asked for in seconds, is a floor under the wait: capped at `maximum`, with
        the jitter added above it, so that nobody comes early and not all come at once.
        """
        if self.attempts is not None and failures >= self.attempts:
            return None
        drawn = self._draw(self._nominal(failures))
        if retry_after is None:
            return drawn
        floor = min(max(retry_after, 0.0), self.maximum)
        return max(drawn, self.uniform(floor, floor * (1 + self._spread)))

    def _nominal(self, failures: int) -> float:
        try:
            return min(self.initial * float(self.multiplier) ** (failures - 1), self.maximum)
        except OverflowError:
            return self.maximum

    def _draw(self, nominal: float) -> float:
        # At the cap the upper half of the range is cut off, not piled up on the cap itself: that would be no jitter.
        if self.jitter == "full":
            return self.uniform(0.0, nominal)
        return self.uniform(nominal * (1 - self._spread), min(nominal * (1 + self._spread), self.maximum))

    @property
    def _spread(self) -> float:
        return 1.0 if self.jitter == "full" else self.jitter


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a `Retry-After` header asks to wait (RFC 9110, 10.2.3); None when it is absent or nonsense.

    Takes seconds (also with a fraction or an exponent, which servers do send) and all three forms of an HTTP-date,
    measured against `now`, the wall time in seconds since 1970 UTC; a date that has passed is 0. The number may be
    absurdly large or infinite: `Backoff` caps it.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        # The asctime form names no zone; HTTP-dates are always UTC.
        stamp = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, stamp - now)


class Breaker:
    """One destination's circuit breaker. Not for several threads at once: it belongs to one event loop."""

    def __init__(self, clock: Clock, *, failures: int = 5, recovery: float = 60.0, patience: float = 60.0) -> None:
        """A probe without a verdict after `patience` seconds, or a longer recovery time, is followed by another one."""
        if failures < 1 or recovery <= 0:
            raise ValueError("breaker: failures must be at least 1 and recovery above 0 seconds")
        self._clock = clock
        self._limit = failures
        self._recovery = recovery
        self._patience = max(patience, recovery)
        self._failures = 0
        self._closed = True
        self._probing = False
        self._next_probe = 0.0
        # A ticket names the state it was given in. A verdict on a call that began before the state changed says
        # nothing about the present, so a straggler can neither close a breaker nor open it again.
        self._ticket = 0
        self.trips = 0
        """How often the breaker went from closed to open."""

    def __repr__(self) -> str:
        return f"<Breaker {self.state} failures={self._failures} trips={self.trips}>"

    @property
    def state(self) -> State:
        """`half-open` from the moment a probe may go out."""
        if self._closed:
            return "closed"
        return "half-open" if self._probing or self.wait() == 0 else "open"

    @property
    def failures(self) -> int:
        """Failures in a row, failed probes included."""
        return self._failures

    def wait(self) -> float:
        """Seconds after which a call may be let through, at the earliest; 0 when one may go now."""
        if self._closed:
            return 0.0
        left = max(0.0, self._next_probe - self._clock.monotonic())
        # A probe may fail at once; the next one goes a recovery time after that.
        return min(left, self._recovery) if self._probing else left

    def admit(self) -> int | None:
        """A ticket when a call may go out now, else None. Report its verdict with that ticket.

        While a probe is under way no other one goes: it would void the verdict of the first, and so for ever where
        answers take longer than the recovery time. A probe whose verdict never comes (its task was cancelled) is
        followed by another one when the patience is over, so nothing has to give a ticket back.
        """
        if self._closed:
            return self._ticket
        if self.wait() > 0:
            return None
        self._arm(probing=True)
        return self._ticket

    def succeeded(self, ticket: int) -> None:
        """The destination answered the call of this ticket, be it with a refusal of the data."""
        if ticket != self._ticket:
            return
        self._failures = 0
        if self._probing:
            self._closed, self._probing = True, False
            self._ticket += 1

    def failed(self, ticket: int) -> None:
        """The call of this ticket failed in a way that may pass."""
        if ticket != self._ticket:
            return
        self._failures += 1
        if self._closed and self._failures < self._limit:
            return
        self.trips += self._closed
        self._closed = False
        self._arm(probing=False)

    def _arm(self, *, probing: bool) -> None:
        self._ticket += 1
        self._probing = probing
        self._next_probe = self._clock.monotonic() + (self._patience if probing else self._recovery)


@dataclass(frozen=True, slots=True)
class Lease(Generic[T]):
    """The right to make one call to `target`."""

    target: T
    index: int
    ticket: int


class Failover(Generic[T]):
    """Targets in order of preference, each behind a breaker of its own. One event loop's, like its breakers."""

    def __init__(
        self, targets: Sequence[T], clock: Clock, *, failures: int = 5, recovery: float = 60.0, patience: float = 60.0
    ) -> None:
        if not targets:
            raise ValueError("failover: at least one target is needed")
        self.targets = tuple(targets)
        self.breakers = tuple(Breaker(clock, failures=failures, recovery=recovery, patience=patience) for _ in targets)
        self.current = 0
        """Index of the target that the last lease went to."""

    def pick(self) -> Lease[T] | None:
        """A lease on the first target that may be called now; None while every breaker is open."""
        for index, breaker in enumerate(self.breakers):
            ticket = breaker.admit()
            if ticket is not None:
                self.current = index
                return Lease(self.targets[index], index, ticket)
        return None

    def wait(self) -> float:
        """Seconds after which `pick` may have a lease to give, at the earliest; 0 when it has one now."""
        return min(breaker.wait() for breaker in self.breakers)

    def succeeded(self, lease: Lease[T]) -> None:
        """The target answered, be it with a refusal of the data."""
        self.breakers[lease.index].succeeded(lease.ticket)

    def failed(self, lease: Lease[T]) -> bool:
        """The call failed in a way that may pass. True when another target can take the batch at once."""
        self.breakers[lease.index].failed(lease.ticket)
        if self.breakers[lease.index].wait() == 0:
            return False
        return any(breaker.wait() == 0 for breaker in self.breakers)

    @property
    def trips(self) -> int:
        """How often any breaker opened."""
        return sum(breaker.trips for breaker in self.breakers)
