"""Every change that the agent makes on disk passes a gate: it is counted, and can be failed or be the last one.

A process that was killed changes nothing any more, whatever its `finally` blocks would have done. So in one process a
kill is: from the chosen event on, each change raises `Killed` and is not made. Half of a write may still happen.
Events are the named places of agent.kit.steps and the calls of agent.kit.disk, in the order in which they come.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from agent.kit import disk, steps
from agent.kit.disk import Directory

CALLS = ("write_all", "sync_file", "sync_filesystem", "truncate", "punch")
METHODS = ("create", "open_append", "publish", "displace", "replace", "move", "remove", "sync")
FREEING = ("punch", "truncate", "remove")


class Killed(BaseException):
    """The agent is dead; no handler of ordinary errors may catch it."""


@dataclass
class Gate:
    """Counts events; at the chosen one it kills, or fails with an errno."""

    kill_at: int = 0
    """Number of the event, from 1, that does not happen any more; 0: never."""
    fail_at: int = 0
    fail_for: int = 1
    """So many calls fail, from event `fail_at` on."""
    error: int = errno.ENOSPC
    only: Callable[[str], bool] = lambda _: True
    """Which calls may fail."""
    count: int = 0
    dead: bool = False
    last: str = ""
    """The event that killed or failed."""
    failed: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    tolerant: bool = False
    """True while the harness itself works on what a dead agent left."""
    room: int | None = None
    """Bytes that still fit on the disk; None: it is not full."""
    visit_at: int = 0
    """Number of the event at which `visitor` comes, once."""
    visitor: Callable[[str], None] | None = None
    """Acts at that event, and is told its name."""
    refused: Counter[str] = field(default_factory=Counter)
    """Calls that found no room."""

    def arm(self, *, kill_at: int = 0, fail_at: int = 0, error: int = errno.ENOSPC, fail_for: int = 1) -> None:
        """Choose what happens from the next event on."""
        self.count, self.dead, self.last, self.failed = 0, False, "", 0
        self.kill_at, self.fail_at, self.error, self.fail_for = kill_at, fail_at, error, fail_for

    def place(self, name: str) -> None:
        """A named place is reached."""
        self._event(name)

    def call(self, name: str) -> None:
        """A call is about to be made; raises OSError when it is to fail."""
        self._event(name)
        if self.fail_at and self.count >= self.fail_at and self.failed < self.fail_for and self.only(name):
            self.failed += 1
            self.last = self.last or name
            raise OSError(self.error, os.strerror(self.error), f"injected at {name}")

    def _event(self, name: str) -> None:
        if self.tolerant:
            return
        if self.dead:
            raise Killed(name)
        self.count += 1
        self.seen[name] += 1
        if self.visitor and self.count == self.visit_at:
            visitor, self.visitor = self.visitor, None
            visitor(name)
        if self.kill_at and self.count >= self.kill_at:
            self.dead, self.last = True, name
            raise Killed(name)

    def take(self, size: int) -> int:
        """How many of `size` bytes fit; they are taken."""
        if self.room is None:
            return size
        fits = min(size, self.room)
        self.room -= fits
        return fits

    def full(self, name: str) -> OSError:
        """What a call says that finds no room."""
        self.refused[name] += 1
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"injected at {name}")


def _guarded(gate: Gate, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(*args: Any, **kwargs: Any) -> Any:
        gate.call(name)
        if gate.room is None or name not in FREEING:
            return real(*args, **kwargs)
        before = _blocks(*args)
        found = real(*args, **kwargs)
        gate.room += max(0, before - _blocks(*args))
        return found

    return guarded


def _blocks(where: int | Directory, what: object = None, *_: object) -> int:
    """Bytes that a file takes: an open one's, or those of a name in a directory."""
    try:
        info = os.fstat(where) if isinstance(where, int) else where.stat(str(what))
    except FileNotFoundError:
        return 0
    return info.st_blocks * 512


def _allocated(gate: Gate, real: Callable[[int, int], None]) -> Callable[[int, int], None]:
    def allocate(fd: int, length: int) -> None:
        if gate.room is not None and length > gate.room:
            raise gate.full("allocate")
        gate.take(length)
        real(fd, length)

    return allocate


def _torn(gate: Gate, real: Callable[..., int]) -> Callable[..., int]:
    """A write that is killed, or fails for want of space, may have happened by half."""

    def write_all(fd: int, *pieces: bytes) -> int:
        was_dead = gate.dead
        try:
            gate.call("write_all")
        except (Killed, OSError):
            whole = b"".join(map(bytes, pieces))
            if not was_dead:
                real(fd, whole[: len(whole) // 2])
            raise
        size = sum(map(len, pieces))
        fits = gate.take(size)
        if fits < size:
            real(fd, b"".join(map(bytes, pieces))[:fits])
            raise gate.full("write_all")
        return real(fd, *pieces)

    return write_all


@contextmanager
def gated(gate: Gate) -> Iterator[Gate]:
    """Have every place and every change pass `gate`."""
    saved: list[tuple[Any, str, Any]] = []
    for owner, names in ((disk, CALLS), (Directory, METHODS)):
        for name in names:
            real = getattr(owner, name)
            saved.append((owner, name, real))
            setattr(owner, name, _torn(gate, real) if name == "write_all" else _guarded(gate, name, real))
    saved.append((disk, "allocate", disk.allocate))
    setattr(disk, "allocate", _allocated(gate, disk.allocate))  # noqa: B010 - as above
    steps.watch(gate.place)
    try:
        yield gate
    finally:
        steps.watch(None)
        for owner, name, real in saved:
            setattr(owner, name, real)
