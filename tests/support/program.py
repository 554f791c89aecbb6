"""The agent as its user meets it: a process with a command line, signals, an exit status and a web address.

Nothing of agent/ is imported; any program that takes the same command line can be put in its place.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

AGENT = (sys.executable, "-m", "agent", "run")
REFERENCE = (sys.executable, "-m", "tests.torture.reference")
ROOT = Path(__file__).resolve().parents[2]

KEEP_ALL = {
    "retention.keep": "1000000",
    "retention.max_age": "3650d",
    "retention.max_total": "100TB",
    "files.critical_total": "100TB",
}
"""Settings with which retention deletes nothing, so that a judge sees every record."""


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    status: int
    """Exit status; negative: the signal that ended it."""
    cpu: float
    """User and system seconds of the process and of every child it waited for."""
    output: str


class Program:
    """A running agent. As a context it is ended by SIGTERM, or killed when that does not help."""

    def __init__(self, command: Sequence[str], directory: Path, settings: Mapping[str, str]) -> None:
        self.port = free_port()
        given = {"web.listen": f"127.0.0.1:{self.port}", **settings}
        line = [*command, str(directory)]
        for key, value in given.items():
            line += ["--set", f"{key}={value}"]
        self.begun = time.monotonic()
        self.process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.pid = self.process.pid
        self._output: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.ended: Ended | None = None

    def _read(self) -> None:
        """Take what it prints, so that a full pipe never blocks it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._output.append(line)

    def output(self) -> str:
        """What it printed so far, the last 8,000 characters."""
        return b"".join(self._output).decode("utf-8", "replace")[-8000:]

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a GET on its own address; status 0 while nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8")
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def wait_ready(self, limit: float = 30) -> float:
        """Wait until /readyz says 200; seconds since the process was started."""
        while self.get("/readyz")[0] != 200:
            self.check_alive()
            if time.monotonic() - self.begun > limit:
                raise TimeoutError(f"not ready after {limit} s:\n{self.output()}")
            time.sleep(0.005)
        return time.monotonic() - self.begun

    def check_alive(self) -> None:
        """RuntimeError with its output when it ended by itself."""
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            raise RuntimeError(f"it ended by itself:\n{self.output()}")

    def stop(self, number: int = signal.SIGTERM, limit: float = 30) -> Ended:
        """Send a signal and wait for the end; killed, with status -9, when that takes more than `limit` seconds."""
        if self.ended is None:
            os.kill(self.pid, number)
            killer = threading.Timer(limit, os.kill, (self.pid, signal.SIGKILL))
            killer.start()
            self.ended = self._wait()
            killer.cancel()
        return self.ended

    def _wait(self) -> Ended:
        _, status, usage = os.wait4(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self.process.returncode = code
        self._reader.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return Ended(code, usage.ru_utime + usage.ru_stime, self.output())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def free_port() -> int:
    """A TCP port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
