"""Priorities of single threads."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from agent.kit import linux
from agent.kit.priority import Priority, interrupt_nobody

Answer = TypeVar("Answer")


def in_thread(work: Callable[[], Answer]) -> Answer:
    """What `work` answers in a thread of its own, which is gone then."""
    found: list[Answer] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def niceness() -> int:
    """Of the calling thread."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_only_the_calling_thread_is_lowered() -> None:
    """The event loops keep their niceness."""
    before = niceness()
    priority = Priority(min(19, before + 3))

    assert min(19, before + 3) == in_thread(lambda: (priority.lower(), priority.lower(), niceness())[2])  # type: ignore[func-returns-value]
    assert before == niceness()
    assert "" == priority.problem


def test_priority_is_never_raised() -> None:
    """A process that was started with a higher niceness keeps it: an ordinary user could not go back."""
    high = Priority(min(19, niceness() + 5))
    low = Priority(1)

    assert in_thread(lambda: (high.lower(), low.lower(), niceness())[2]) >= high.nice  # type: ignore[func-returns-value]


@pytest.mark.parametrize(("name", "told"), [("best-effort", "best-effort: prio 7"), ("idle", "idle")])
def test_the_io_class_is_of_the_thread(name: str, told: str) -> None:
    """As the kernel says by ionice(1)."""
    priority = Priority(io=name)  # type: ignore[arg-type]  # the parameters are those

    def ask() -> str:
        priority.lower()
        command = ["ionice", "-p", str(threading.get_native_id())]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert told == in_thread(ask)
    assert "" == priority.problem


def test_nothing_is_asked_of_the_system_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox that forbids the calls has nothing to forbid."""
    monkeypatch.setattr(os, "setpriority", lambda *_: pytest.fail("was called"))
    monkeypatch.setattr(linux, "set_io_class", lambda *_: pytest.fail("was called"))

    Priority().lower()


def test_what_is_not_permitted_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work goes on; the problem is shown in /health."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(linux, "set_io_class", refuse)
    priority = Priority(io="idle")
    in_thread(priority.lower)

    assert "the system does not permit it: Operation not permitted" == priority.problem


@pytest.mark.parametrize(("before", "after"), [(os.SCHED_OTHER, os.SCHED_BATCH), (os.SCHED_IDLE, os.SCHED_IDLE)])
def test_a_thread_that_interrupted_others_does_not_any_more(before: int, after: int) -> None:
    """And what it starts inherits that; who was started with less than that keeps it."""

    def ask() -> tuple[int, int]:
        os.sched_setscheduler(0, before, os.sched_param(0))
        interrupt_nobody()
        return os.sched_getscheduler(0), in_thread(lambda: os.sched_getscheduler(0))

    own = os.sched_getscheduler(0)
    assert in_thread(ask) == (after, after)
    assert os.sched_getscheduler(0) == own


def test_where_scheduling_cannot_be_changed_all_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may forbid it, and some C libraries do not have it."""

    def refuse(_pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "sched_getscheduler", refuse)
    interrupt_nobody()
