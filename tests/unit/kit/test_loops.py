"""The loop: when it runs a step, when it sleeps, and what it says about failures."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from agent.kit import log, loops
from agent.kit.errors import AgentError, StoppingError

LIMIT = 1e6
"""A sleep so long that a test which really slept it would fail by its time limit."""


class Turned:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        """Wall time."""
        return self.time

    def monotonic(self) -> float:
        """Time that never goes back."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Never called."""
        raise AssertionError("a loop must not block", seconds)


class TurningWaker(loops.Waker):
    """A waker whose sleeps only turn the clock, and end the loop after so many."""

    def __init__(self, clock: Turned, scope: anyio.CancelScope, sleeps: int) -> None:
        super().__init__()
        self.clock = clock
        self.scope = scope
        self.left = sleeps
        self.slept: list[tuple[str, float | None]] = []

    async def sleep(self, seconds: float | None) -> None:
        """Turn the clock."""
        await self._turn("sleep", seconds)

    async def rest(self, seconds: float) -> None:
        """Turn the clock."""
        await self._turn("rest", seconds)

    async def _turn(self, kind: str, seconds: float | None) -> None:
        self.slept.append((kind, seconds))
        self.clock.time += seconds or 0
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()
        await anyio.lowlevel.checkpoint()


class Scripted:
    """A duty whose steps answer from a list; an exception in it is raised."""

    name = "scripted"

    def __init__(self, *answers: float | Exception | None) -> None:
        self.answers = list(answers)
        self.times: list[float] = []

    def step(self, now: float) -> float | None:
        """One pass."""
        self.times.append(now)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Called:
    """A duty that calls a function."""

    name = "called"

    def __init__(self, function: Callable[[], float | None]) -> None:
        self.function = function

    def step(self, now: float) -> float | None:
        """One pass."""
        assert now > 0
        return self.function()


class Recorder:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def stepped(self, name: str, seconds: float) -> None:
        """Remember."""
        self.seen.append(("stepped", name, seconds))

    def failed(self, name: str, error: Exception, failures: int, retry: float) -> None:
        """Remember."""
        self.seen.append(("failed", name, str(error), failures, retry))

    def recovered(self, name: str, failures: int) -> None:
        """Remember."""
        self.seen.append(("recovered", name, failures))


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> log.Ring:
    """The lines logged during a test."""
    ring = log.Ring()
    monkeypatch.setattr(log, "_current", log.Log(level="debug", ring=ring))
    return ring


def play(duty: loops.Duty, sleeps: int) -> tuple[Turned, TurningWaker, Recorder]:
    """Run a duty for so many sleeps, in no time."""

    async def main() -> tuple[Turned, TurningWaker, Recorder]:
        clock, seen = Turned(), Recorder()
        with anyio.CancelScope() as scope:
            waker = TurningWaker(clock, scope, sleeps)
            await loops.repeat(duty, clock=clock, limiter=anyio.CapacityLimiter(1), waker=waker, observer=seen)
        return clock, waker, seen

    return anyio.run(main)


def test_the_loop_sleeps_until_the_time_the_step_named() -> None:
    """A time in the future is slept to, a past one means at once, None means until woken."""
    duty = Scripted(105.0, 90.0, None)
    _, waker, seen = play(duty, 3)

    assert duty.times == [100.0, 105.0, 105.0]
    assert waker.slept == [("sleep", 5.0), ("sleep", 0.0), ("sleep", None)]
    assert seen.seen == [("stepped", "scripted", 0.0)] * 3


def test_failures_are_retried_at_growing_intervals_that_a_wake_does_not_shorten(logged: log.Ring) -> None:
    """The wait doubles, is slept deaf to wakes, and begins anew after a success."""
    bad = OSError(28, "No space left on device")
    _, waker, seen = play(Scripted(bad, bad, bad, 1.0, bad), 5)

    assert waker.slept == [("rest", 1.0), ("rest", 2.0), ("rest", 4.0), ("sleep", 0.0), ("rest", 1.0)]
    assert ("recovered", "scripted", 3) in seen.seen
    assert seen.seen[-1] == ("failed", "scripted", str(bad), 1, 1.0)
    assert logged.lines()


def test_a_failure_is_logged_once_and_so_is_its_end(logged: log.Ring) -> None:
    """Three failures in a row and a success are two lines, the second with the number of failures."""
    bad = AgentError("the disk is full", path="/x", hint="make room")
    play(Scripted(bad, bad, bad, None), 4)

    first, last = logged.lines()
    assert "scripted failed" in first
    assert "the disk is full, path /x; make room" in first
    assert "Traceback" not in first
    assert "scripted works again" in last
    assert "failures=3" in last


def test_a_fault_of_ours_is_logged_with_its_traceback(logged: log.Ring) -> None:
    """An exception that no operator can act on says where in the program it arose."""
    play(Scripted(KeyError("lost")), 1)

    assert "Traceback" in logged.lines()[0]


def test_stopping_is_no_failure(logged: log.Ring) -> None:
    """A step that ends early because the agent stops leads to no line, no count and no retry."""
    _, waker, seen = play(Scripted(StoppingError("asked to stop")), 1)

    assert waker.slept == [("sleep", None)]
    assert seen.seen == []
    assert logged.lines() == []


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 1, 2, 3], [True, False, False, False]),
        ([0, 299, 300, 301, 600], [True, False, True, False, True]),
    ],
)
def test_failure_lines_are_rare(times: list[float], expected: list[bool]) -> None:
    """A lasting failure is told once in five minutes."""
    failures = loops.Failures()

    assert expected == [failures.failed(at)[1] for at in times]


def test_alternating_failures_and_successes_do_not_flood_the_log() -> None:
    """A flapping duty is logged no more often than a failing one; an end is told only where its failure was."""
    failures, said = loops.Failures(), list[bool]()
    for at in range(10):
        said += [failures.failed(at)[1], failures.succeeded()[1]]

    assert said == [True, True] + [False] * 18


def test_the_wait_is_capped_and_never_overflows() -> None:
    """Ten thousand failures later the wait is still the longest one."""
    failures = loops.Failures(first=0.5, longest=30.0)

    waits = [failures.failed(0.0)[0] for _ in range(10_000)]

    assert waits[:8] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert waits[-1] == 30.0
    assert failures.count == 10_000


def test_wakes_of_a_thread_end_the_sleep_and_coalesce() -> None:
    """Many wakes while the loop sleeps are one step; wakes during a step are one more."""

    async def main() -> int:
        waker, steps = loops.Waker(), 0
        first, done = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def step() -> None:
            nonlocal steps
            steps += 1
            loop.call_soon_threadsafe(first.set)
            if steps == 2:
                wake_often(waker)
            if steps == 3:
                loop.call_soon_threadsafe(done.set)

        async with anyio.create_task_group() as group:
            group.start_soon(run, Called(step), waker)
            await first.wait()
            await anyio.to_thread.run_sync(wake_often, waker)
            await done.wait()
            await anyio.sleep(0.02)
            group.cancel_scope.cancel()
        return steps

    assert anyio.run(main) == 3


def wake_often(waker: loops.Waker) -> None:
    """A hundred wakes in a row."""
    for _ in range(100):
        waker.wake()


async def run(duty: loops.Duty, waker: loops.Waker) -> None:
    """Repeat a duty with a clock that stands."""
    await loops.repeat(duty, clock=Turned(), limiter=anyio.CapacityLimiter(1), waker=waker, observer=Recorder())


def test_a_wake_before_the_sleep_is_not_lost() -> None:
    """Also one that came before there was an event loop."""

    async def main(waker: loops.Waker) -> None:
        await waker.sleep(LIMIT)
        waker.wake()
        await waker.sleep(None)

    waker = loops.Waker()
    waker.wake()
    anyio.run(main, waker)


def test_a_sleep_ends_by_its_time() -> None:
    """Without a wake the time alone ends it, and no timer stays behind."""

    async def main() -> bool:
        waker = loops.Waker()
        await waker.sleep(0.001)
        await waker.sleep(0)
        return waker._sleeper is None

    assert anyio.run(main)


def test_a_wake_during_a_rest_is_kept() -> None:
    """Backing off is not cut short, but the next sleep ends at once."""

    async def main() -> None:
        waker = loops.Waker()
        asyncio.get_running_loop().call_soon(waker.wake)
        await waker.rest(0.01)
        await waker.sleep(LIMIT)

    anyio.run(main)


def test_a_wake_after_the_loop_is_closed_does_nothing() -> None:
    """A watcher's thread may outlive the loop for a moment."""

    async def main(waker: loops.Waker) -> None:
        await waker.sleep(0.001)

    waker = loops.Waker()
    anyio.run(main, waker)

    waker.wake()

    assert waker._woken


def test_cancellation_waits_for_the_running_step() -> None:
    """A step that has begun is finished before the loop ends; none begins after."""
    entered, release = threading.Event(), threading.Event()
    finished = list[str]()

    def step() -> None:
        entered.set()
        assert release.wait(10)
        finished.append("step")

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(run, Called(step), loops.Waker())
            await anyio.to_thread.run_sync(entered.wait)
            group.cancel_scope.cancel()
            assert finished == []
            asyncio.get_running_loop().call_later(0.02, release.set)
        finished.append("loop")

    anyio.run(main)

    assert finished == ["step", "loop"]


def test_a_sleeping_loop_ends_at_once_when_cancelled() -> None:
    """Nothing needs to wake it for that."""

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(run, Called(lambda: None), loops.Waker())
            await anyio.sleep(0.01)
            group.cancel_scope.cancel()

    anyio.run(main)


def test_a_guarded_task_that_fails_is_logged_and_raised(logged: log.Ring) -> None:
    """The task group sees the failure, the log its traceback."""

    async def bad() -> None:
        raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        anyio.run(loops.guard, "web", bad)
    assert "web ended by a failure" in logged.lines()[0]
    assert "Traceback" in logged.lines()[0]


def test_a_guarded_task_that_returns_is_an_error(logged: log.Ring) -> None:
    """A loop that ends quietly would leave the agent doing half its work."""

    async def good() -> None:
        await anyio.lowlevel.checkpoint()

    with pytest.raises(AgentError, match="the task web ended"):
        anyio.run(loops.guard, "web", good)
    assert "web ended although it must not" in logged.lines()[0]


def test_a_guarded_task_may_be_cancelled(logged: log.Ring) -> None:
    """Stopping is how it is meant to end."""

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(loops.guard, "web", anyio.sleep_forever)
            await anyio.sleep(0.01)
            group.cancel_scope.cancel()

    anyio.run(main)

    assert logged.lines() == []


def test_the_heartbeat_measures_how_late_the_loop_is() -> None:
    """The lag is what a beat takes beyond its interval; the last beat is there for other threads."""
    clock, lags = Turned(), list[float]()
    late = iter([1.0, 1.25, 4.0])
    beat = loops.Heartbeat(clock, lags.append, every=0.0)

    async def main() -> None:
        with anyio.CancelScope() as scope:

            def lag(seconds: float) -> None:
                lags.append(seconds)
                if (step := next(late, None)) is None:
                    scope.cancel()
                clock.time += step or 0.0

            beat._lag = lag
            await beat.run()

    anyio.run(main)

    assert lags == [0.0, 1.0, 1.25, 4.0]
    assert beat.last == 106.25
