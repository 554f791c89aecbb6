"""What status, pages and metrics show of the engine: an immutable value, replaced as a whole by the engine's thread.

Only streams that changed are computed anew, so that ten thousand quiet files cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from agent.control import DirectoryStatus, Status, StreamState, StreamStatus, WatcherStatus
from agent.kit.clock import Clock
from agent.metrics import Metrics
from agent.streams import report
from agent.streams.catalog import Stream
from agent.streams.engine import Engine

EVERY = 1.0
"""Seconds between two snapshots: only what changed is computed anew."""

WARM = 60.0
"""Seconds after which a stream that grew is computed once more: by then it counts as quiet."""


class Snapshots:
    """The newest snapshot, and when the next one is wanted."""

    def __init__(self, engine: Engine, clock: Clock, metrics: Metrics, config_path: str) -> None:
        self._engine = engine
        self._clock = clock
        self._config_path = config_path
        self._gauges = Gauges(engine, metrics)
        self._started = clock.now()
        self._late = float("inf")
        self.lines = Lines(engine, clock)
        self.next = 0.0
        """Monotonic time from which on the newest one is old."""
        self.newest: Status | None = None

    def begin(self, now: float) -> None:
        """A step begins."""
        self._late = now + EVERY

    @property
    def late(self) -> bool:
        """True when a step takes long, as the first one over a large backlog: it shows what it has done by now."""
        return self._clock.monotonic() >= self._late

    def take(self, *, ready: bool, watcher: WatcherStatus | None, usage: DirectoryStatus | None) -> None:
        """Replace the newest one by one of now. No watcher: nothing runs, a command looks."""
        now = self._clock.monotonic()
        self.next = self._late = now + EVERY
        self.newest = report.status(
            self._engine,
            self._clock,
            running=watcher is not None,
            started=self._started,
            ready=ready,
            config_path=self._config_path,
            watcher=watcher or WatcherStatus(mode="stopped"),
            usage=usage,
            streams=self.lines.all(now),
        )
        self._gauges.show(self.newest)


class Lines:
    """Every stream's line, those that did not change being the old ones."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._changed: dict[Stream, None] = {}
        self._warm: dict[Stream, float] = {}
        """When streams that grew will have been quiet for long, in that order."""
        self._lines: dict[str, StreamStatus] = {}
        self._sorted: list[StreamStatus] = []

    def touch(self, streams: Iterable[Stream]) -> None:
        """These may have changed."""
        self._changed.update(dict.fromkeys(streams))

    @property
    def stale(self) -> bool:
        """True when the lines last given do not tell of everything that was touched."""
        return bool(self._changed)

    def all(self, now: float) -> list[StreamStatus]:
        """The lines by name: the very list of the last call where nothing changed."""
        streams = self._engine.catalog.streams
        self._cool(now)
        if not self._changed and len(self._lines) == len(streams):
            return self._sorted
        wall = self._clock.now()
        changed, self._changed = self._changed, {}
        for name in self._lines.keys() - streams.keys():
            del self._lines[name]
        changed.update(dict.fromkeys(streams[name] for name in streams.keys() - self._lines.keys()))
        for stream in changed:
            if streams.get(stream.name) is stream:
                self._lines[stream.name] = report.stream(self._engine, stream, now, wall)
                self._keep_warm(stream, now)
        self._sorted = [self._lines[name] for name in sorted(self._lines)]
        return self._sorted

    def _keep_warm(self, stream: Stream, now: float) -> None:
        self._warm.pop(stream, None)
        if stream.facts.rate > 0 and stream.facts.grew + WARM > now:
            self._warm[stream] = stream.facts.grew + WARM
        if stream.pending:
            self._changed[stream] = None

    def _cool(self, now: float) -> None:
        while self._warm:
            stream = next(iter(self._warm))
            if self._warm[stream] > now:
                break
            del self._warm[stream]
            self._changed[stream] = None


class Gauges:
    """The metrics that say what a snapshot says."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._streams: list[StreamStatus] | None = None
        self._rescans = 0

    def show(self, snapshot: Status) -> None:
        """Set them all; sums over streams only when a stream changed."""
        self._show_directory(snapshot.directory)
        self._metrics.set_watcher_mode(snapshot.watcher.mode)
        self._metrics.watched_directories.set(snapshot.watcher.directories)
        self._metrics.watcher_rescans.inc(snapshot.watcher.rescans - self._rescans)
        self._rescans = snapshot.watcher.rescans
        if snapshot.streams is not self._streams:
            self._streams = snapshot.streams
            self._show_streams(snapshot.streams)
        self._count_refused()

    def _show_directory(self, usage: DirectoryStatus) -> None:
        metrics = self._metrics
        metrics.allocated_bytes.set(usage.live_bytes)
        metrics.part_bytes.set(usage.part_bytes)
        metrics.segment_bytes.set(usage.segment_bytes)
        metrics.quarantine_bytes.set(usage.quarantine_bytes)
        metrics.state_bytes.set(usage.state_bytes)
        metrics.directory_total_bytes.set(usage.total_bytes)
        metrics.directory_critical.set(usage.critical)
        metrics.filesystem_free_bytes.set(usage.free_bytes)

    def _show_streams(self, streams: list[StreamStatus]) -> None:
        metrics = self._metrics
        counts = dict.fromkeys(get_args(StreamState), 0)
        for stream in streams:
            counts[stream.state] += 1
        for state, count in counts.items():
            metrics.streams.labels(state).set(count)
        metrics.overdue_streams.set(sum("overdue" in stream.flags for stream in streams))
        metrics.live_bytes.set(sum(stream.live_bytes for stream in streams))
        metrics.pending_release_bytes.set(sum(stream.pending_release for stream in streams))
        limits = [stream.size_limit for stream in streams if stream.size_limit]
        metrics.file_size_limit_bytes.set(min(limits, default=0))
        metrics.longest_file_bytes.set(max((stream.apparent_size for stream in streams), default=0))
        left = (stream.days_left for stream in streams if stream.days_left is not None)
        metrics.file_size_left_seconds.set(86_400 * min(left, default=float("inf")))

    def _count_refused(self) -> None:
        found = {name: stream.refused for name, stream in self._engine.catalog.streams.items() if stream.refused}
        reasons: dict[str, int] = {}
        for error in (found | self._engine.survey.refused).values():
            reasons[error.reason] = reasons.get(error.reason, 0) + 1
        self._metrics.refused(reasons)
