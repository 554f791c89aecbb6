"""Finds growth: events while a directory is quiet, a timer while a file in it is hot, listings as the safety net.

`Cadence` decides when to look at what; the watcher feeds it with events and hands its looks to the keeper.

Invariants: a watch is armed first and the directory swept after, so nothing between is missed. A watch that is
replaced is drained before it closes. Where events don't work (inotify's limits, network file systems, names that
are not UTF-8) the watcher polls, says why, and tries again later. No call here waits for an event.

The Rust half of watchfiles reads every event of its directories: beside a file that is written 155,000 times a second
that is a fifth of a core, hence no watch on a hot directory. One instance serves all directories, since the
kernel allows a user 128 of them; so leaving one directory out means a new instance, which is paced by its cost.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Literal

from agent.config import Files
from agent.control import WatcherStatus
from agent.duties.cadence import Cadence, Look
from agent.duties.events import Changes, Identity, Notify, Watch, examine, rust_notify
from agent.kit import log
from agent.kit.clock import Clock
from agent.kit.errors import printable

_log = log.get("watcher")

ARM_SHARE = 0.01
"""Part of a core that making new watches may cost."""
RETRY_FIRST = 30.0
RETRY_LONGEST = 600.0
GONE = 1.0
"""Seconds until the next try when a directory went while it was to be watched."""
_ADDED, _DELETED = 1, 3
_LIMITS = "; raise fs.inotify.max_user_instances and fs.inotify.max_user_watches (sysctl), or the limit of open files"


class Watcher:
    """Says when to look at what in the managed directories.

    `due`, `report` and `manage` belong to one thread at a time, the keeper's, and `close` to whoever ended the
    keeper; `status` may come from any. `wake` is called from another thread when looks have come due before
    `next_time`. `relevant` tells for a path below the root whether it can be a stream; it must be thread-safe.
    """

    def __init__(
        self,
        directories: Mapping[str, str],
        *,
        files: Files,
        clock: Clock,
        wake: Callable[[], None],
        relevant: Callable[[str], bool],
        notify: Callable[[list[str]], Notify] = rust_notify,
    ) -> None:
        self._clock = clock
        self._wake = wake
        self._relevant = relevant
        self._notify = notify
        self._recursive = files.recursive
        self._cadence = Cadence(files.scan_interval)
        self._lock = threading.Lock()
        self._closed = False
        self._paths: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._blind: dict[str, str] = {}
        self._identities: dict[str, Identity] = {}
        self._watch: Watch | None = None
        self._covered: frozenset[str] = frozenset()
        self._armable = float("-inf")
        self._died: tuple[Watch, Exception] | None = None
        self._gone: set[str] = set()
        self._trouble = ""
        self._failures = 0
        self._failed_at = float("-inf")
        self.manage(directories)

    # -- the keeper's thread

    def manage(self, directories: Mapping[str, str]) -> None:
        """Watch exactly these directories: path below the root ("" is the root itself) -> path in the file system."""
        paths = {name: os.path.abspath(path) for name, path in directories.items()}
        if paths == self._paths:
            return
        moved = {name for name in self._covered if paths.get(name) != self._paths.get(name)}
        with self._lock:
            self._paths = paths
            self._names = {path: name for name, path in paths.items()}
            self._blind = {name: why for name, why in self._blind.items() if name in paths}
            self._identities = {name: who for name, who in self._identities.items() if name in paths}
            self._cadence.manage(paths, self._clock.monotonic())
        self._uncover(moved)
        for name in paths:
            self._probe(name)

    def due(self, now: float) -> list[Look]:
        """The looks to take now; each is handed out once, and answered by `report` unless it fails."""
        if self._closed:
            return []
        self._mourn(now)
        self._arm(now)
        with self._lock:
            looks = self._cadence.due(now)
        for look in looks:
            if look.names is None:
                self._probe(look.directory)
        return looks

    def next_time(self, now: float) -> float | None:
        """When to ask `due` again unless woken before, in monotonic seconds; None: only when woken."""
        if self._closed:
            return None
        with self._lock:
            looks = self._cadence.next_time()
        times = [] if looks is None else [looks]
        if self._trouble and now < self._retry_at():
            times.append(self._retry_at())
        elif self._wanted(now) != self._covered:
            times.append(max(now, self._armable))
        return min(times, default=None)

    def report(
        self,
        look: Look,
        grew: Collection[str],
        seconds: float,
        now: float,
        soon: Mapping[str, float] | None = None,
    ) -> None:
        """Tell what a look found.

        `grew`: the names whose writer did something since the look before (growth, truncation, replacement; a name
        seen for the first time only when it appeared since then). `seconds`: what the looking took, sealing not
        counted; best by time.thread_time, so that a busy machine does not look like a slow listing. `soon`: for
        names that grew, in how many seconds each comes due by its size if it goes on growing; it is looked at
        then, but not before 5 ms have passed.
        """
        with self._lock:
            self._cadence.report(look, grew, seconds, now, soon)

    # -- any thread

    def status(self) -> WatcherStatus:
        """How growth is found now, and why."""
        with self._lock:
            blind = dict(self._blind)
            timed = self._cadence.timed
            rescans, directories = self._cadence.rescans, len(self._paths)
        why = self._trouble or "; ".join(f"{printable(name) or '.'}: {text}" for name, text in list(blind.items())[:3])
        if len(blind) > 3 and not self._trouble:
            why += f"; and {len(blind) - 3} more directories"
        mode: Literal["events", "timer", "polling", "stopped"] = "timer" if timed else "events"
        if self._closed:
            mode = "stopped"
        elif why:
            mode = "polling"
        return WatcherStatus(mode=mode, why=why, directories=directories, rescans=rescans)

    def close(self) -> None:
        """End the watching; waits about two steps for its thread, and never longer than a second."""
        self._closed = True
        watch, self._watch = self._watch, None
        if watch:
            watch.stop()
            watch.thread.join(timeout=1.0)

    # -- arming

    def _wanted(self, now: float) -> frozenset[str]:
        if self._trouble and now < self._retry_at():
            return frozenset()
        return self._cadence.quiet() - self._blind.keys()

    def _arm(self, now: float) -> None:
        """Make the watch that covers what it should, then end the old one, then let the new part be swept."""
        with self._lock:
            wanted = self._wanted(now)
        if wanted == self._covered or now < self._armable:
            return
        began = self._clock.monotonic()
        try:
            watch = self._open(wanted)
        except FileNotFoundError:
            self._armable = now + GONE
            for name in wanted:
                self._probe(name)
            return
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError is what watchfiles makes of most errors
            self._fail(error, now)
            return
        self._armable = now + (self._clock.monotonic() - began) / ARM_SHARE
        if self._watch:
            self._watch.stop()
        self._watch = watch
        self._set_covered(wanted, now)
        if self._trouble:
            self._trouble = ""
            _log.info("files are watched by events again", directories=len(wanted))

    def _open(self, wanted: frozenset[str]) -> Watch | None:
        if not wanted:
            return None
        notify = self._notify([self._paths[name] for name in sorted(wanted)])
        return Watch(notify, self._on_changes, self._on_death)

    def _set_covered(self, covered: frozenset[str], now: float) -> None:
        with self._lock:
            self._covered = covered
            self._cadence.cover(covered, now)

    def _uncover(self, names: Collection[str]) -> None:
        """The watch no longer sees these directories: another one is at their path, or none."""
        if names:
            self._set_covered(self._covered.difference(names), self._clock.monotonic())

    def _probe(self, name: str) -> None:
        """Find out whether events work for a directory, and whether it is still the one that is watched."""
        identity, blind = examine(self._paths[name])
        if identity != self._identities.get(name) or blind:
            self._uncover(self._covered & {name})
        self._identities[name] = identity
        if blind == self._blind.get(name, ""):
            return
        with self._lock:
            self._blind.pop(name, None)
            if blind:
                self._blind[name] = blind
        if blind:
            _log.warning("a directory is watched by polling", directory=self._paths[name], why=blind)
        else:
            _log.info("a directory is watched by events again", directory=self._paths[name])

    # -- trouble

    def _mourn(self, now: float) -> None:
        """Take note of a directory that went and of a watch that died."""
        with self._lock:
            died, self._died = self._died, None
            gone, self._gone = self._gone, set()
        self._uncover(gone)
        for name in gone & self._paths.keys():
            self._probe(name)
        if died and died[0] is self._watch:
            self._fail(died[1], now)

    def _fail(self, error: Exception, now: float) -> None:
        """Poll from now on; the next try comes later each time, and sooner again after a long time without trouble."""
        lately = now - self._failed_at < 2 * RETRY_LONGEST
        self._failures = self._failures + 1 if lately else 1
        self._failed_at = now
        limits = "limit" in str(error) or "Too many open files" in str(error) or "No space left" in str(error)
        self._trouble = f"events don't work: {printable(str(error))}{_LIMITS if limits else ''}"
        if self._watch:
            self._watch.stop()
            self._watch = None
        self._set_covered(frozenset(), now)
        _log.warning("files are watched by polling", why=self._trouble, retry_seconds=self._retry_at() - now)

    def _retry_at(self) -> float:
        return self._failed_at + min(RETRY_LONGEST, RETRY_FIRST * 2.0 ** min(self._failures - 1, 20))

    # -- the watch's thread

    def _on_changes(self, changes: Changes) -> None:
        """Sort events by directory and wake the keeper where they ask for a look."""
        found: dict[str, set[str]] = {}
        stirred: set[str] = set()
        gone: set[str] = set()
        for kind, path in changes:
            parent, _, name = path.rpartition("/")
            directory = self._names.get(parent or "/")
            if directory is not None and self._relevant(f"{directory}/{name}" if directory else name):
                found.setdefault(directory, set()).add(name)
            elif path in self._names and kind == _DELETED:
                gone.add(self._names[path])
            elif directory is not None and kind == _ADDED and self._recursive and os.path.isdir(path):
                stirred.add(directory)
        now = self._clock.monotonic()
        with self._lock:
            news = [self._cadence.events(directory, names, now) for directory, names in found.items()]
            news += [self._cadence.stir(directory, now) for directory in stirred | gone]
            self._gone |= gone
        if any(news):
            self._wake()

    def _on_death(self, watch: Watch, error: Exception) -> None:
        with self._lock:
            self._died = (watch, error)
        self._wake()
