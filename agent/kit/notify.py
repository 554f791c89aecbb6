"""What the service manager is told: sd_notify(3), a datagram of assignments to $NOTIFY_SOCKET.

Invariants: nothing here waits or raises, a manager that does not listen never holds the agent up; without a socket
every call does nothing. READY=1 is sent once; a reload is told of only after it. The watchdog is fed by a task of the
main loop, so a loop that is stuck starves it and the manager restarts the agent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

import anyio

from agent.kit.clock import Clock

_PERIOD = 5.0
"""Seconds between two requests for more time while the agent starts."""
_PATIENCE = 30.0
"""Seconds that each of them asks for."""


class Notifier:
    """Tells the service manager. Any thread may call it."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._clock = clock
        self.is_ready = False
        self.interval = _interval(environ)
        """Seconds between two signs of life; None when there is no watchdog."""

    @property
    def listens(self) -> bool:
        """True when there is somebody to tell."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """The agent does its work; told once."""
        if not self.is_ready:
            self.is_ready = True
            self._send("READY=1", _status(status))

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(_status(text))

    def reloading(self) -> None:
        """A reload begins; its time is CLOCK_MONOTONIC's, which Type=notify-reload compares with its own."""
        if self.is_ready:
            self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.monotonic() * 1e6)}")

    def reloaded(self) -> None:
        """The reload ended, well or not: the agent works on."""
        if self.is_ready:
            self._send("READY=1")

    def stopping(self, seconds: float) -> None:
        """The agent leaves, which may take so many seconds."""
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}", _status("stopping"))

    def extend(self, seconds: float) -> None:
        """What is under way needs so many seconds more."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    async def pulse(self) -> None:
        """Feed the watchdog in time, and ask for patience while the agent starts, until cancelled."""
        while True:
            if self.interval:
                self.alive()
            if not self.is_ready:
                self.extend(_PATIENCE)
            await anyio.sleep(self.interval or _PERIOD)

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(assignments).encode(), self._address)
        except OSError:  # nobody there, or its queue is full: the next one may get through
            return


def _address(text: str) -> str:
    """The socket's address: a path, or with `@` a name of the abstract namespace (unix(7)); anything else is none."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else ""


def _interval(environ: Mapping[str, str]) -> float | None:
    """Half of $WATCHDOG_USEC, where it is meant for this process (sd_watchdog_enabled(3))."""
    usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2e6


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())
