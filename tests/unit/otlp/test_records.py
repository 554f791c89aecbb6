import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.otlp import records

EXAMPLES = Path(__file__).parents[2] / "data" / "otlp"

_PYTHONS: dict[str, Callable[[Any], object]] = {
    "string_value": str,
    "bool_value": bool,
    "int_value": int,
    "double_value": float,
    "array_value": lambda array: [plain(value) for value in array.values],
    "kvlist_value": lambda pairs: attributes(pairs.values),
    "bytes_value": bytes,
}


def plain(value: records.AnyValue) -> object:
    """The value as Python has it, integers exact; None for an empty value."""
    for name, convert in _PYTHONS.items():
        if (found := getattr(value, name)) is not msgspec.UNSET:
            return convert(found)
    return None


def attributes(pairs: Iterable[records.KeyValue]) -> dict[str, object]:
    """Attributes as a dictionary."""
    return {pair.key: plain(pair.value) for pair in pairs}


def test_spans_come_with_their_resource_and_scope() -> None:
    """The protocol's own example, field by field."""
    (one,) = records.decode((EXAMPLES / "trace.json").read_bytes()).resource_spans
    (inside,) = one.scope_spans
    (span,), scope = inside.spans, inside.scope

    assert attributes(one.resource.attributes) == {"service.name": "my.service"}
    assert (scope.name, scope.version) == ("my.library", "1.0.0")
    assert (span.trace_id, span.span_id) == ("5B8EFFF798038103D269B633813FC60C", "EEE19B7EC3C1B174")
    assert span.parent_span_id == "EEE19B7EC3C1B173"
    assert span.kind == 2
    assert int(span.end_time_unix_nano) - int(span.start_time_unix_nano) == 1_000_000_000
    assert attributes(span.attributes) == {"my.span.attr": "some value"}


def test_log_records_have_all_kinds_of_values() -> None:
    """The protocol's own example has one attribute of each kind."""
    (one,) = records.decode((EXAMPLES / "logs.json").read_bytes()).resource_logs
    (record,) = one.scope_logs[0].log_records

    assert plain(record.body) == "Example log record"
    assert attributes(record.attributes) == {
        "string.attribute": "some string",
        "boolean.attribute": True,
        "int.attribute": 10,
        "double.attribute": 637.704,
        "array.attribute": ["many", "values"],
        "map.attribute": {"some.map.key": "some value"},
    }


def test_metrics_have_all_kinds_of_data() -> None:
    """The protocol's own example has four of the five."""
    (one,) = records.decode((EXAMPLES / "metrics.json").read_bytes()).resource_metrics
    found = {metric.name: metric for metric in one.scope_metrics[0].metrics}
    total, powers = found["my.counter"].sum, found["my.exponential.histogram"].exponential_histogram

    assert list(found) == ["my.counter", "my.gauge", "my.histogram", "my.exponential.histogram"]
    assert isinstance(total, records.Sum)
    assert total.is_monotonic
    assert total.data_points[0].as_double == 5
    assert isinstance(powers, records.ExponentialHistogram)
    assert powers.data_points[0].positive == records.Buckets(offset=1, bucket_counts=["0", "2"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"intValue": "9007199254740993"}, 9007199254740993),
        ({"doubleValue": "Infinity"}, math.inf),
        ({"doubleValue": 2}, 2.0),
        ({"boolValue": False}, False),
        ({"stringValue": ""}, ""),
        ({"bytesValue": "YQ=="}, b"a"),
        ({"arrayValue": {}}, []),
        ({"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}, {"key": "b"}]}}, {"a": 1, "b": None}),
        ({}, None),
    ],
)
def test_values_become_pythons(value: dict[str, Any], expected: object) -> None:
    """Exact, false ones and empty ones included."""
    found = plain(msgspec.json.decode(json.dumps(value), type=records.AnyValue))

    assert found == expected
    assert type(found) is type(expected)


def test_absent_parts_have_defaults() -> None:
    """A resource, scope or status that is left out is an empty one."""
    line = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}'
    (one,) = records.decode(line).resource_spans
    (inside,) = one.scope_spans
    (span,) = inside.spans

    assert (one.resource, inside.scope) == (records.Resource(), records.Scope())
    assert (span.status.code, span.start_time_unix_nano, span.trace_id) == (0, "0", "")


@pytest.mark.parametrize("number", [-(2**63), -1, 0, 9, 10, 2**63 - 1])
def test_all_64_bit_integers_are_read(number: int) -> None:
    """The pattern of signed integers has exact bounds."""
    found = msgspec.json.decode(f'{{"intValue":"{number}"}}', type=records.AnyValue)

    assert plain(found) == number


@settings(deadline=None)
@given(st.integers(-(2**64), 2**64))
def test_the_pattern_of_signed_integers_is_exact(number: int) -> None:
    """It passes what fits into 64 bits and nothing else."""
    try:
        msgspec.json.decode(f'"{number}"', type=records.Signed)
        passed = True
    except msgspec.ValidationError:
        passed = False

    assert passed == (-(2**63) <= number < 2**63)


def test_documents_keep_all_digits_and_unknown_keys() -> None:
    """Reading and writing loses nothing that JSON tells; only white space and the spelling of numbers may change."""
    line = b'{"a":[1.50000000000000000000001,12345678901234567890123,null],"\xc3\xa9":{"z":-0.0,"y":"\\u0001"}}\n'

    assert records.encode(records.document(line)) == line
