"""Every own metric of the agent: its name, type, labels and help, in one place.

Invariants:
- All families live in one registry of their own, never in prometheus_client's global one, under `telemetry_agent_`.
- A label whose values are known is present at 0 from the first scrape on; no label holds a file name, except the
  `stream` of `StreamSeries`, which is off by default and capped.
- A scrape only reads memory: attached collectors serve snapshots.

Names follow https://prometheus.io/docs/practices/naming/: base units as suffix, `_total` on counters alone. Counters
are used without that suffix in code (`metrics.seals`) and exposed with it (`telemetry_agent_seals_total`).
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, Protocol, get_args

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
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from agent import __version__

PREFIX = "telemetry_agent_"
OTHER = "other"

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
MemoryState = Literal["unlimited", "normal", "tight", "paused"]
HttpRefusal = Literal["host", "rate", "password", "token", "client_name", "connections"]
AlertState = Literal["pending", "firing", "silenced", "resolved"]
Level = Literal["debug", "info", "warning", "error", "critical"]

_STREAM_LIVE = (f"{PREFIX}stream_live_bytes", "Bytes of one stream that are not sealed yet.")
_STREAM_LOST = (f"{PREFIX}stream_lost_bytes", "Bytes of one stream lost since the agent started, a lower bound.")


class Family(NamedTuple):
    """One row of the reference: a family as it is exposed."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


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


class StreamNumbers(Protocol):
    """What a stream's series are made of; `control.StreamStatus` is one."""

    @property
    def name(self) -> str:
        """Printable name, the value of the label."""
        ...

    @property
    def live_bytes(self) -> int:
        """Bytes that are not sealed yet."""
        ...

    @property
    def lost_bytes(self) -> int:
        """Bytes lost since the agent started."""
        ...


class StreamSeries(Collector):
    """Series of single streams: of at most `cap()` of them, all others summed as `other`; a cap of 0 exposes none.

    A stream keeps its series while it exists, whoever else comes and goes. The lost bytes are a gauge because a sum
    over streams that may vanish goes down, which a counter must not; `lost_bytes` is the counter.
    """

    families = (
        Family(_STREAM_LIVE[0], "gauge", ("stream",), _STREAM_LIVE[1]),
        Family(_STREAM_LOST[0], "gauge", ("stream",), _STREAM_LOST[1]),
    )

    def __init__(self, streams: Callable[[], Iterable[StreamNumbers]], cap: Callable[[], int]) -> None:
        self._streams = streams
        self._cap = cap
        self._named: set[str] = set()
        self._lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """Fresh families from the newest snapshot."""
        cap = self._cap()
        if cap == 0:
            return
        live: dict[str, int] = {}
        lost: dict[str, int] = {}
        for label, stream in self._labelled(list(self._streams()), cap):
            live[label] = live.get(label, 0) + stream.live_bytes
            lost[label] = lost.get(label, 0) + stream.lost_bytes
        for (name, text), values in ((_STREAM_LIVE, live), (_STREAM_LOST, lost)):
            family = GaugeMetricFamily(name, text, labels=("stream",), unit="bytes")
            for label, value in values.items():
                family.add_metric((label,), value)
            yield family

    def _labelled(self, streams: list[StreamNumbers], cap: int) -> Iterator[tuple[str, StreamNumbers]]:
        with self._lock:
            self._named &= {stream.name for stream in streams}
            if len(self._named) > cap:  # it was lowered
                self._named.clear()
            for stream in streams:
                # A stream that is itself called `other` would make two series of one name.
                if len(self._named) < cap and stream.name != OTHER:
                    self._named.add(stream.name)
            named = frozenset(self._named)
        return ((stream.name if stream.name in named else OTHER, stream) for stream in streams)


class MemoryNumbers(Protocol):
    """What the series of the agent's memory are made of; `control.Own` is one."""

    @property
    def memory_used(self) -> int:
        """Bytes that count against the limit."""
        ...

    @property
    def memory_limit(self) -> int:
        """Bytes; 0 is none."""
        ...

    @property
    def memory_state(self) -> str:
        """A `MemoryState`."""
        ...

    @property
    def memory_pauses(self) -> int:
        """How often delivery waited."""
        ...


class MemorySeries(Collector):
    """The agent's memory against its limit."""

    _rows: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
        ("memory_used_bytes", "gauge", (), "Memory that counts against the limit; page cache does not."),
        ("memory_limit_bytes", "gauge", (), "The nearest limit: of a control group or agent.memory_limit; 0 is none."),
        ("memory_state", "gauge", ("state",), "1 for the state of the memory budget, else 0."),
        ("memory_pauses_total", "counter", (), "Times that delivery began to wait for memory."),
    )
    families = tuple(Family(PREFIX + name, kind, labels, text) for name, kind, labels, text in _rows)

    def __init__(self, own: Callable[[], MemoryNumbers]) -> None:
        self._own = own

    def collect(self) -> Iterator[Metric]:
        """Fresh families."""
        now = self._own()
        used, limit, state, pauses = self.families
        yield GaugeMetricFamily(used.name, used.help, now.memory_used, unit="bytes")
        yield GaugeMetricFamily(limit.name, limit.help, now.memory_limit, unit="bytes")
        states = GaugeMetricFamily(state.name, state.help, labels=state.labels)
        for known in get_args(MemoryState):
            states.add_metric((known,), float(known == now.memory_state))
        yield states
        yield CounterMetricFamily(pauses.name, pauses.help, now.memory_pauses)


class Sample(NamedTuple):
    """One value of a forward's family; `buckets` (upper bound, cumulated count) make `value` a histogram's sum."""

    family: str
    labels: tuple[str, ...]
    value: float
    buckets: tuple[tuple[str, float], ...] = ()


_WHO = ("forward",)
_OTEL = ("otel_component_type", "otel_component_name", "server_address", "server_port")
_FORWARD: dict[str, tuple[str, tuple[str, ...], str]] = {
    "forward_read_records": ("counter", _WHO, "Records read: delivered, dead-lettered, filtered, empty or unsettled."),
    "forward_delivered_records": ("counter", _WHO, "Records that a destination took."),
    "forward_dead_lettered_records": ("counter", _WHO, "Records put into the dead letters."),
    "forward_empty_records": ("counter", _WHO, "Records with nothing in them to send."),
    "forward_filtered_records": (
        "counter", (*_WHO, "reason"), "Records of which the forward's filter or sampling left nothing to send."
    ),
    "forward_dropped_items": (
        "counter", (*_WHO, "reason"), "Spans, log records and data points left out by filter or sampling."
    ),
    "forward_unsettled_records": ("gauge", _WHO, "Records read whose end is still open."),
    "forward_in_flight_batches": ("gauge", _WHO, "Batches on their way."),
    "forward_sent_bytes": ("counter", _WHO, "Bytes of bodies that destinations took, as sent."),
    "forward_rejected_items": ("counter", _WHO, "Spans, log records and data points refused by partial successes."),
    "forward_discarded_answers": ("counter", _WHO, "Answers to accepted batches that could not be used."),
    "forward_dropped_dead_letters": ("counter", _WHO, "Old dead letters deleted to make room for new ones."),
    "forward_waited_batches": ("counter", _WHO, "Batches that waited on disk because no endpoint might be asked."),
    "forward_exports": ("counter", (*_WHO, "outcome"), "Exports that came to their end, by outcome."),
    "forward_retries": ("counter", (*_WHO, "error"), "Tries that failed for a reason that may pass, by class."),
    "forward_unreadable_bytes": ("counter", (*_WHO, "reason"), "Bytes skipped because nobody can read them any more."),
    "forward_backlog_bytes": ("gauge", _WHO, "Bytes behind the cursors."),
    "forward_unsent_ratio": (
        "gauge", _WHO, "How full the bounds of [forward.unsent] are in the fullest stream, 1 at a bound."
    ),
    "forward_lag_seconds": ("gauge", _WHO, "How long the oldest undelivered byte has waited."),
    "forward_breaker_trips": ("counter", _WHO, "How often a circuit breaker opened."),
    "forward_breaker_state": ("gauge", (*_WHO, "state"), "1 for the state of the circuit of the endpoint in use."),
    "forward_endpoint_in_use": ("gauge", (*_WHO, "endpoint"), "1 for the endpoint that the last batch went to."),
    "forward_last_success_timestamp_seconds": ("gauge", _WHO, "When a batch was last taken, in Unix time."),
    "forward_last_failure_timestamp_seconds": ("gauge", _WHO, "When a try last failed, in Unix time."),
    **{
        f"otel_sdk_exporter_{item}_{what}": (kind, labels, f"{text}, by the OpenTelemetry conventions.")
        for item in ("span", "log", "metric_data_point")
        for what, kind, labels, text in (
            ("inflight", "gauge", _OTEL, "Items being exported"),
            ("exported", "counter", (*_OTEL, "error_type"), "Items whose export ended"),
        )
    },
    "otel_sdk_exporter_operation_duration_seconds": (
        "histogram", _OTEL, "Time of exports with their retries, by the OpenTelemetry conventions."
    ),
}  # fmt: skip


def _full(name: str) -> str:
    """The family's name as exposed; OpenTelemetry's own names carry no prefix of ours."""
    return name if name.startswith("otel_") else PREFIX + name


class ForwardSeries(Collector):
    """The families of the consumers, all from one copy of their books."""

    families = tuple(
        Family(f"{_full(name)}{'_total' if kind == 'counter' else ''}", kind, labels, text)
        for name, (kind, labels, text) in _FORWARD.items()
    )

    def __init__(self, samples: Callable[[], Iterable[Sample]]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        """Fresh families."""
        kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
        found: dict[str, Any] = {}
        for sample in self._samples():
            kind, labels, text = _FORWARD[sample.family]
            family = found.get(sample.family)
            if family is None:
                made = kinds.get(kind, HistogramMetricFamily)
                family = found[sample.family] = made(_full(sample.family), text, labels=labels)
            if sample.buckets:
                family.add_metric(sample.labels, buckets=list(sample.buckets), sum_value=sample.value)
            else:
                family.add_metric(sample.labels, float(sample.value))
        yield from found.values()
