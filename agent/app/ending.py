"""How the process ends: in time, whatever hangs; or by beginning anew in place."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import NoReturn

from agent.kit import log

_log = log.get("agent")


class Ending:
    """The end of the process, which no call that hangs in a worker thread (a dead mount) may hold."""

    def __init__(self) -> None:
        self.anew = False
        """True when another directory stands at the watched path: the process ends and begins again in place."""

    def start_anew(self) -> None:
        """Take up the directory that stands at the path now: everything open is of the old one, the socket too."""
        if not self.anew:
            self.anew = True
            _log.warning("another directory stands where the watched one was; the agent starts anew to watch it")
            os.kill(os.getpid(), signal.SIGTERM)

    def within(self, seconds: float) -> None:
        """Whatever still runs then is left behind: every step may be cut off anywhere."""

        def leave() -> None:
            _log.error("a step does not end; leaving without it, the next start finds everything again")
            self.now()

        timer = threading.Timer(seconds, leave)
        timer.daemon = True
        timer.start()

    def now(self) -> NoReturn:
        """End the process, or begin it anew."""
        sys.stdout.flush()
        sys.stderr.flush()
        if self.anew:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the same program once more
        os._exit(0)
