"""The families that are counted where things happen: one attribute each, changed from any thread.

Counters are used without `_total` in code (`metrics.seals`) and exposed with it (`telemetry_agent_seals_total`).
"""

from __future__ import annotations

import platform
from typing import Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.registry import Collector

from agent import __version__
from agent.kit.log import Level
from agent.metrics.family import PREFIX, Family

StreamState = Literal["ok", "refused", "failing", "gone"]
SealReason = Literal[
    "size", "age", "schedule", "request", "stop", "reset", "rename", "incarnation", "capture", "cleanup", "recovered"
]  # fmt: skip
RetireReason = Literal["keep", "max_age", "max_total", "min_free", "forgotten"]
LossReason = Literal["truncated", "replaced", "deleted", "gap", "release_window", "unsent", "damaged", "copytruncate"]
RefuseReason = Literal[
    "symlink", "hardlink", "special", "permission", "filesystem", "not_a_log", "not_json_lines", "no_newline",
    "rewritten",
]  # fmt: skip
WatcherMode = Literal["events", "timer", "polling"]
HttpRefusal = Literal["host", "rate", "password", "token", "client_name", "connections"]
AlertState = Literal["pending", "firing", "silenced", "resolved"]


class Metrics:
    """The agent's metrics over one registry. Every attribute may be changed from any thread."""

    def __init__(self, registry: CollectorRegistry | None = None, *, revision: str = "") -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client left it untyped
        self.registry = registry or CollectorRegistry()
        self._families: list[Family] = []
        self._define_process(revision)
        self._define_sizes()
        self._define_sealing()
        self._define_endings()
        self._define_watching()
        self._define_running()
        self._define_web()
        self._define_alerts()

    def attach(self, collector: Collector, *families: Family) -> None:
        """Add a collector of derived families; `families` are its rows in the reference.

        It must build fresh families on each call and read nothing but memory: a scrape waits for it.
        """
        self.registry.register(collector)
        self._families.extend(families)

    def reference(self) -> list[Family]:
        """Every own family, by name: the source of the documentation's table."""
        return sorted(self._families)

    def set_watcher_mode(self, mode: str) -> None:
        """Mark the one mode the watcher is in; any other word, as `stopped`, clears them all."""
        for known in get_args(WatcherMode):
            self.watcher_mode.labels(known).set(known == mode)

    def refused(self, counts: dict[str, int]) -> None:
        """Set how many files are refused, by cause."""
        for reason in get_args(RefuseReason):
            self.refused_files.labels(reason).set(counts.get(reason, 0))

    # -- the families, by subject

    def _define_process(self, revision: str) -> None:
        about = {"version": __version__, "revision": revision, "pythonversion": platform.python_version()}
        Info(f"{PREFIX}build", text := "The running build.", registry=self.registry).info(about)
        self._families.append(Family(f"{PREFIX}build_info", "info", tuple(about), text))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def _define_sizes(self) -> None:
        gauge = self._gauge
        self.streams = gauge("streams", "Streams by state.", state=get_args(StreamState))
        self.overdue_streams = gauge("overdue_streams", "Streams that should have been rotated by now.")
        self.live_bytes = gauge("live_bytes", "Bytes in live files that are not sealed yet; holes do not count.")
        self.allocated_bytes = gauge("allocated_bytes", "Disk space that live files take.")
        self.part_bytes = gauge("part_bytes", "Disk space that segments take which are not published yet.")
        self.segment_bytes = gauge("segment_bytes", "Disk space that sealed segments take.")
        self.quarantine_bytes = gauge("quarantine_bytes", "Disk space that files take which were set aside unread.")
        self.state_bytes = gauge("state_bytes", "Disk space that the agent's state directory takes.")
        self.directory_total_bytes = gauge(
            "directory_total_bytes", "Disk space of live files, parts, segments, quarantine and state together."
        )
        self.directory_critical = gauge(
            "directory_critical", "1 while the directory is above its critical size though retention ran, else 0."
        )
        self.filesystem_free_bytes = gauge(
            "filesystem_free_bytes", "Space that the watched directory's file system has left for this user."
        )
        self.file_size_limit_bytes = gauge(
            "file_size_limit_bytes", "Length that no live file can pass on its file system; 0 where it is not known."
        )
        self.longest_file_bytes = gauge("longest_file_bytes", "Apparent size of the longest live file.")
        self.file_size_left_seconds = gauge(
            "file_size_left_seconds", "Time until a live file is as long, at its growth; +Inf where none will be."
        )
        self.pending_release_bytes = gauge(
            "pending_release_bytes", "Sealed bytes whose disk space in live files is not given back yet."
        )

    def _define_sealing(self) -> None:
        counter = self._counter
        self.appended_bytes = counter("appended_bytes", "Bytes that writers were seen to add to live files.")
        self.seals = counter("seals", "Segments published, by what made them due.", reason=get_args(SealReason))
        self.captures = counter("captures", "Times that live bytes of a stream were captured between rotations.")
        self.seal_failures = counter("seal_failures", "Seals that failed; the data stays in the live file.")
        self.seal_duration_seconds = self._histogram(
            "seal_duration_seconds",
            "Time to seal one segment: copy, sync, verify and publish.",
            (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60),
        )
        self.sealed_bytes = counter("sealed_bytes", "Bytes sealed, before compression.")
        self.sealed_records = counter("sealed_records", "Records sealed.")
        self.segment_written_bytes = counter("segment_written_bytes", "Bytes of segments written, after compression.")
        self.releases = counter("releases", "Pieces of live files whose disk space was given back.")
        self.released_bytes = counter("released_bytes", "Bytes of live files whose disk space was given back.")
        self.resets = counter("resets", "Live files set back to size 0 while nobody had them open.")

    def _define_endings(self) -> None:
        counter = self._counter
        retire, lose = get_args(RetireReason), get_args(LossReason)
        self.retired_bytes = counter("retired_bytes", "Disk space of segments deleted by rule, by rule.", reason=retire)
        self.retired_segments = counter("retired_segments", "Segments deleted by rule, by rule.", reason=retire)
        self.lost_bytes = counter(
            "lost_bytes", "Bytes gone though no rule decided so, by cause; a lower bound.", reason=lose
        )
        self.quarantined_files = counter("quarantined_files", "Files set aside because nothing explained them.")
        self.refused_files = self._gauge(
            "refused_files", "Files that match but are not managed, by cause.", reason=get_args(RefuseReason)
        )

    def _define_watching(self) -> None:
        modes = get_args(WatcherMode)
        self.watcher_mode = self._gauge("watcher_mode", "1 for the way growth is found now, else 0.", mode=modes)
        self.watcher_rescans = self._counter("watcher_rescans", "Whole sweeps of the watched directories.")
        self.watched_directories = self._gauge("watched_directories", "Directories watched.")
        self.looks = self._counter("looks", "Times that one live file was looked at.")

    def _define_running(self) -> None:
        counter, gauge = self._counter, self._gauge
        self.event_loop_lag_seconds = self._histogram(
            "event_loop_lag_seconds", "How late the main loop runs what is due.", (0.001, 0.01, 0.05, 0.1, 0.5, 1, 5)
        )
        self.duty_steps = counter("duty_steps", "Steps that a duty made.", duty=())
        self.duty_failures = counter("duty_failures", "Steps of a duty that failed.", duty=())
        self.duty_step_seconds = counter("duty_step_seconds", "Time spent in a duty's steps.", duty=())
        self.config_last_reload_successful = gauge(
            "config_last_reload_successful", "1 when the newest configuration is in force, 0 when it was rejected."
        )
        self.config_last_reload_success_timestamp_seconds = gauge(
            "config_last_reload_success_timestamp_seconds", "When a configuration was last accepted, in Unix time."
        )
        self.config_hash = gauge("config_hash", "A number that differs between effective configurations.")
        self.config_reloads = counter("config_reloads", "Reloads asked for.")
        self.config_reload_failures = counter("config_reload_failures", "Reloads that were rejected.")
        self.log_messages = counter("log_messages", "Lines logged, by level.", level=get_args(Level))
        self.audit_unwritten = counter("audit_unwritten", "Audit entries that could not be written to disk.")

    def _define_web(self) -> None:
        self.http_requests = self._counter("http_requests", "Requests answered.", handler=(), code=())
        self.http_request_duration_seconds = self._histogram(
            "http_request_duration_seconds", "Time to answer a request.", (0.001, 0.01, 0.1, 0.5, 1, 10, 60)
        )
        self.http_refused = self._counter(
            "http_refused", "Requests and connections by TCP that were refused, by what was wrong.",
            reason=get_args(HttpRefusal),
        )  # fmt: skip
        self.http_requests_in_flight = self._gauge("http_requests_in_flight", "Requests being answered.")

    def _define_alerts(self) -> None:
        self.alerts = self._gauge(
            "alerts", "Alerts by state; a firing one that is silenced counts as silenced.", state=get_args(AlertState)
        )
        self.alert_transitions = self._counter(
            "alert_transitions", "Alerts that came into a state.", state=("pending", "firing", "resolved")
        )
        self.alert_evaluations = self._counter("alert_evaluations", "Evaluations of all alert rules.")
        self.alert_evaluation_failures = self._counter(
            "alert_evaluation_failures", "Evaluations of one rule that gave no value.", alert=()
        )
        self.notifications = self._counter("notifications", "Messages about alerts that were taken.", notifier=())
        self.notification_failures = self._counter(
            "notification_failures", "Tries to send one that failed and were repeated.", notifier=()
        )

    # -- how a family is made: labels are given with the values to present at 0, empty where the user brings them

    def _counter(self, name: str, text: str, **labels: tuple[str, ...]) -> Counter:
        metric = Counter(PREFIX + name, text, tuple(labels), unit=_unit(name), registry=self.registry)
        self._note(f"{name}_total", "counter", text, labels, metric)
        return metric

    def _gauge(self, name: str, text: str, **labels: tuple[str, ...]) -> Gauge:
        metric = Gauge(PREFIX + name, text, tuple(labels), unit=_unit(name), registry=self.registry)
        self._note(name, "gauge", text, labels, metric)
        return metric

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        metric = Histogram(PREFIX + name, text, unit=_unit(name), buckets=buckets, registry=self.registry)
        self._note(name, "histogram", text, {}, metric)
        return metric

    def _note(
        self, name: str, kind: str, text: str, labels: dict[str, tuple[str, ...]], metric: Counter | Gauge | Histogram
    ) -> None:
        self._families.append(Family(PREFIX + name, kind, tuple(labels), text))
        if len(labels) == 1:
            for value in next(iter(labels.values())):
                metric.labels(value)


def _unit(name: str) -> str:
    """The base unit that a name ends in, which OpenMetrics wants declared; empty for a plain number."""
    last = name.rpartition("_")[2]
    return last if last in ("bytes", "seconds") else ""
