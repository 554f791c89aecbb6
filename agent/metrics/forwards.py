"""The families of the consumers: names and help texts; the books are kept where records are delivered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.metrics.family import PREFIX, Family


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
        "counter", (*_WHO, "reason"),
        "Records of which filter or sampling left nothing to send, or that waited when the cursor was reset."
    ),
    "forward_dropped_items": (
        "counter", (*_WHO, "reason"), "Spans, log records and data points left out by filter or sampling."
    ),
    "forward_unsettled_records": ("gauge", _WHO, "Records read whose end is still open."),
    "forward_in_flight_batches": ("gauge", _WHO, "Batches on their way."),
    "forward_sent_bytes": ("counter", _WHO, "Bytes of bodies that destinations took, as sent."),
    "forward_rejected_items": ("counter", _WHO, "Spans, log records and data points refused by partial successes."),
    "forward_discarded_answers": ("counter", _WHO, "Answers to accepted batches that could not be used."),
    "forward_dropped_dead_letters": ("counter", _WHO, "Dead letters deleted for want of room."),
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
    "forward_endpoint_in_use": (
        "gauge", (*_WHO, "endpoint"), "1 for the endpoint that the last batch went to, or for that of each signal."
    ),
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
