"""The one loop: it sleeps, wakes, backs off, logs and counts, so that a duty is nothing but `step`.

Invariants: a step that has begun is never abandoned, not even by cancellation; a wake during a step leads to one
more step, however many wakes there were; a failing step is tried again at growing intervals, which no wake shortens;
a failure is logged by the loop alone. No loop polls: it sleeps until the time its duty named, or until woken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
import anyio.to_thread

from agent.kit import log
from agent.kit.clock import Clock
from agent.kit.errors import AgentError, StoppingError
from agent.kit.priority import WORK

_log = log.get("loops")


class Duty(Protocol):
    """Something the agent does again and again."""

    @property
    def name(self) -> str:
        """A word for logs, metrics and status."""
        ...

    def step(self, now: float) -> float | None:
        """One bounded pass of synchronous code in a worker thread, without sleeping; raises on failure.

        `now` and the answer are monotonic times in seconds: the next step is due then, or only when woken (None).
        """
        ...


class Observer(Protocol):
    """Who is told what the loops do: metrics and components, wired by app. Called on the event loop; must not block."""

    def stepped(self, name: str, seconds: float) -> None:
        """A step of `name` succeeded in that time."""
        ...

    def failed(self, name: str, error: Exception, failures: int, retry: float) -> None:
        """A step failed, for the `failures`-th time in a row; the next try is in `retry` seconds."""
        ...

    def recovered(self, name: str, failures: int) -> None:
        """A step succeeded after that many failures."""
        ...


class Waker:
    """A sleep that any thread can end.

    A wake while nobody sleeps is kept and ends the next sleep at once; any number of them counts as one. After the
    event loop is closed a wake does nothing.
    """

    def __init__(self) -> None:
        self._woken = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sleeper: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """End the sleep; from any thread, and cheap when a wake is pending already."""
        if self._woken:
            return
        self._woken = True  # before the loop is looked at: a sleeper sets its loop first and looks at this after
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._end)
            except RuntimeError:  # the loop is closed: nobody sleeps any more
                return

    async def sleep(self, seconds: float | None) -> None:
        """Sleep that long, or until woken; None: only until woken."""
        self._loop = asyncio.get_running_loop()
        if not self._woken and (seconds is None or seconds > 0):
            await self._wait(self._loop, seconds)
        self._woken = False

    async def rest(self, seconds: float) -> None:
        """Sleep that long; a wake is kept for later."""
        await anyio.sleep(seconds)

    async def _wait(self, loop: asyncio.AbstractEventLoop, seconds: float | None) -> None:
        self._sleeper = sleeper = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _finish, sleeper)
        try:
            await sleeper
        finally:
            self._sleeper = None
            if timer:
                timer.cancel()

    def _end(self) -> None:
        if self._woken and self._sleeper:
            _finish(self._sleeper)


def _finish(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


class Failures:
    """How often a duty failed in a row, when it is tried again, and whether that is worth a line in the log.

    The wait doubles from `first` to `longest` seconds and begins anew after a success. The first failure is logged,
    then one line in `quiet` seconds at most, also when failures and successes alternate.
    """

    def __init__(self, *, first: float = 1.0, longest: float = 60.0, quiet: float = 300.0) -> None:
        self.count = 0
        self._first = first
        self._longest = longest
        self._quiet = quiet
        self._logged: float | None = None
        self._told = False

    def failed(self, now: float) -> tuple[float, bool]:
        """Note a failure: the seconds until the next try, and whether to log it."""
        self.count += 1
        wait = min(self._longest, self._first * 2.0 ** min(self.count - 1, 60))
        say = self._logged is None or now - self._logged >= self._quiet
        if say:
            self._logged = now
            self._told = True
        return wait, say

    def succeeded(self) -> tuple[int, bool]:
        """Note a success: how many failures it ends, and whether to log that (only where a failure was logged)."""
        ended, told = self.count, self._told
        self.count = 0
        self._told = False
        return ended, told


async def repeat(duty: Duty, *, clock: Clock, limiter: anyio.CapacityLimiter, waker: Waker, observer: Observer) -> None:
    """Run the duty's steps in worker threads until cancelled, which takes effect between two steps.

    A step that ends early with StoppingError is no failure: the agent is stopping, and the cancellation follows.
    """
    failures = Failures()
    while True:
        began = clock.monotonic()
        try:
            due = await anyio.to_thread.run_sync(_step, duty, began, limiter=limiter)
        except StoppingError:
            await waker.sleep(None)
            continue
        except Exception as error:  # noqa: BLE001 - a loop outlives whatever its step raises, and says so
            wait = _failed(duty.name, error, failures, clock.monotonic(), observer)
            await waker.rest(wait)
            continue
        now = clock.monotonic()
        observer.stepped(duty.name, now - began)
        _succeeded(duty.name, failures, observer)
        await waker.sleep(None if due is None else max(0.0, due - now))


def _step(duty: Duty, now: float) -> float | None:
    WORK.lower()
    return duty.step(now)


def _failed(name: str, error: Exception, failures: Failures, now: float, observer: Observer) -> float:
    wait, say = failures.failed(now)
    observer.failed(name, error, failures.count, wait)
    if say:
        # An AgentError tells where and what to do; anything else is a fault of ours, and its traceback tells where.
        trace = None if isinstance(error, AgentError | OSError) else error
        _log.error(f"{name} failed", error=error, failures=failures.count, retry_seconds=wait, exc_info=trace)
    return wait


def _succeeded(name: str, failures: Failures, observer: Observer) -> None:
    if not failures.count:
        return
    ended, say = failures.succeeded()
    observer.recovered(name, ended)
    if say:
        _log.info(f"{name} works again", failures=ended)


async def guard(name: str, run: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """Run a task that must last as long as the agent: its failure or its end is logged at once and raised.

    Raises what `run` raises, and AgentError when it simply returns, so that the task group it lives in stops.
    """
    try:
        await run(*arguments)
    except Exception as error:
        _log.critical(f"{name} ended by a failure", error=error, exc_info=error)
        raise
    _log.critical(f"{name} ended although it must not")
    raise AgentError(f"the task {name} ended although it must run as long as the agent")


class Heartbeat:
    """Measures how late the event loop is, and leaves its last beat where another thread can judge it."""

    def __init__(self, clock: Clock, lag: Callable[[float], None], *, every: float = 1.0) -> None:
        self.last = clock.monotonic()
        self._clock = clock
        self._lag = lag
        self._every = every

    async def run(self) -> None:
        """Beat every `every` seconds until cancelled; `lag` gets the seconds by which each beat was late."""
        self.last = self._clock.monotonic()  # what took its time before the loop ran was not the loop
        while True:
            await anyio.sleep(self._every)
            now = self._clock.monotonic()
            self._lag(max(0.0, now - self.last - self._every))
            self.last = now
