"""A control group with a memory limit, to run a program in: version 1 or 2, whichever has the controller here."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Group:
    """The group's directory and what it tells."""

    path: Path
    version: int

    def enter(self) -> tuple[str, ...]:
        """The beginning of a command line that runs the rest of it in the group."""
        return ("sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.path))

    def kills(self) -> int:
        """Processes that were killed for want of memory."""
        return self._keyed("memory.oom_control" if self.version == 1 else "memory.events")["oom_kill"]

    def used(self) -> int:
        """Bytes that the kernel cannot take back: anonymous memory."""
        stat = self._keyed("memory.stat")
        return stat["total_rss"] if self.version == 1 else stat["anon"]

    def _keyed(self, name: str) -> dict[str, int]:
        lines = (self.path / name).read_text("ascii").splitlines()
        return {key: int(value) for key, value in (line.split() for line in lines)}


@contextlib.contextmanager
def limited(size: int) -> Iterator[Group]:
    """A group of its own whose members have `size` bytes together; skips the test where none can be made."""
    group = _make(f"telemetry-agent-test-{os.getpid()}-{time.monotonic_ns()}")
    try:
        name = "memory.limit_in_bytes" if group.version == 1 else "memory.max"
        (group.path / name).write_text(str(size), "ascii")
        yield group
    finally:
        _remove(group.path)


def _make(name: str) -> Group:
    for home, version, probe in ((V1, 1, "memory.limit_in_bytes"), (V2, 2, "memory.max")):
        path = home / name
        try:
            path.mkdir()
        except OSError:
            continue
        if (path / probe).exists():
            return Group(path, version)
        path.rmdir()
    pytest.skip("needs root and a memory controller of control groups that may be used")


def _remove(path: Path) -> None:
    """The kernel lets a group go some moments after its last process."""
    until = time.monotonic() + 10
    while True:
        try:
            path.rmdir()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
            continue
        return
