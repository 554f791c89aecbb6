"""A file to which many processes append whole lines, and which somebody else reads, empties or renames meanwhile.

Invariants, on a local file system:

- `append` returned: the line is in the file once and whole, and outlives the process, also by SIGKILL. After `sync`, or
  after `sync_every` seconds, it outlives the machine's power too.
- A line never shares its place with another: each is written under the file's lock, behind a line end. What a process
  left torn because it died in the middle is ended first, so it spoils no line but itself.
- `append` raised: nothing of the line is left, as far as the file could still be changed.

Nothing here waits longer than `PATIENCE`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from agent.kit import disk

Result = TypeVar("Result")

PATIENCE = 5.0
"""Seconds to wait for another process's lock, or for the agent's lease on the file."""
_LONGEST_NAP = 0.02
_SAME = 3
"""Tries to open a file that is renamed or deleted each time meanwhile."""


class LineFile:
    """The file `name` in `directory`, which is made where it is missing. For many threads, processes and forks.

    `mode` are the permissions of a new file, less the umask; the agent must be able to write to it. `sync_every` is
    the longest time in seconds until a line is synced, 0 syncs each. Raises OSError where the directory cannot be had.
    """

    def __init__(self, directory: str, name: str, *, mode: int = 0o660, sync_every: float = 1.0) -> None:
        self._place = os.path.abspath(directory)  # a process may change its own directory later
        self.path = os.path.join(self._place, name)
        self._directory: disk.Directory | None = disk.Directory.make(self._place)
        self._name = name
        self._mode = mode
        self._every = sync_every
        self._fd = -1
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._dirty = False
        self._failed: OSError | None = None
        in_children(self._after_fork)

    def __repr__(self) -> str:
        return f"<LineFile {self.path}>"

    def append(self, line: bytes) -> None:
        """Write one line, which ends in a line feed. Raises OSError when it could not be written."""
        with self._lock, self._exclusive() as fd:
            disk.end_line(fd)
            try:
                disk.write_all(fd, line)
            except OSError:
                _take_back(fd)
                raise
            self._dirty = True
            self._sync_in_time()

    def sync(self) -> None:
        """Make durable what was appended. Raises OSError, also for a sync in time that failed: all is unknown then."""
        with self._lock:
            # The kernel tells of a failed write-back once and forgets the pages (attack H8): we don't.
            failed, self._failed = self._failed, None
            self._sync()
            if failed:
                raise failed

    def close(self) -> None:
        """Sync and close; a later append opens the file again. Raises OSError as `sync`."""
        with self._lock:
            try:
                self._sync()
            finally:
                self._let_go()
            if self._failed:
                raise self._failed

    # -- the file

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[int]:
        """The descriptor of the file that has the name now, locked."""
        for _ in range(_SAME):
            try:
                fd = self._fd = self._fd if self._fd >= 0 else self._open()
            except FileNotFoundError:  # the directory that we had open was deleted
                self._let_go()
                continue
            _patiently(partial(fcntl.flock, fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
            try:
                if self._is_ours(fd):
                    yield fd
                    return
            finally:
                fcntl.flock(fd, fcntl.LOCK_UN)
            # It, or its directory, was renamed or deleted: what comes now belongs into the next one.
            self._sync_quietly()
            self._let_go()
        raise OSError(errno.ESTALE, "the file is replaced again and again", self.path)

    def _open(self) -> int:
        if self._directory is None:
            self._directory = disk.Directory.make(self._place)
        return _patiently(partial(self._directory.open_append, self._name, self._mode))

    def _is_ours(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.lstat(self.path), os.fstat(fd))
        except FileNotFoundError:
            return False

    def _let_go(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    # -- syncing

    def _sync_in_time(self) -> None:
        if self._timer is not None:
            return
        if self._every <= 0:
            self._sync()
            return
        self._timer = threading.Timer(self._every, self._on_time)
        self._timer.daemon = True
        try:
            self._timer.start()
        except RuntimeError:  # no thread can be had, as when the interpreter ends
            self._timer = None
            self._sync()

    def _on_time(self) -> None:
        with self._lock:
            self._timer = None
            self._sync_quietly()

    def _sync_quietly(self) -> None:
        try:
            self._sync()
        except OSError as error:
            self._failed = error

    def _sync(self) -> None:
        if self._dirty and self._fd >= 0:
            self._dirty = False
            disk.sync_file(self._fd)

    def _after_fork(self) -> None:
        """Begin anew: the parent's descriptor shares its file lock, and the parent's threads are not here."""
        self._lock = threading.Lock()
        self._timer = None
        self._dirty = False
        self._failed = None
        self._let_go()


def in_children(method: Callable[[], None]) -> None:
    """Call a method in every child forked from now on, while its object lives."""
    weak = weakref.WeakMethod(method)

    def call() -> None:
        if living := weak():
            living()

    os.register_at_fork(after_in_child=call)


def _take_back(fd: int) -> None:
    """Remove the piece of a line that a full disk let through; where that fails, the next append ends it."""
    with contextlib.suppress(OSError):
        disk.truncate(fd, _last_line_end(fd))


def _last_line_end(fd: int) -> int:
    """Where the file's last whole line ends."""
    at = os.fstat(fd).st_size
    while at:
        start = max(0, at - (64 << 10))
        found = os.pread(fd, at - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        at = start
    return 0


def _patiently(act: Callable[[], Result]) -> Result:
    """`act`, again while another has the lock or the lease. Raises BlockingIOError in the end."""
    give_up = time.monotonic() + PATIENCE
    nap = 0.0005
    while True:
        try:
            return act()
        except BlockingIOError:
            if time.monotonic() >= give_up:
                raise
        time.sleep(nap)
        nap = min(nap * 2, _LONGEST_NAP)
