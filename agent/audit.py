"""The audit trail: one JSON line for each thing the agent did to data, or saw happen to it.

The file is bounded: at `limit` bytes it becomes `audit.jsonl.1`, and the one before that is removed. A trail that
cannot be written never stops the work it tells of; what could not be written is counted and the last entries stay
in memory for the status page.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from agent.kit import disk
from agent.kit.clock import Clock
from agent.kit.disk import Directory

Event = Literal[
    "start", "stop", "seal", "release", "reset", "retire", "loss", "gap", "quarantine", "refuse", "accept",
    "reload", "recover", "incarnation", "stream", "error", "recovered", "hook", "command", "tomb", "check", "alert",
    "ballast",
]  # fmt: skip

NAME = "audit.jsonl"


class Audit:
    """Appends entries to `audit.jsonl` in the state directory. Any thread may write."""

    def __init__(self, directory: Directory | None, clock: Clock, *, limit: int = 8_000_000, keep: int = 200) -> None:
        self._directory = directory
        self._clock = clock
        self._limit = limit
        self._fd = -1
        self._size = 0
        self._lock = threading.Lock()
        self.recent: deque[dict[str, Any]] = deque(maxlen=keep)
        self.unwritten = 0

    def write(self, event: Event, *, stream: str = "", reason: str = "", **details: Any) -> None:
        """Record `event`. Details are JSON values: positions and bytes as integers, digests as hexadecimal."""
        entry: dict[str, Any] = {"time": round(self._clock.now(), 3), "event": event}
        if stream:
            entry["stream"] = stream
        if reason:
            entry["reason"] = reason
        entry.update(details)
        line = _line(entry)
        with self._lock:
            self.recent.append(entry)
            try:
                self._append(line)
            except OSError:
                self.unwritten += 1
                self.close()

    def newest(self, most: int) -> Sequence[Mapping[str, Any]]:
        """The last entries of this run, newest first, at most so many."""
        with self._lock:
            return list(self.recent)[: -most - 1 : -1]

    def _append(self, line: bytes) -> None:
        if self._directory is None:
            return
        if self._fd < 0:
            self._fd = self._directory.open_append(NAME)
            self._size = disk.end_line(self._fd)
        if self._size + len(line) > self._limit:
            self.close()
            self._directory.replace(NAME, f"{NAME}.1")
            self._fd = self._directory.open_append(NAME)
            self._size = 0
        self._size += disk.write_all(self._fd, line)

    def close(self) -> None:
        """Close the file; the next entry opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _line(entry: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(entry) + b"\n"
    except UnicodeEncodeError:
        # A name that is no UTF-8 travels as escaped lone surrogates.
        return (json.dumps(entry, separators=(",", ":")) + "\n").encode("ascii")


def read(directory: Directory) -> Iterator[dict[str, Any]]:
    """The entries on disk, oldest first; a line that a crash cut short is skipped."""
    for name in (f"{NAME}.1", NAME):
        try:
            fd = directory.open_read(name)
        except FileNotFoundError:
            continue
        with os.fdopen(fd, "rb") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(entry, dict):
                    yield entry
