"""Calls that may never come back, such as statvfs on a dead NFS server.

Each call runs in a daemon thread of its own, so that neither its caller nor the end of the process waits for it.
A call that does not answer in time is quarantined under its key: while its thread hangs no other is started for
that key, and after it came back the key still rests until `retry_after` has passed, so a mount that is merely slow
costs one wait a minute and not one a pass. Hence at most one thread a key, however often it is asked.

Calls start one after the other, each when its predecessor is done or slow: so a call's run time is its own, and
slow ones still wait side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from agent.kit.clock import Clock

T = TypeVar("T")
RETRY_AFTER = 60.0
_HEAD_START = 0.02
"""Seconds after which a call counts as slow and the next one starts beside it."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A call that came back. `seconds` is its own run time; exactly one of `value` and `error` is meant."""

    seconds: float
    value: T | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Hung:
    """A call that did not answer, `seconds` ago."""

    seconds: float


class Call(Generic[T]):
    """One call in a daemon thread of its own; `done` is called there once `answer` is set."""

    def __init__(
        self, key: str, function: Callable[[], T], clock: Clock, done: Callable[[], None] = lambda: None
    ) -> None:
        self._function = function
        self._clock = clock
        self._tell = done
        self._done = threading.Event()
        self.answer: Answer[T] | None = None
        self.started = clock.monotonic()
        threading.Thread(target=self._run, name=f"read {key}", daemon=True).start()

    def _run(self) -> None:
        started = self._clock.monotonic()
        value, error = None, None
        try:
            value = self._function()
        except Exception as caught:  # noqa: BLE001 - whatever a reader raises is its answer, not this thread's end
            error = caught
        self.answer = Answer(self._clock.monotonic() - started, value, error)
        self._done.set()
        self._tell()

    def wait(self, seconds: float) -> Answer[T] | None:
        """The answer, as soon as there is one; None when there is none within `seconds`."""
        self._done.wait(max(0.0, seconds))
        return self.answer


class Quarantine(Generic[T]):
    """Runs calls with a time limit; one thread uses it at a time."""

    def __init__(self, clock: Clock, timeout: float, retry_after: float = RETRY_AFTER) -> None:
        self._clock = clock
        self._timeout = timeout
        self._retry_after = retry_after
        self._held: dict[str, Call[T]] = {}

    def run(self, jobs: Mapping[str, Callable[[], T]]) -> dict[str, Answer[T] | Hung]:
        """Run every job that is not quarantined; `timeout` seconds from now each key has its outcome.

        `jobs` is everything there is: a quarantined key that is no longer among them is forgotten.
        """
        now = self._clock.monotonic()
        self._held = {key: call for key, call in self._held.items() if key in jobs and self._rests(call, now)}
        calls = dict(self._held)
        for key, job in jobs.items():
            if key not in self._held:
                calls[key] = Call(key, job, self._clock)
                calls[key].wait(min(_HEAD_START, self._left(now)))
        return {key: self._settle(key, calls[key], now) for key in jobs}

    def _settle(self, key: str, call: Call[T], now: float) -> Answer[T] | Hung:
        answer = None if key in self._held else call.wait(self._left(now))
        if answer is None:
            self._held[key] = call
            return Hung(self._clock.monotonic() - call.started)
        return answer

    def _left(self, since: float) -> float:
        return since + self._timeout - self._clock.monotonic()

    def _rests(self, call: Call[T], now: float) -> bool:
        return call.answer is None or now < call.started + self._retry_after
