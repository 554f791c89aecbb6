"""The consumers' books as samples for a scrape: names and help texts are in `agent.metrics`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import get_args
from urllib.parse import urlsplit

from agent.control import ForwardStatus
from agent.duties.ledger import BUCKETS, Ledger
from agent.duties.shipper import Consumer
from agent.kit.retry import State
from agent.metrics import Sample
from agent.sinks.build import BySignal

_ITEMS = {"traces": "span", "logs": "log", "metrics": "metric_data_point"}


def samples(consumers: Iterable[tuple[Consumer, ForwardStatus, Ledger]]) -> Iterator[Sample]:
    """Every sample of these consumers; status and books of each are of one moment."""
    for consumer, status, books in consumers:
        places = _places(consumer, status)
        yield from _own(status, books, places)
        if consumer.forward.kind == "otlp":
            yield from _standard(consumer, status, books, places)


def _places(consumer: Consumer, status: ForwardStatus) -> Mapping[str, str]:
    """Where each signal goes now."""
    failover = consumer.sender.failover
    sink = failover.targets[failover.current]
    return sink.destinations if isinstance(sink, BySignal) else dict.fromkeys(_ITEMS, status.destination)


def _own(status: ForwardStatus, books: Ledger, places: Mapping[str, str]) -> Iterator[Sample]:
    name = (status.name,)
    for field in (
        "read", "delivered", "dead_lettered", "empty", "unsettled"
    ):  # fmt: skip
        yield Sample(f"forward_{field}_records", name, getattr(books, field))
    for reason in ("filter", "sample", "reset"):
        yield Sample("forward_filtered_records", (*name, reason), books.filtered.get(reason, 0))
    for reason in ("filter", "sample"):
        yield Sample("forward_dropped_items", (*name, reason), books.dropped.get(reason, 0))
    yield Sample("forward_in_flight_batches", name, books.in_flight)
    yield Sample("forward_sent_bytes", name, books.sent_bytes)
    yield Sample("forward_rejected_items", name, books.rejected)
    yield Sample("forward_discarded_answers", name, books.discarded)
    yield Sample("forward_dropped_dead_letters", name, books.letters_dropped)
    yield Sample("forward_waited_batches", name, books.waited)
    for outcome, count in (("success", books.successes), ("refused", books.refusals)):
        yield Sample("forward_exports", (*name, outcome), count)
    for kind, count in books.retries.items():
        yield Sample("forward_retries", (*name, kind), count)
    for reason in ("gone", "damaged", "missing"):
        yield Sample("forward_unreadable_bytes", (*name, reason), books.unreadable.get(reason, 0))
    yield Sample("forward_backlog_bytes", name, status.backlog_bytes)
    yield Sample("forward_lag_seconds", name, status.lag_seconds)
    if status.unsent_ratio is not None:
        yield Sample("forward_unsent_ratio", name, status.unsent_ratio)
    yield Sample("forward_breaker_trips", name, status.trips)
    for state in get_args(State):
        yield Sample("forward_breaker_state", (*name, state), status.breaker == state)
    for place in dict.fromkeys(places.values()):
        yield Sample("forward_endpoint_in_use", (*name, place), 1)
    yield Sample("forward_last_success_timestamp_seconds", name, books.last_success)
    yield Sample("forward_last_failure_timestamp_seconds", name, books.last_failure)


def _standard(consumer: Consumer, status: ForwardStatus, books: Ledger, places: Mapping[str, str]) -> Iterator[Sample]:
    """By the names of the OpenTelemetry semantic conventions (model/otel/metrics.yaml)."""
    encoding = consumer.forward.encoding
    kind = {"json": "otlp_http_json_exporter", "grpc": "otlp_grpc_exporter"}.get(encoding, "otlp_http_proto_exporter")
    who = (kind, f"{kind}/{status.name}")
    for signal, item in _ITEMS.items():
        labels = (*who, *_server(places[signal]))
        yield Sample(f"otel_sdk_exporter_{item}_inflight", labels, books.carried.get(signal, 0))
        yield Sample(f"otel_sdk_exporter_{item}_exported", (*labels, ""), books.exported.get((signal, ""), 0))
        for (told, error), count in books.exported.items():
            if told == signal and error:
                yield Sample(f"otel_sdk_exporter_{item}_exported", (*labels, error), count)
    total = 0
    pairs = []
    for bound, count in zip((*BUCKETS, float("inf")), books.buckets, strict=True):
        total += count
        pairs.append(("+Inf" if bound == float("inf") else str(float(bound)), float(total)))
    servers = {_server(place) for place in places.values()}
    # Of operations that go to several servers it is not known how long they took with each.
    labels = (*who, *(servers.pop() if len(servers) == 1 else ("", "")))
    yield Sample("otel_sdk_exporter_operation_duration_seconds", labels, books.seconds, tuple(pairs))


def _server(destination: str) -> tuple[str, str]:
    """Host and port."""
    place = urlsplit(destination)
    return place.hostname or "", str(place.port or (443 if place.scheme == "https" else 80))
