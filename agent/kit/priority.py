"""Lower priority: of the whole process against whoever runs, and of the threads that do the heavy work.

Linux keeps niceness and I/O class for each thread (setpriority(2), ioprio_set(2)), so the event loops, which answer
probes and signals, stay as they are. Priority is only ever lowered, because an ordinary user cannot raise it again.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Literal

from agent.kit import linux

IoClass = Literal["", "best-effort", "idle"]


def interrupt_nobody() -> None:
    """Let no thread that this one starts from now on, nor itself, interrupt a running program when it wakes.

    SCHED_BATCH (sched(7)): it gets its share as before, but waits until who runs there sleeps or used its turn up. The
    agent wakes hundreds of times a second beside a busy writer, which was interrupted inside its writes for 0.6 ms at
    a time (measured). Where the system does not permit it, or was told otherwise before, nothing changes.
    """
    with suppress(OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


class Priority:
    """What working threads ask for."""

    def __init__(self, nice: int = 0, io: IoClass = "") -> None:
        self._done = threading.local()
        self.configure(nice, io)

    def configure(self, nice: int, io: IoClass) -> None:
        """`nice`: 0 (as the process) to 19. `io`: `best-effort` is its lowest level, empty is as the process."""
        self.nice = nice
        self.io: IoClass = io
        self.problem = ""
        """Why it could not be set; empty when it could, or was not tried yet."""

    def lower(self) -> None:
        """Lower the calling thread's priority; what is not permitted is left out, and `problem` says why.

        Called at the beginning of each piece of work: threads come from a pool that others use too.
        """
        if not (self.nice or self.io) or getattr(self._done, "yes", False):
            return
        self._done.yes = True
        try:
            thread = threading.get_native_id()
            if self.nice > os.getpriority(os.PRIO_PROCESS, thread):
                os.setpriority(os.PRIO_PROCESS, thread, self.nice)
            if self.io:
                linux.set_io_class(self.io)
        except OSError as error:
            self.problem = f"the system does not permit it: {error.strerror}"


WORK = Priority()
"""Of this process's working threads; until the agent configures it, it asks for nothing."""
