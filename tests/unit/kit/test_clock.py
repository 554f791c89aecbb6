"""The machine's clocks, and the one that tests turn."""

from __future__ import annotations

import time

from agent.kit.clock import SystemClock, boot_id
from tests.support.clock import ManualClock


def test_the_system_clock_is_the_machines() -> None:
    """Wall time lies between two readings of it; monotonic time too."""
    clock = SystemClock()
    wall, steady = time.time(), time.monotonic()
    read = (clock.now(), clock.monotonic())
    clock.sleep(0)

    assert wall <= read[0] <= time.time()
    assert steady <= read[1] <= time.monotonic()


def test_a_boot_has_an_id() -> None:
    """The same within one boot."""
    assert 36 == len(boot_id())
    assert boot_id() == boot_id()


def test_a_manual_clocks_hands() -> None:
    """Time passes on both; a jump moves the wall clock alone."""
    clock = ManualClock(100.0, 10.0)
    clock.advance(5)
    clock.jump(-50)
    clock.sleep(1)

    assert (56.0, 16.0) == (clock.now(), clock.monotonic())
