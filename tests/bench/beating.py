"""`python -m tests.bench.beating FILE run ...`: the agent, its heart beating 100 times a second, every beat noted.

The agent itself beats once a second: enough to see a loop that is stuck, too coarse for a p99 while 1 GiB is sealed,
which takes some seconds. Nothing else of it is different.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.kit.clock import Clock
    from agent.kit.loops import Heartbeat

EVERY = 0.01


def _quick(file: int, clock: Clock, lag: Callable[[float], None]) -> Heartbeat:
    """A heartbeat that tells of each beat twice: as the agent's own does, and as a line `WHEN LAG` of a file."""
    from agent.kit.loops import Heartbeat

    def noted(seconds: float) -> None:
        lag(seconds)
        os.write(file, b"%.6f %.6f\n" % (time.monotonic(), seconds))

    return Heartbeat(clock, noted, every=EVERY)


def main() -> int:
    """Be the agent."""
    from agent import cli
    from agent.app import wiring

    file = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    wiring.Heartbeat = partial(_quick, file)  # type: ignore[misc,assignment]  # it is made there, by this name
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
