"""What a scrape and /health see of delivery."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from agent.config.forward import SignalRule
from agent.metrics import PREFIX, Family, ForwardSeries
from agent.streams.lag import Lag, fullness
from agent.web.probes import resilience
from tests.support.hostile import Hostile, Say
from tests.support.yard import Yard, forward, log, settled, span, spans

OTEL = {"otel_component_type": "otlp_http_json_exporter", "otel_component_name": "otlp_http_json_exporter/out"}


def test_a_scrape_balances_and_speaks_opentelemetry(tmp_path: Path, server: Hostile) -> None:
    """Each family is in the reference; items count once an export, also those that a partial success refused."""
    server.will(Say(503), Say(body=b'{"partialSuccess":{"rejectedSpans":"2"}}'), Say())
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 5) + b"{}\n" + b"no\n" + log(6))
        yard.run(settled(yard, 8))
        registry = CollectorRegistry()
        registry.register(ForwardSeries(yard.forwards.samples))
        found = {(one.name, *sorted(one.labels.items())): one.value for f in registry.collect() for one in f.samples}
        status = yard.status()

    def value(name: str, **labels: str) -> float:
        return found[(name, *sorted(labels.items()))]

    own = {name: value(f"{PREFIX}forward_{name}_records_total", forward="out") for name in
           ("read", "delivered", "dead_lettered", "empty")}  # fmt: skip
    assert {"read": 8, "delivered": 6, "dead_lettered": 1, "empty": 1} == own
    assert 0 == value(f"{PREFIX}forward_unsettled_records", forward="out")
    assert 1 == value(f"{PREFIX}forward_retries_total", forward="out", error="unavailable")
    place = OTEL | {"server_address": "127.0.0.1", "server_port": server.url.rpartition(":")[2]}
    assert 3 == value("otel_sdk_exporter_span_exported_total", **place, error_type="")
    assert 2 == value("otel_sdk_exporter_span_exported_total", **place, error_type="rejected")
    assert 1 == value("otel_sdk_exporter_log_exported_total", **place, error_type="")
    assert 0 == value("otel_sdk_exporter_span_inflight", **place)
    assert 2 == value("otel_sdk_exporter_operation_duration_seconds_count", **place)
    names = {family.name for family in ForwardSeries.families}
    assert {re.sub(r"_(bucket|sum|count)$", "", str(key[0])) for key in found} <= names
    summary = resilience([status])
    assert summary is not None
    assert (2, 2, 0, 1.0, 0) == (
        summary.total_exports, summary.successful_exports, summary.failed_exports, summary.success_rate,
        summary.buffer_size,
    )  # fmt: skip


def test_a_scrape_tells_where_each_signal_goes(tmp_path: Path, server: Hostile) -> None:
    """A signal with an endpoint of its own is counted by that server's name; what all take together, by none."""
    rules = {"traces": SignalRule(endpoint=server.url + "/v1/traces"), "endpoints": ("http://elsewhere",)}
    with Yard(tmp_path, forward(server, **rules)) as yard:
        registry = CollectorRegistry()
        registry.register(ForwardSeries(yard.forwards.samples))
        found = [one for family in registry.collect() for one in family.samples]

    def servers(name: str) -> list[str]:
        labels = [one.labels for one in found if one.name == f"otel_sdk_exporter_{name}"]
        return [f"{one['server_address']}:{one['server_port']}" for one in labels]

    assert [server.url.removeprefix("http://")] == servers("span_inflight")
    assert ["elsewhere:80"] == servers("log_inflight")
    assert [":"] == servers("operation_duration_seconds_count")
    used = [one.labels["endpoint"] for one in found if one.name == f"{PREFIX}forward_endpoint_in_use"]
    assert [server.url + "/v1/traces", "http://elsewhere"] == used


@pytest.mark.parametrize("row", ForwardSeries.families, ids=lambda row: row.name)
def test_families_follow_the_naming_rules(row: Family) -> None:
    """Our prefix or OpenTelemetry's own names; `_total` on counters alone; a help sentence."""
    name, kind, _, text = row
    assert name.startswith((f"{PREFIX}forward_", "otel_sdk_exporter_"))
    assert (kind == "counter") == name.endswith("_total")
    assert re.fullmatch(r"[A-Z0-9].*\.", text)


def test_no_delivery_no_resilience() -> None:
    """Nothing is made up where nothing is forwarded; nothing tried is no failure."""
    assert resilience([]) is None


@pytest.mark.parametrize(
    ("size", "age", "ratio"), [(None, None, None), (100, None, 0.5), (100, 10.0, 2.0), (None, 40.0, 0.5)]
)
def test_the_fullest_stream_tells_how_full_a_bound_is(size: int | None, age: float | None, ratio: float | None) -> None:
    """By bytes and by age, whichever is nearer; without a bound there is nothing to fill."""
    assert ratio == fullness([Lag(50, 1, 3.0), Lag(10, 1, 20.0)], size, age)
    assert (None if ratio is None else 0.0) == fullness([], size, age)


def test_what_waits_is_the_buffer(tmp_path: Path, server: Hostile) -> None:
    """A destination that takes nothing: the backlog in bytes, the failure's time and words, the component degraded."""
    server.will(Say(503))
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(span(1))
        yard.run(lambda: yard.status().retries >= 2)
        status = yard.status()
        (part,) = [one for one in yard.components.all() if one.name == "forward out"]

    assert len(span(1)) == status.backlog_bytes
    assert status.last_failure is not None
    assert "503 from" in status.last_error
    assert "degraded" == part.state
