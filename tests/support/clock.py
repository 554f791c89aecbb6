"""A clock with two hands: wall time, which a test may turn either way, and monotonic time, which only goes on."""

from __future__ import annotations


class ManualClock:
    """Stands still until somebody advances it."""

    def __init__(self, wall: float = 1_700_000_000.0, monotonic: float = 1_000.0) -> None:
        self.wall = wall
        self.steady = monotonic

    def now(self) -> float:
        """Wall time."""
        return self.wall

    def monotonic(self) -> float:
        """Monotonic time."""
        return self.steady

    def sleep(self, seconds: float) -> None:
        """Turn both hands instead of waiting."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.wall += seconds
        self.steady += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock, as NTP or a person does; no time passes."""
        self.wall += seconds
