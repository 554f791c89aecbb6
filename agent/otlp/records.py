"""OTLP-JSON as typed records, in the one form that every receiver reads: the canonical form.

The structs name the fields of opentelemetry-proto 1.11 (collector requests, common, resource, trace, logs, metrics) as
JSON spells them, and their types are the canonical ones: 64-bit integers are decimal strings, 32-bit integers and
enums JSON integers, doubles JSON numbers or "NaN", "Infinity", "-Infinity", bytes padded base64, ids hex in either
case or "". This is the only schema: `canonical` derives from it how to bring other legal spellings into this form,
`envelope` checks each line by it. Unknown keys are ignored here; whoever writes lines again works on `document`,
which keeps them.

A 64-bit integer stays a string until somebody needs it: `int(span.start_time_unix_nano)` is exact.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field


def _up_to(limit: int) -> str:
    """A regular expression for the decimal integers from 0 to `limit`, without leading zeros."""
    digits = str(limit)
    smaller = ["0", f"[1-9][0-9]{{0,{len(digits) - 2}}}"]
    for index, digit in enumerate(digits):
        low, high = 0 if index else 1, int(digit) - 1
        if low <= high:
            smaller.append(f"{digits[:index]}[{low}-{high}][0-9]{{{len(digits) - index - 1}}}")
    return f"(?:{'|'.join([*smaller, digits])})"


Unsigned = Annotated[str, Meta(min_length=1, max_length=20)]  # that it is a number is left to `survey`
Signed = Annotated[str, Meta(pattern=rf"^(?:(?:-(?!0))?{_up_to(2**63 - 1)}|-{2**63})\Z")]
Integer = Annotated[str, Meta(min_length=1, max_length=20, title="int64")]  # that it is one is left to `envelope`
Unsigned32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Signed32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Enumeration = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1, title="enum")]
Double = float | Literal["NaN", "Infinity", "-Infinity"]
TraceId = Annotated[str, Meta(max_length=32)]  # that ids are hex is left to `survey` too
SpanId = Annotated[str, Meta(max_length=16)]


class _Wire(Struct, rename="camel", gc=False):
    """A message: camelCase on the wire; never part of a cycle, so the garbage collector need not look at it."""


class ArrayValue(_Wire):
    """Several values."""

    values: list[AnyValue] = []


class KeyValueList(_Wire):
    """Values by name, in order; a name may come twice."""

    values: list[KeyValue] = []


class AnyValue(_Wire):
    """One value of one of seven kinds, or none."""

    string_value: str | UnsetType = UNSET
    bool_value: bool | UnsetType = UNSET
    int_value: Integer | UnsetType = UNSET
    double_value: Double | UnsetType = UNSET
    array_value: ArrayValue | UnsetType = UNSET
    kvlist_value: KeyValueList | UnsetType = UNSET
    bytes_value: bytes | UnsetType = UNSET


class KeyValue(_Wire):
    """An attribute."""

    key: str = ""
    value: AnyValue = field(default_factory=AnyValue)


class EntityRef(_Wire):
    """Which attributes of a resource identify and describe an entity."""

    schema_url: str = ""
    type: str = ""
    id_keys: list[str] = []
    description_keys: list[str] = []


class Resource(_Wire):
    """What the telemetry is about."""

    attributes: list[KeyValue] = []
    dropped_attributes_count: Unsigned32 = 0
    entity_refs: list[EntityRef] = []


class Scope(_Wire):
    """The instrumentation that made the telemetry."""

    name: str = ""
    version: str = ""
    attributes: list[KeyValue] = []
    dropped_attributes_count: Unsigned32 = 0


class Event(_Wire):
    """Something at one moment of a span."""

    time_unix_nano: Unsigned = "0"
    name: str = ""
    attributes: list[KeyValue] = []
    dropped_attributes_count: Unsigned32 = 0


class Link(_Wire):
    """Another span that a span refers to."""

    trace_id: TraceId = ""
    span_id: SpanId = ""
    trace_state: str = ""
    attributes: list[KeyValue] = []
    dropped_attributes_count: Unsigned32 = 0
    flags: Unsigned32 = 0


class Status(_Wire):
    """How a span ended: code 0 unset, 1 ok, 2 error."""

    message: str = ""
    code: Enumeration = 0


class Span(_Wire):
    """One operation of a trace. Kind: 1 internal, 2 server, 3 client, 4 producer, 5 consumer."""

    trace_id: TraceId = ""
    span_id: SpanId = ""
    trace_state: str = ""
    parent_span_id: SpanId = ""
    flags: Unsigned32 = 0
    name: str = ""
    kind: Enumeration = 0
    start_time_unix_nano: Unsigned = "0"
    end_time_unix_nano: Unsigned = "0"
    attributes: list[KeyValue] = []
    dropped_attributes_count: Unsigned32 = 0
    events: list[Event] = []
    dropped_events_count: Unsigned32 = 0
    links: list[Link] = []
    dropped_links_count: Unsigned32 = 0
    status: Status = field(default_factory=Status)


class ScopeSpans(_Wire):
    """The spans of one scope."""

    scope: Scope = field(default_factory=Scope)
    spans: list[Span] = []
    schema_url: str = ""


class ResourceSpans(_Wire):
    """The spans of one resource."""

    resource: Resource = field(default_factory=Resource)
    scope_spans: list[ScopeSpans] = []
    schema_url: str = ""


class LogRecord(_Wire):
    """One log record. Severity: 1-4 trace, 5-8 debug, 9-12 info, 13-16 warn, 17-20 error, 21-24 fatal."""

    time_unix_nano: Unsigned = "0"
    observed_time_unix_nano: Unsigned = "0"
    severity_number: Enumeration = 0
    severity_text: str = ""
    body: AnyValue = field(default_factory=AnyValue)
    attributes: list[KeyValue] = []
    dropped_attributes_count: Unsigned32 = 0
    flags: Unsigned32 = 0
    trace_id: TraceId = ""
    span_id: SpanId = ""
    event_name: str = ""


class ScopeLogs(_Wire):
    """The log records of one scope."""

    scope: Scope = field(default_factory=Scope)
    log_records: list[LogRecord] = []
    schema_url: str = ""


class ResourceLogs(_Wire):
    """The log records of one resource."""

    resource: Resource = field(default_factory=Resource)
    scope_logs: list[ScopeLogs] = []
    schema_url: str = ""


class Exemplar(_Wire):
    """One measurement of those that a data point sums up."""

    filtered_attributes: list[KeyValue] = []
    time_unix_nano: Unsigned = "0"
    as_double: Double | UnsetType = UNSET
    as_int: Signed | UnsetType = UNSET
    span_id: SpanId = ""
    trace_id: TraceId = ""


class Point(_Wire):
    """What every data point has."""

    attributes: list[KeyValue] = []
    start_time_unix_nano: Unsigned = "0"
    time_unix_nano: Unsigned = "0"
    flags: Unsigned32 = 0


class ExemplaryPoint(Point):
    """A data point with some of the measurements it sums up."""

    exemplars: list[Exemplar] = []


class NumberPoint(ExemplaryPoint):
    """One number."""

    as_double: Double | UnsetType = UNSET
    as_int: Signed | UnsetType = UNSET


class HistogramPoint(ExemplaryPoint):
    """Counts by bucket; a bound belongs to the bucket below it."""

    count: Unsigned = "0"
    sum: Double | UnsetType = UNSET
    bucket_counts: list[Unsigned] = []
    explicit_bounds: list[Double] = []
    min: Double | UnsetType = UNSET
    max: Double | UnsetType = UNSET


class Buckets(_Wire):
    """Counts of consecutive exponential buckets, the first of which has index `offset`."""

    offset: Signed32 = 0
    bucket_counts: list[Unsigned] = []


class ExponentialPoint(ExemplaryPoint):
    """Counts by bucket, whose bounds are powers of 2 ** (2 ** -scale)."""

    count: Unsigned = "0"
    sum: Double | UnsetType = UNSET
    scale: Signed32 = 0
    zero_count: Unsigned = "0"
    positive: Buckets = field(default_factory=Buckets)
    negative: Buckets = field(default_factory=Buckets)
    min: Double | UnsetType = UNSET
    max: Double | UnsetType = UNSET
    zero_threshold: Double = 0.0


class Quantile(_Wire):
    """A value and the share of measurements at most as large."""

    quantile: Double = 0.0
    value: Double = 0.0


class SummaryPoint(Point):
    """Quantiles, from systems that compute them themselves."""

    count: Unsigned = "0"
    sum: Double = 0.0
    quantile_values: list[Quantile] = []


class Gauge(_Wire):
    """Current values."""

    data_points: list[NumberPoint] = []


class Sum(_Wire):
    """Sums. Temporality: 1 delta, 2 cumulative."""

    data_points: list[NumberPoint] = []
    aggregation_temporality: Enumeration = 0
    is_monotonic: bool = False


class Histogram(_Wire):
    """Histograms with explicit bounds."""

    data_points: list[HistogramPoint] = []
    aggregation_temporality: Enumeration = 0


class ExponentialHistogram(_Wire):
    """Histograms with exponential buckets."""

    data_points: list[ExponentialPoint] = []
    aggregation_temporality: Enumeration = 0


class Summary(_Wire):
    """Summaries."""

    data_points: list[SummaryPoint] = []


class Metric(_Wire):
    """A metric and its data, of one kind."""

    name: str = ""
    description: str = ""
    unit: str = ""
    gauge: Gauge | UnsetType = UNSET
    sum: Sum | UnsetType = UNSET
    histogram: Histogram | UnsetType = UNSET
    exponential_histogram: ExponentialHistogram | UnsetType = UNSET
    summary: Summary | UnsetType = UNSET
    metadata: list[KeyValue] = []


class ScopeMetrics(_Wire):
    """The metrics of one scope."""

    scope: Scope = field(default_factory=Scope)
    metrics: list[Metric] = []
    schema_url: str = ""


class ResourceMetrics(_Wire):
    """The metrics of one resource."""

    resource: Resource = field(default_factory=Resource)
    scope_metrics: list[ScopeMetrics] = []
    schema_url: str = ""


class Request(_Wire):
    """One line: an export request, of one signal as a rule."""

    resource_spans: list[ResourceSpans] = []
    resource_logs: list[ResourceLogs] = []
    resource_metrics: list[ResourceMetrics] = []


decode = msgspec.json.Decoder(Request).decode
"""The request in a canonical line. msgspec.DecodeError where the line is not canonical, UnicodeDecodeError or
RecursionError where it is beyond repair; `envelope.check` sorts that out."""

decode_spans = msgspec.json.Decoder(list[ResourceSpans]).decode
decode_logs = msgspec.json.Decoder(list[ResourceLogs]).decode
decode_metrics = msgspec.json.Decoder(list[ResourceMetrics]).decode
"""The array of one signal alone, as `decode` reads it in a line."""

document = msgspec.json.Decoder(float_hook=Decimal).decode
"""A line as plain dictionaries and lists that lose nothing: unknown keys stay, numbers keep all their digits (int or
Decimal). Errors as `decode`, and ArithmeticError for an exponent that no Decimal has."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


def encode(content: object) -> bytes:
    """`document`'s counterpart: one line without white space and its line's end."""
    return _encode(content) + b"\n"
