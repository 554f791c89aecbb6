"""Calls that may never come back."""

import subprocess
import sys
import threading
import time

import pytest

from agent.kit.quarantine import Answer, Hung, Quarantine
from tests.support.clock import ManualClock


@pytest.fixture
def hands() -> ManualClock:
    """A clock that stands still until it is turned."""
    return ManualClock()


def fail() -> int:
    """Raise."""
    raise OSError(5, "Input/output error")


def test_answers_and_errors_come_back_by_key(hands: ManualClock) -> None:
    """An error is an answer."""
    found = Quarantine[int](hands, 5).run({"a": lambda: 1, "b": fail})

    assert Answer(0.0, 1) == found["a"]
    assert isinstance(found["b"], Answer)
    assert str(found["b"].error) == "[Errno 5] Input/output error"


def test_a_hung_call_has_one_thread_and_does_not_hold_the_others_up(hands: ManualClock) -> None:
    """However often it is asked for."""
    gate = threading.Event()
    quarantine = Quarantine[object](hands, 0.05)
    before = set(threading.enumerate())
    try:
        for _ in range(100):
            found = quarantine.run({"slow": gate.wait, "fast": lambda: 2})

            assert isinstance(found["slow"], Hung)
            assert Answer(0.0, 2) == found["fast"]
        assert len(set(threading.enumerate()) - before) == 1
    finally:
        gate.set()


def test_a_call_that_came_back_late_rests_before_it_is_asked_again(hands: ManualClock) -> None:
    """A mount that is always slow costs one wait a minute, not one a pass; then it gets its chance."""
    gate, back = threading.Event(), threading.Event()
    quarantine = Quarantine[str](hands, 0.05, retry_after=60)

    def slow() -> str:
        gate.wait()
        back.set()
        return "late"

    quarantine.run({"a": slow})
    gate.set()
    back.wait()
    hands.sleep(59)
    resting = quarantine.run({"a": lambda: "new"})
    hands.sleep(1)
    while not isinstance(retried := quarantine.run({"a": lambda: "new"})["a"], Answer):
        time.sleep(0.001)  # the late call's thread is about to note its answer

    assert Hung(59.0) == resting["a"]
    assert retried.value == "new"


def test_time_alone_does_not_start_a_second_thread(hands: ManualClock) -> None:
    """While the first one hangs, a retry would hang as well and leak."""
    gate = threading.Event()
    quarantine = Quarantine[object](hands, 0.05)
    before = set(threading.enumerate())
    try:
        for _ in range(5):
            quarantine.run({"a": gate.wait})
            hands.sleep(3600)

        assert len(set(threading.enumerate()) - before) == 1
    finally:
        gate.set()


def test_a_key_that_is_gone_is_forgotten(hands: ManualClock) -> None:
    """A mount that was taken away and made again has a new key, and the old one leaves nothing behind."""
    gate = threading.Event()
    quarantine = Quarantine[object](hands, 0.05)
    try:
        quarantine.run({"old": gate.wait})
        found = quarantine.run({"new": lambda: 3})

        assert {"new": Answer(0.0, 3)} == found
        assert quarantine._held == {}
    finally:
        gate.set()


def test_a_call_that_hangs_in_the_kernel_does_not_keep_the_process() -> None:
    """The program ends although a read of a silent pipe never returns."""
    program = (
        "import os\n"
        "from agent.kit.clock import SystemClock\n"
        "from agent.kit.quarantine import Quarantine\n"
        "read, write = os.pipe()\n"
        "print(Quarantine(SystemClock(), 0.05).run({'a': lambda: os.read(read, 1)}))\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)

    assert "Hung" in done.stdout
