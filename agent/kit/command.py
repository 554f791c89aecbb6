"""Running somebody's command: an argv list, never a shell, bounded in time and output, killed as a group.

The command gets a clean environment, no descriptors of ours, no terminal, default signals, and a session of its own,
so whatever it starts ends with it.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from agent.kit.clock import Clock

OUTPUT = 64 << 10
"""Bytes of output that are kept; the rest is read and dropped, so that the command never blocks on it."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended. `status` is its exit status, negative for a signal, None when it could not be started."""

    status: int | None
    output: str
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """True when it exited with 0 in time."""
        return self.status == 0 and not self.timed_out

    def __str__(self) -> str:
        last = self.output.strip().splitlines()[-1:] or [""]
        if self.timed_out:
            return "killed at its time limit"
        if self.status is None:
            return f"could not be started: {last[0]}"
        how = f"killed by signal {-self.status}" if self.status < 0 else f"exit status {self.status}"
        return f"{how}: {last[0]}" if last[0] else how


def run(argv: Sequence[str], *, timeout: float, clock: Clock, environ: Mapping[str, str] | None = None) -> Finished:
    """Run a command for at most `timeout` seconds; never raises for what the command does."""
    given = {"PATH": PATH, "LANG": "C.UTF-8", **(environ or {})}
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=given,
            cwd="/",
            close_fds=True,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return Finished(None, str(error))
    try:
        output, late = _listen(process, clock.monotonic() + timeout, clock)
    finally:
        _end(process)
    return Finished(process.returncode, output.decode("utf-8", "replace"), late)


def _listen(process: subprocess.Popen[bytes], deadline: float, clock: Clock) -> tuple[bytes, bool]:
    """Read until the command ended, or its time is over."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    fd = process.stdout.fileno()
    kept = b""
    while True:
        left = deadline - clock.monotonic()
        if left <= 0:
            return kept, process.poll() is None
        ready, _, _ = select.select([fd], [], [], min(left, 0.2))
        if ready:
            piece = os.read(fd, 1 << 16)
            kept = (kept + piece)[:OUTPUT]
            if not piece:
                break
        elif process.poll() is not None:
            return kept, False  # something it left behind holds the pipe
    try:
        process.wait(max(0.0, deadline - clock.monotonic()))
    except subprocess.TimeoutExpired:
        return kept, True
    return kept, False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the whole group, then reap."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()
