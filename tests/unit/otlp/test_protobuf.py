"""OTLP-JSON requests as protobuf."""

import json
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent.otlp.protobuf import encoder

TRACE = "5B8EFFF798038103D269B633813FC60C"
SPAN = "eee19b7ec3c1b174"


def traces(**span: Any) -> bytes:
    """A request with one span."""
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


def first(body: bytes) -> Any:
    """The first span of an encoded request."""
    return ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans[0]


def test_ids_are_bytes() -> None:
    """[1] Hex of either case, in spans and links; an empty id is an absent one."""
    link = {"traceId": "", "spanId": SPAN.upper()}
    span = first(encoder("traces")(traces(traceId=TRACE, spanId=SPAN, parentSpanId=SPAN, links=[link])))

    assert (span.trace_id, span.span_id, span.parent_span_id) == (bytes.fromhex(TRACE), *[bytes.fromhex(SPAN)] * 2)
    assert (span.links[0].trace_id, span.links[0].span_id) == (b"", bytes.fromhex(SPAN))


def test_integers_stay_exact() -> None:
    """[1] 64-bit integers as strings or numbers, beyond what a double holds; enums as integers."""
    attributes = [
        {"key": "big", "value": {"intValue": 9007199254740993}},
        {"key": "least", "value": {"intValue": "-9223372036854775808"}},
    ]
    span = first(
        encoder("traces")(
            traces(
                startTimeUnixNano=1581452772000000321,
                endTimeUnixNano="18446744073709551615",
                kind=2,
                attributes=attributes,
                flags=257,
            )
        )
    )

    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (1581452772000000321, 2**64 - 1)
    assert [one.value.int_value for one in span.attributes] == [9007199254740993, -(2**63)]
    assert (span.kind, span.flags) == (2, 257)


def test_unknown_keys_are_ignored() -> None:
    """[1] What OTLP does not know does not stop a request, not even where it looks like an id."""
    span = first(encoder("traces")(traces(name="n", futureField={"traceId": 7, "deep": [{"spanId": None}]})))

    assert span.name == "n"


@pytest.mark.parametrize(
    "unknown",
    [
        {"futureField": {"traceId": "no hex", "spanId": 7}},
        {"trace_id": "@@@", "start_time_unix_nano": "abc", "trace_state": 5, "parent_span_id": 1},
        {"trace_state": "it parses", "dropped_links_count": 7},
        {"[foo.bar]": 1, "@type": "x", "": 1},
        {"status": {"code": 2, "deprecated_code": "x"}},
        {"attributes": [{"key": "k", "value": {"string_value": "v", "boolValue": True}}]},
    ],
)
def test_what_otlp_does_not_know_is_left_out(unknown: dict[str, Any]) -> None:
    """[1] Names are lowerCamelCase alone; a key that is none of them stops no request and is not sent, at any depth."""
    span = first(encoder("traces")(traces(name="n", **unknown)))

    assert (span.name, span.trace_id, span.trace_state, span.dropped_links_count) == ("n", b"", "", 0)
    assert all(one.value.WhichOneof("value") == "bool_value" for one in span.attributes)


def test_a_number_that_no_double_holds_may_stand_where_otlp_looks_at_nothing() -> None:
    """A line with one passes the check, so it must not spoil the request that it is joined into."""
    body = traces(name="n").replace(b'"name"', b'"future": [1e999, -1e999], "name"')

    assert first(encoder("traces")(body)).name == "n"


@pytest.mark.parametrize(
    "value",
    [
        {"stringValue": "v", "boolValue": True},
        json.loads('{"arrayValue":{"values":[' * 60 + "{}" + "]}}" * 60),
        json.loads('{"kvlistValue":{"values":[{"key":"k","value":' * 33 + "{}" + "}]}}" * 33),
    ],
    ids=["two kinds", "arrays", "lists by key"],
)
def test_what_protobuf_cannot_say_is_a_value_error(value: dict[str, Any]) -> None:
    """Two kinds in one value, and what a reader would refuse as nested too deeply."""
    with pytest.raises(ValueError, match="not an export request"):
        encoder("traces")(traces(attributes=[{"key": "k", "value": value}]))


def test_bytes_values_are_base64() -> None:
    """Ids are the only hexadecimal bytes; an attribute named like one keeps its text."""
    attributes = [{"key": "traceId", "value": {"stringValue": TRACE}}, {"key": "b", "value": {"bytesValue": "AP8="}}]
    span = first(encoder("traces")(traces(attributes=attributes)))

    assert [span.attributes[0].value.string_value, span.attributes[1].value.bytes_value] == [TRACE, b"\x00\xff"]


def test_logs_and_metrics_too() -> None:
    """Ids of log records and of exemplars."""
    record = {"traceId": TRACE, "spanId": SPAN, "body": {"stringValue": "é"}}
    log = encoder("logs")(json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode())
    point = {"asInt": "3", "exemplars": [{"traceId": TRACE, "spanId": SPAN, "asDouble": 0.5}]}
    sum_ = {"name": "m", "sum": {"dataPoints": [point], "aggregationTemporality": 2, "isMonotonic": True}}
    metric = encoder("metrics")(json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [sum_]}]}]}).encode())

    found = ExportLogsServiceRequest.FromString(log).resource_logs[0].scope_logs[0].log_records[0]
    assert (found.trace_id, found.body.string_value) == (bytes.fromhex(TRACE), "é")
    total = ExportMetricsServiceRequest.FromString(metric).resource_metrics[0].scope_metrics[0].metrics[0].sum
    assert total.data_points[0].as_int == 3
    assert total.data_points[0].exemplars[0].span_id == bytes.fromhex(SPAN)


def test_nothing_else_is_changed() -> None:
    """Read back by protobuf's own writer, a request says what it said."""
    span = {"name": "n", "status": {"code": 2, "message": "m"}, "events": [{"name": "e", "timeUnixNano": "5"}]}
    body = traces(**span)

    found = ExportTraceServiceRequest.FromString(encoder("traces")(body))

    assert json_format.MessageToDict(found, use_integers_for_enums=True) == json.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"7",
        b'{"resourceSpans":7}',
        traces(traceId="5B8"),
        traces(spanId="no hex at all !!"),
        traces(links=[7]),
        traces(status=7),
        traces(startTimeUnixNano="later"),
        traces(startTimeUnixNano=-1),
        traces(name=7),
        b'{"resourceSpans":[null]}',
        b'{"a":' + b"[" * 100_000,
    ],
)
def test_what_is_no_request_is_a_value_error(body: bytes) -> None:
    """Never another exception, whatever the bytes."""
    with pytest.raises(ValueError, match="not an export request"):
        encoder("traces")(body)


def test_an_unknown_signal_has_no_encoder() -> None:
    """Profiles are not stable yet."""
    with pytest.raises(ValueError, match="no signal"):
        encoder("profiles")
