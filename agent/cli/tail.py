"""Following the audit trail while the agent writes, renames and replaces its file.

The file is renamed when it is full. A file that has a successor is complete, so it is read to its end once more
after the successor was seen and only then left: no entry is missed and none is told twice.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from agent.audit import NAME
from agent.kit.disk import Directory

_OLDER = f"{NAME}.1"
_POLL = 0.5  # seconds between two looks
_READ = 1 << 20


def wait() -> None:
    """Pass the time between two looks."""
    time.sleep(_POLL)


def tail(state: Directory, wait: Callable[[], None]) -> Iterator[dict[str, Any]]:
    """Every entry on disk, oldest first, and then each new one, for ever; `wait` is called when there is none."""
    fd, pending = -1, b""
    try:
        while True:
            successor = _successor(state, fd)
            while fd >= 0 and (data := os.read(fd, _READ)):
                *lines, pending = (pending + data).split(b"\n")
                yield from _entries(lines)
            if successor is None:
                wait()
                continue
            newer = state.open_read(successor)
            if fd >= 0:
                os.close(fd)
            fd, pending = newer, b""
    finally:
        if fd >= 0:
            os.close(fd)


def _successor(state: Directory, fd: int) -> str | None:
    """The name of the file that goes on where `fd` ends; the oldest one for no file, None where `fd` is the newest."""
    older, newest = _inode(state, _OLDER), _inode(state, NAME)
    mine = os.fstat(fd).st_ino if fd >= 0 else None
    if newest is None or mine == newest:
        return None
    return NAME if older in (None, mine) else _OLDER


def _inode(state: Directory, name: str) -> int | None:
    try:
        return state.stat(name).st_ino
    except FileNotFoundError:
        return None


def _entries(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue  # a line that a crash cut short
        if isinstance(entry, dict):
            yield entry
