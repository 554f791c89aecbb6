"""The board runs checks side by side, and a hung one costs one thread."""

import threading
from collections.abc import Callable

import pytest

from agent.config import Health
from agent.config.checks import Check, Clock, Loop
from agent.control import CheckStatus
from agent.health.board import Board, Transition, overall
from agent.health.build import Made
from agent.health.check import Finding, Level, healthy, unhealthy
from agent.kit.errors import AgentError
from agent.kit.units import Duration
from tests.support.clock import ManualClock

HEALTH = Health(interval=Duration("30s"), timeout=Duration("5s"), cache_ttl=Duration("60s"))


class Fake:
    """A check that gives what the test says, or waits for a gate."""

    def __init__(self, *findings: Finding | Exception) -> None:
        self.findings = list(findings) or [healthy("fine")]
        self.gate = threading.Event()
        self.gate.set()
        self.runs = 0

    def run(self) -> Finding:
        """The next finding; the last one again and again."""
        self.gate.wait(60)
        found = self.findings[min(self.runs, len(self.findings) - 1)]
        self.runs += 1
        if isinstance(found, Exception):
            raise found
        return found


def rule(name: str, **keys: object) -> Check:
    """A rule of some kind; what it does is the fake's business."""
    return Clock(kind="clock", name=name, **{"for_": 1, **keys})  # type: ignore[arg-type]


class Bench:
    """A board over fakes, whose time the test turns."""

    def __init__(self, **checks: Fake) -> None:
        self.clock = ManualClock()
        self.woken = threading.Semaphore(0)
        self.changes: list[Transition] = []
        self.checks = checks
        self.board = self.make([Made(rule(name), check) for name, check in checks.items()])

    def make(self, made: list[Made]) -> Board:
        """A board that tells this bench."""
        return Board(made, HEALTH, self.clock, wake=self.woken.release, changed=self.changes.append)

    def turn(self, seconds: float, answers: int) -> float | None:
        """Let time pass, step, wait until that many checks came back, step again: the next time it wants."""
        self.clock.sleep(seconds)
        self.board.step(self.clock.steady)
        for _ in range(answers):
            assert self.woken.acquire(timeout=10)
        return self.board.step(self.clock.steady)

    def status(self, name: str) -> CheckStatus:
        """One check now."""
        return next(one for one in self.board.view() if one.name == name)


def test_results_are_shown_with_their_numbers() -> None:
    """State, message, counts, times; the next step is due with the next run."""
    bench = Bench(a=Fake(unhealthy("it burns", hint="water", value=3)))
    assert ("unknown", 0, "not run yet") == (bench.status("a").state, bench.status("a").runs, bench.status("a").message)

    assert bench.clock.steady + 30 == bench.turn(0, 1)

    one = bench.status("a")
    assert ("unhealthy", 3, "it burns", "water", 3.0) == (one.state, one.level, one.message, one.hint, one.value)
    assert (1, 1, 0, 0, bench.clock.wall, None) == (
        one.runs, one.failures, one.timeouts, one.transitions, one.last_run, one.last_success,
    )  # fmt: skip


def test_a_hung_check_times_out_and_others_keep_their_cadence() -> None:
    """A hundred rounds: one thread more, each round counted as timed out, the other check run each time."""
    slow, fast = Fake(), Fake()
    slow.gate.clear()
    bench = Bench(slow=slow, fast=fast)
    before = threading.active_count()
    try:
        bench.turn(0, 1)
        bench.turn(5, 0)
        assert ("unhealthy", 1, True) == (
            bench.status("slow").state, bench.status("slow").timeouts, bench.status("slow").hung,
        )  # fmt: skip
        for _ in range(100):
            bench.turn(30, 1)
        assert threading.active_count() - before <= 1
        assert (101, 101) == (fast.runs, bench.status("slow").timeouts)
    finally:
        slow.gate.set()
    assert bench.woken.acquire(timeout=10)
    bench.turn(30, 2)
    assert ("healthy", False) == (bench.status("slow").state, bench.status("slow").hung)


def test_an_answer_that_comes_too_late_is_not_a_result() -> None:
    """It was counted as timed out."""
    slow = Fake()
    slow.gate.clear()
    bench = Bench(slow=slow)
    bench.board.step(bench.clock.steady)
    bench.clock.sleep(5)
    bench.board.step(bench.clock.steady)
    slow.gate.set()
    assert bench.woken.acquire(timeout=10)
    bench.board.step(bench.clock.steady)

    assert ("unhealthy", 1) == (bench.status("slow").state, bench.status("slow").runs)


@pytest.mark.parametrize(
    ("error", "message"),
    [(AgentError("no such thing", path="/x"), "no such thing, path /x"), (ValueError("oops"), "ValueError('oops')")],
)
def test_a_check_that_raises_found_nothing_out(error: Exception, message: str) -> None:
    """It is unknown, says why, and counts as failed."""
    bench = Bench(a=Fake(error))
    bench.turn(0, 1)

    one = bench.status("a")
    assert ("unknown", 1) == (one.state, one.failures)
    assert message in one.message


def test_an_old_result_is_unknown() -> None:
    """Older than cache_ttl, or where the interval is long, than two intervals and the timeout."""
    bench = Bench(a=Fake())
    bench.turn(0, 1)
    bench.clock.sleep(65)
    assert "healthy" == bench.status("a").state
    bench.clock.sleep(1)

    assert ("unknown", 0) == (bench.status("a").state, bench.status("a").level)
    assert "66 s old" in bench.status("a").message


def test_changes_are_told_once() -> None:
    """The first result only when it is bad; a recovery once."""
    bench = Bench(a=Fake(healthy(""), unhealthy("x"), unhealthy("x"), healthy(""), healthy("")))
    for _ in range(5):
        bench.turn(30, 1)

    expected = [(Level.HEALTHY, Level.UNHEALTHY), (Level.UNHEALTHY, Level.HEALTHY)]
    assert expected == [(change.before, change.after) for change in bench.changes]
    assert 2 == bench.status("a").transitions


def test_severity_caps_the_state() -> None:
    """A check that may only warn never makes anything unhealthy."""
    bench = Bench()
    bench.board = bench.make([Made(rule("a", severity="warning"), Fake(unhealthy("x")))])
    bench.turn(0, 1)

    assert "warning" == bench.status("a").state


def test_damping_survives_a_reload() -> None:
    """Two bad results before it and one after it are three in a row; a check that is gone is gone."""
    bad = Fake(healthy(""), unhealthy("x"))
    bench = Bench(b=Fake())
    bench.board = bench.make([Made(rule("a", for_=3), bad), Made(rule("b"), Fake())])
    for _ in range(3):
        bench.turn(30, 2)
    assert "healthy" == bench.status("a").state

    other = Fake(unhealthy("x"))
    bench.board.configure([Made(rule("a", for_=3, recover=2), other)], HEALTH)
    assert bench.woken.acquire(timeout=10)
    bench.turn(30, 1)

    assert ("unhealthy", 4, 1) == (bench.status("a").state, bench.status("a").runs, other.runs)
    assert ["a"] == [one.name for one in bench.board.view()]


def test_an_unchanged_check_goes_on_as_the_same_object() -> None:
    """What it remembers, as times of the run before, survives; one of another kind begins anew."""
    old, new = Fake(), Fake()
    bench = Bench(a=old)
    bench.turn(0, 1)
    bench.board.configure([Made(rule("a"), new)], HEALTH)
    assert bench.woken.acquire(timeout=10)
    bench.turn(30, 1)
    assert (2, 0) == (old.runs, new.runs)

    bench.board.configure([Made(Loop(kind="loop", name="a"), new)], HEALTH)
    assert bench.woken.acquire(timeout=10)
    bench.turn(0, 1)
    assert (1, 1) == (new.runs, bench.status("a").runs)


def test_the_whole_is_as_bad_as_its_worst_part() -> None:
    """Unknown ones only count where there is nothing else; no checks are unknown too."""
    bench = Bench(a=Fake(), b=Fake(ValueError()))
    assert Level.UNKNOWN is overall(bench.board.view())
    bench.turn(0, 2)

    assert Level.HEALTHY is overall(bench.board.view())
    assert Level.UNKNOWN is overall([])


def test_no_checks_need_no_step() -> None:
    """It sleeps until it is woken."""
    step: Callable[[float], float | None] = Bench().board.step

    assert step(0.0) is None
