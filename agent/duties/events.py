"""Events of directories: the daemon thread that waits for them and gathers them, and where they work at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Protocol, TypeAlias

from agent.kit import linux
from agent.kit.inotify import Changes

GATHER = 0.1
"""Seconds for which events gather after the first before they are handed on; nothing waits for them meanwhile."""

Identity: TypeAlias = tuple[int, int, int | None] | None
"""Device, inode and birth time of a directory (a number is given to the next one at once); None: there is none."""


class Notify(Protocol):
    """What is used of `kit.inotify`."""

    def wait(self) -> None:
        """Wait until something changed, or for its end."""
        ...

    def end(self) -> None:
        """End the waiting, also all to come; from any thread."""
        ...

    def read(self) -> Changes:
        """What changed since it was read last; does not wait. Raises OSError."""
        ...

    def close(self) -> None:
        """End the instance."""
        ...


class Watch:
    """An armed instance: `found` gets its changes and `failed` its end, unless it was asked to stop."""

    def __init__(
        self, notify: Notify, found: Callable[[Changes], None], failed: Callable[[Watch, Exception], None]
    ) -> None:
        self._notify = notify
        self._found = found
        self._failed = failed
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Ask the thread to hand on what is there and to end; does not wait."""
        self._stop.set()
        self._notify.end()

    def _run(self) -> None:
        try:
            stopped = False
            while not stopped:
                self._notify.wait()
                stopped = self._stop.wait(GATHER)
                if changes := self._notify.read():
                    self._found(changes)
        except Exception as error:  # noqa: BLE001 - whatever ends a watch, its owner must go on without it
            if not self._stop.is_set():
                self._failed(self, error)
        finally:
            self._notify.close()


def examine(path: str) -> tuple[Identity, str]:
    """The identity of the directory at `path`, and why events don't work there (empty when they do)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return None, f"the directory cannot be opened: {error.strerror}"
    try:
        info = os.fstat(fd)
        birth, kind = linux.birth_time(fd), linux.filesystem(fd)
    finally:
        os.close(fd)
    identity = (info.st_dev, info.st_ino, birth)
    return identity, "" if kind in linux.LOCAL else f"on {kind} not every write makes an event"
