"""Time is injected, never read: the core asks a Clock, and a test can turn its hands."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Where the agent gets its time from."""

    def now(self) -> float:
        """Wall time in seconds since 1970-01-01 UTC. It may jump in either direction."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block this thread for about `seconds`."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Wall time in seconds since 1970-01-01 UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block this thread."""
        time.sleep(seconds)


def boot_id() -> str:
    """The kernel's id of this boot (random(4)); empty where /proc does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def booted_at() -> float:
    """Wall time at which the machine was started, by the clock that stamps files: seconds since 1970-01-01 UTC."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
