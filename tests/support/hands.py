"""A clock whose hands only the test moves."""


class HandClock:
    """Wall time and monotonic time are the same number of seconds."""

    def __init__(self, time: float = 1_000.0) -> None:
        self.time = time

    def now(self) -> float:
        """Wall time."""
        return self.time

    def monotonic(self) -> float:
        """The same."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Turn the hands instead of waiting."""
        self.time += seconds
