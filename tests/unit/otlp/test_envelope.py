import json
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.kit.buffer import Lines
from agent.otlp import envelope
from agent.otlp.envelope import (
    Bad,
    Checked,
    Reason,
    Signal,
    alike,
    check,
    halve,
    join,
    pieces,
    split,
)
from agent.otlp.generate import sequences
from tests.support.signals import Signals

EXAMPLES = Path(__file__).parents[2] / "data" / "otlp"
TRACE = "5b8efff798038103d269b633813fc60c"
SPAN = "eee19b7ec3c1b174"


def line(document: object) -> bytes:
    """A document as one line."""
    return json.dumps(document).encode() + b"\n"


def traces(**span: Any) -> bytes:
    """A line with one span."""
    return line({"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": TRACE, "spanId": SPAN} | span]}]}]})


def logs(**record: Any) -> bytes:
    """A line with one log record."""
    return line({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]})


def metrics(**metric: Any) -> bytes:
    """A line with one metric."""
    return line({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]})


def passed(text: bytes) -> Checked:
    """What `check` says of a line that must pass."""
    found = check(text)
    assert isinstance(found, Checked), found
    return found


def refused(text: bytes) -> Bad:
    """What `check` says of a line that must not pass."""
    found = check(text)
    assert isinstance(found, Bad), found
    return found


@pytest.mark.parametrize(
    ("name", "items"),
    [
        ("trace.json", {Signal.TRACES: 1}),
        ("logs.json", {Signal.LOGS: 1}),
        ("events.json", {Signal.LOGS: 1}),
        ("metrics.json", {Signal.METRICS: 4}),
    ],
)
def test_the_protocols_own_examples_are_canonical(name: str, items: dict[Signal, int]) -> None:
    """Each example, joined into one line, travels as the same bytes."""
    text = b"".join(part.strip() for part in (EXAMPLES / name).read_bytes().splitlines(keepends=True)) + b"\n"

    assert passed(text) == Checked(text, items, True)


@pytest.mark.parametrize("kind", ["trace_line", "log_line", "metric_line"])
def test_lines_that_are_alike_are_told_together(kind: str) -> None:
    """Their signal, and as many items as `check` finds in each of them."""
    make = getattr(Signals(9, errors=0.5), kind)
    lines = [make() for _ in range(40)]
    signal, items = alike(lines) or (None, 0)

    assert {signal: items} == {signal: sum(passed(one).items[signal] for one in lines for signal in passed(one).items)}


SPARE = traces()
DOUBTFUL = {
    "another signal": [logs(body={"stringValue": "x"})],
    "nothing in it": [b'{"resourceSpans":[]}\n'],
    "blank": [b"\n"],
    "no telemetry": [b'{"one":"two"}\n'],
    "no JSON": [b'{"resourceSpans":[{"scopeSpans":[{"spans":[{]}]}]}\n'],
    "half a line": [SPARE[:-1]],
    "another document behind": [SPARE[:-1] + SPARE],
    "another array behind": [b'{"resourceSpans":[{}],"x":[1]}\n'],
    "two halves that are whole together": [b'{"resourceSpans":[{"x":[1]}\n', b'{"resourceSpans":[2]}]}\n'],
    "two halves of a text": [b'{"resourceSpans":[{"schemaUrl":"]}\n', b'{"resourceSpans":["}]}\n'],
    "two halves of a letter": [traces(name="@").replace(b"@", b"\xc3"), traces(name="@").replace(b"@", b"\xa9")],
    "an id too short": [traces(spanId=SPAN[:-1])],
    "an id too short beside one too long": [traces(spanId=SPAN[:-1]), traces(spanId=SPAN + "0")],
    "an id that is no hex": [traces(traceId=TRACE[:-1] + "g")],
    "an id of zeros": [traces(spanId="0" * 16)],
    "a time that is none": [traces(startTimeUnixNano="12a")],
    "a time without a value beside another": [traces(startTimeUnixNano="", endTimeUnixNano="12")],
    "a time with a digit too many beside one too short": [traces(startTimeUnixNano="9" * 20, endTimeUnixNano="1" * 18)],
    "a time of 19 digits that begins with 0": [traces(startTimeUnixNano="0" + "1" * 18, endTimeUnixNano="1" * 19)],
    "a time with a comma in it": [traces(startTimeUnixNano="1" * 9 + "," + "1" * 9, endTimeUnixNano="1" * 19)],
    "a time with a comma for another's end": [traces(startTimeUnixNano="1," + "1" * 18, endTimeUnixNano="1" * 18)],
    "an event's time that is none": [traces(events=[{"timeUnixNano": "+1"}])],
    "a link's id that is none": [traces(links=[{"traceId": TRACE, "spanId": SPAN[:-1] + "x"}])],
    "an integer that is none": [traces(attributes=[{"key": "a", "value": {"intValue": "1.5"}}])],
    "an integer that is a number": [traces(attributes=[{"key": "a", "value": {"intValue": 1}}])],
    "the name of an enum value": [traces(kind="SPAN_KIND_SERVER")],
    "a key in escapes": [traces(attributes=[{"key": "a", "value": {"intValue": "x"}}]).replace(b"int", b"\\u0069nt")],
}


@pytest.mark.parametrize("wrong", DOUBTFUL.values(), ids=DOUBTFUL.keys())
@pytest.mark.parametrize("before", [0, 3])
def test_one_doubtful_line_among_others_is_looked_at(wrong: list[bytes], before: int) -> None:
    """Wherever it stands, and whatever two lines would be together: no answer for all of them, so `check` is asked."""
    lines = [_close(traces(name=f"n{number}")) for number in range(6)]
    assert alike(lines) == (Signal.TRACES, 6)

    assert alike([*lines[:before], *map(_close, wrong), *lines[before:]]) is None


def _close(text: bytes) -> bytes:
    """Without the spaces that `json.dumps` puts in, as a Collector writes it."""
    return text.replace(b": ", b":").replace(b", ", b",")


@pytest.mark.parametrize("kind", ["trace_line", "log_line", "metric_line"])
def test_generated_lines_are_canonical(kind: str) -> None:
    """What the generator writes is what a collector would write."""
    make = getattr(Signals(9, errors=0.5), kind)

    for _ in range(200):
        text = make()
        found = passed(text)
        assert found.line is text
        assert found.canonical


def test_case_1_numbers_become_exact_strings_and_the_rest_stays() -> None:
    """Case 1: upper-case ids, 64-bit numbers, an unknown key, an empty id in a link are accepted, integers exact."""
    text = (
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C",'
        b'"spanId":"EEE19B7EC3C1B174","kind":2,"startTimeUnixNano":1581452772000000321,"futureField":{"a":[1.50]},'
        b'"attributes":[{"key":"n","value":{"intValue":9007199254740993}}],"links":[{"traceId":"","spanId":""}]}]}]}]}\n'
    )
    expected = text.replace(b"1581452772000000321", b'"1581452772000000321"').replace(
        b"9007199254740993", b'"9007199254740993"'
    )

    assert passed(text) == Checked(expected, {Signal.TRACES: 1}, False)
    assert passed(expected) == Checked(expected, {Signal.TRACES: 1}, True, plain=True)


@pytest.mark.parametrize(
    ("text", "reason", "where"),
    [
        (b'{"one":"two"}', Reason.OTLP, ""),
        (
            b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":"SPAN_KIND_SERVER"}]}]}]}',
            Reason.ENUM,
            "resourceSpans[0].scopeSpans[0].spans[0].kind: ",
        ),
    ],
)
def test_case_2_json_that_is_not_otlp_is_never_passed(text: bytes, reason: Reason, where: str) -> None:
    """Case 2: another document, and the name of an enum value, are bad, with the reason and the place."""
    found = refused(text)

    assert found.reason == reason
    assert found.detail.startswith(where)


def test_case_3_a_line_of_two_signals_becomes_a_line_of_each() -> None:
    """Case 3: each half has its own items and nothing of the other; a line of one signal is itself."""
    both = passed(b'{ "resourceLogs" : [ {"scopeLogs":[{"logRecords":[{},{}]}]} ],"resourceSpans":'
                  b'[{"scopeSpans":[{"spans":[{"name":"]}"}]}]}], "x":[1]}\n')  # fmt: skip
    one = passed(traces())

    assert both.items == {Signal.TRACES: 1, Signal.LOGS: 2}
    assert split(both) == {
        Signal.TRACES: b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"]}"}]}]}]}\n',
        Signal.LOGS: b'{"resourceLogs":[ {"scopeLogs":[{"logRecords":[{},{}]}]} ]}\n',
    }
    assert not one.plain
    assert check(split(one)[Signal.TRACES]) == Checked(split(one)[Signal.TRACES], {Signal.TRACES: 1}, True, plain=True)


@pytest.mark.parametrize(
    "text",
    [
        b'{"resourceSpans":[%b],"x":[1]}\n',
        b'{"resourceSpans":[],"resourceSpans":[%b]}\n',
        b'{"resourceSpans":[%b],"resourceLogs":[]}',
        b'{"x":1,"resourceSpans":[%b]}',
    ],
)
def test_a_line_that_only_looks_plain_is_made_so(text: bytes) -> None:
    """Other keys behind the array, or the key twice, end like a plain line: they must not come into a request."""
    span = b'{"scopeSpans":[{"spans":[{"name":"a"}]}]}'
    found = passed(text % span)

    assert not found.plain
    assert join([split(found)[Signal.TRACES]] * 2, "traces") == b'{"resourceSpans":[%b,%b]}' % (span, span)


@pytest.mark.parametrize(
    "text",
    [
        b'{"resourceSpans":[]}',
        b'{"resourceSpans":[{"resource":{"attributes":[]},"scopeSpans":[{"scope":{"name":"a"},"spans":[]}]}]}\n',
        b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a","gauge":{}}]}]}]}',
        b"{}",
        b"",
        b"\n",
        b" \r\n",
    ],
)
def test_case_4_envelopes_without_items_are_empty(text: bytes) -> None:
    """Case 4: they are neither sent nor dead letters."""
    found = passed(text)

    assert not found.items
    assert split(found) == {}


@pytest.mark.parametrize(
    "text",
    [
        b'{"resourceSpans":[],"x":1}',
        b'{"resourceSpans":[{"instrumentationLibrarySpans":[{"spans":[{}]}]}]}',
        b'{"resource_spans":[{"scope_spans":[{"spans":[{}]}]}]}',
        b'{"resourceProfiles":[{}]}',
        b"[]",
        b"7",
        b"null",
        b'"resourceSpans"',
    ],
)
def test_what_looks_empty_because_its_keys_are_unknown_is_bad(text: bytes) -> None:
    """A receiver would answer 200 and keep nothing: such a line must become visible."""
    assert refused(text).reason == Reason.OTLP


@pytest.mark.parametrize("size", [100 * 1024 + 1, 1024 * 1024 + 1, 4 * 1024 * 1024])
def test_case_6_long_records_pass_whole(size: int) -> None:
    """Case 6: a record of any length is checked and joined."""
    text = logs(body={"stringValue": "x" * size})

    assert passed(text).line is text
    assert len(join([text], Signal.LOGS)) > size


def test_case_18_halving_isolates_the_record_that_is_too_big() -> None:
    """Case 18: of 8 records the 5th alone is too big: 7 get through, after a finite number of requests."""
    records = [traces(name="x" * (10_000 if number == 5 else 10)) for number in range(1, 9)]
    delivered: list[bytes] = []
    dead: list[bytes] = []
    requests = 0
    waiting: list[Sequence[bytes]] = [records]
    while waiting:
        batch = waiting.pop(0)
        requests += 1
        if len(join(batch, Signal.TRACES)) < 5000:
            delivered += batch
        elif len(batch) == 1:
            dead += batch
        else:
            waiting += halve(batch)

    assert dead == [records[4]]
    assert sorted(delivered) == sorted(records[:4] + records[5:])
    assert requests < 10


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=2, max_size=30))
def test_halves_are_balanced_and_keep_all(lengths: list[int]) -> None:
    """In order, none empty, and no better than one line off the middle."""
    lines = [b"%d" % index * length for index, length in enumerate(lengths)]

    first, second = halve(lines)

    assert [*first, *second] == lines
    assert first
    assert second
    sizes = sum(map(len, first)), sum(map(len, second))
    assert abs(sizes[0] - sizes[1]) <= 2 * max(map(len, lines))


def test_a_single_line_is_not_halved() -> None:
    """It is a dead letter."""
    with pytest.raises(ValueError, match="single"):
        halve([b"{}"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", Reason.JSON),
        (b'{"resourceSpans":[]} x', Reason.JSON),
        (b'{"resourceSpans":[]}{"resourceSpans":[]}', Reason.JSON),
        (b"\xef\xbb\xbf{}", Reason.JSON),
        (b"hello", Reason.JSON),
        (b'{"resourceSpans":[NaN]}', Reason.JSON),
        (b'{"resourceSpans":[{"schemaUrl":"\\ud800"}]}', Reason.JSON),
        (b'{"resourceSpans":[{"schemaUrl":"\xff"}]}', Reason.ENCODING),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"unknown":"\xc3("}]}]}]}', Reason.ENCODING),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", Reason.STRUCTURE),
        (b'{"resourceSpans":[{"x":1e99999999999999999999999}]}', Reason.NUMBER),
    ],
)
def test_bytes_that_are_no_document_are_bad(text: bytes, reason: Reason) -> None:
    """No JSON, more than one value, no UTF-8 (also where OTLP knows no key), or beyond all bounds."""
    assert refused(text).reason == reason


NUMBER = {"timeUnixNano": "1", "asInt": "5"}


@pytest.mark.parametrize(
    "text",
    [
        traces(traceId=""),
        traces(traceId=TRACE.upper(), parentSpanId=SPAN.upper()),
        traces(parentSpanId=""),
        traces(traceId="0000000000000000" + SPAN),
        traces(kind=77, status={"code": 3}),
        traces(flags=2**32 - 1),
        traces(startTimeUnixNano="0", endTimeUnixNano="18446744073709551615"),
        traces(unknown={"traceId": 5, "kind": "x"}),
        traces(name="Zürich → 東京 \N{GRINNING FACE}"),
        traces(attributes=[{"key": "traceId", "value": {"stringValue": "no id"}}, {"key": "k"}, {"value": {}}]),
        traces(attributes=[{"key": "a", "value": {"arrayValue": {"values": [{"intValue": "-9223372036854775808"}]}}}]),
        traces(attributes=[{"key": "a", "value": {"kvlistValue": {"values": [{"key": "b", "value": {}}]}}}]),
        traces(attributes=[{"key": "a", "value": {"bytesValue": "YQ=="}}]),
        traces(attributes=[{"key": "a", "value": {"doubleValue": value}} for value in (1, -2.5, 1e300, "NaN")]),
        traces(attributes=[{"key": "a", "value": {"doubleValue": "-Infinity"}}]),
        traces(events=[{"timeUnixNano": "12", "name": "e"}], links=[{"traceId": TRACE, "spanId": SPAN, "flags": 1}]),
        logs(traceId="", spanId="", severityNumber=9, body={}, eventName="e"),
        logs(timeUnixNano="1", observedTimeUnixNano="2", traceId=TRACE, spanId=SPAN),
        metrics(gauge={"dataPoints": [NUMBER | {"exemplars": [{"traceId": TRACE, "spanId": SPAN, "asDouble": 1.5}]}]}),
        metrics(sum={"dataPoints": [NUMBER], "isMonotonic": True, "aggregationTemporality": 2}),
        metrics(histogram={"dataPoints": [{"count": "2", "bucketCounts": ["0", "2"], "explicitBounds": [1]}]}),
        metrics(
            exponentialHistogram={"dataPoints": [{"scale": -3, "positive": {"offset": -1, "bucketCounts": ["1"]}}]}
        ),
        metrics(summary={"dataPoints": [{"count": "1", "sum": 2, "quantileValues": [{"quantile": 0.5, "value": 2}]}]}),
    ],
)
def test_legal_lines_in_canonical_form_stay_as_they_are(text: bytes) -> None:
    """Not a byte changes in what every receiver reads."""
    assert passed(text) == Checked(text, passed(text).items, True)


BAD_POINTS = [
    ({"timeUnixNano": "x"}, Reason.NUMBER, "timeUnixNano"),
    ({"startTimeUnixNano": "-1"}, Reason.NUMBER, "startTimeUnixNano"),
    ({"asInt": "9223372036854775808"}, Reason.NUMBER, "asInt"),
    ({"asInt": True}, Reason.STRUCTURE, "asInt"),
    ({"asDouble": "many"}, Reason.NUMBER, "asDouble"),
    ({"exemplars": [{"traceId": "ab"}]}, Reason.ID, "exemplars[0].traceId"),
    ({"exemplars": [{"spanId": "0" * 16}]}, Reason.ID, "exemplars[0].spanId"),
    ({"exemplars": [{"timeUnixNano": "1.5"}]}, Reason.NUMBER, "exemplars[0].timeUnixNano"),
    ({"exemplars": {}}, Reason.STRUCTURE, "exemplars"),
]
BAD_DATA: list[tuple[dict[str, Any], Reason, str]] = [
    ({"gauge": {"dataPoints": [point]}}, reason, f"gauge.dataPoints[0].{where}") for point, reason, where in BAD_POINTS
] + [
    ({"sum": {"isMonotonic": "true"}}, Reason.STRUCTURE, "sum.isMonotonic"),
    ({"sum": {"aggregationTemporality": "DELTA"}}, Reason.ENUM, "sum.aggregationTemporality"),
    ({"histogram": {"dataPoints": [{"count": "-1"}]}}, Reason.NUMBER, "histogram.dataPoints[0].count"),
    (
        {"histogram": {"dataPoints": [{"bucketCounts": ["1", "x"]}]}},
        Reason.NUMBER,
        "histogram.dataPoints[0].bucketCounts[1]",
    ),
    (
        {"exponentialHistogram": {"dataPoints": [{"negative": {"bucketCounts": [None]}}]}},
        Reason.STRUCTURE,
        "exponentialHistogram.dataPoints[0].negative.bucketCounts[0]",
    ),
    (
        {"exponentialHistogram": {"dataPoints": [{"scale": 2**31}]}},
        Reason.NUMBER,
        "exponentialHistogram.dataPoints[0].scale",
    ),
    ({"summary": {"dataPoints": [{"count": "x"}]}}, Reason.NUMBER, "summary.dataPoints[0].count"),
]
BAD_SPANS: list[tuple[dict[str, Any], Reason, str]] = [
    ({"traceId": TRACE[1:]}, Reason.ID, "traceId"),
    ({"traceId": TRACE + "00"}, Reason.ID, "traceId"),
    ({"traceId": "g" + TRACE[1:]}, Reason.ID, "traceId"),
    ({"traceId": " " + TRACE[1:]}, Reason.ID, "traceId"),
    ({"traceId": "  " + TRACE[2:]}, Reason.ID, "traceId"),
    ({"traceId": "W47/95gDgQPSabYzgT/GDA=="}, Reason.ID, "traceId"),
    ({"traceId": "0" * 32}, Reason.ID, "traceId"),
    ({"traceId": 7}, Reason.ID, "traceId"),
    ({"traceId": "\u0661" * 32}, Reason.ID, "traceId"),
    ({"spanId": "0" * 16}, Reason.ID, "spanId"),
    ({"spanId": SPAN[:-1], "parentSpanId": SPAN + "1"}, Reason.ID, "spanId"),
    ({"parentSpanId": "0" * 16}, Reason.ID, "parentSpanId"),
    ({"links": [{"traceId": "0" * 32}]}, Reason.ID, "links[0].traceId"),
    ({"links": [{}, {"spanId": "xyz"}]}, Reason.ID, "links[1].spanId"),
    ({"kind": "2"}, Reason.ENUM, "kind"),
    ({"kind": 1.5}, Reason.NUMBER, "kind"),
    ({"kind": 2**31}, Reason.NUMBER, "kind"),
    ({"status": {"code": "STATUS_CODE_ERROR"}}, Reason.ENUM, "status.code"),
    ({"startTimeUnixNano": ""}, Reason.NUMBER, "startTimeUnixNano"),
    ({"startTimeUnixNano": "1,2"}, Reason.NUMBER, "startTimeUnixNano"),
    ({"startTimeUnixNano": "\u0661"}, Reason.NUMBER, "startTimeUnixNano"),
    ({"endTimeUnixNano": "18446744073709551616"}, Reason.NUMBER, "endTimeUnixNano"),
    ({"endTimeUnixNano": -1}, Reason.NUMBER, "endTimeUnixNano"),
    ({"flags": 2**32}, Reason.NUMBER, "flags"),
    ({"flags": -1}, Reason.NUMBER, "flags"),
    ({"name": 5}, Reason.STRUCTURE, "name"),
    ({"attributes": {"a": "b"}}, Reason.STRUCTURE, "attributes"),
    ({"attributes": [None]}, Reason.STRUCTURE, "attributes[0]"),
    ({"attributes": [{"key": "a", "value": "b"}]}, Reason.STRUCTURE, "attributes[0].value"),
    ({"attributes": [{"value": {"stringValue": 1}}]}, Reason.STRUCTURE, "attributes[0].value.stringValue"),
    ({"attributes": [{"value": {"intValue": "1 "}}]}, Reason.NUMBER, "attributes[0].value.intValue"),
    ({"attributes": [{"value": {"intValue": "1\n"}}]}, Reason.NUMBER, "attributes[0].value.intValue"),
    ({"attributes": [{"value": {"boolValue": 1}}]}, Reason.STRUCTURE, "attributes[0].value.boolValue"),
    ({"attributes": [{"value": {"bytesValue": "Y"}}]}, Reason.STRUCTURE, "attributes[0].value.bytesValue"),
    ({"attributes": [{"value": {"bytesValue": "Y Q="}}]}, Reason.STRUCTURE, "attributes[0].value.bytesValue"),
    ({"events": [{"timeUnixNano": "1", "attributes": 1}]}, Reason.STRUCTURE, "events[0].attributes"),
    ({"events": [{"timeUnixNano": "soon"}]}, Reason.NUMBER, "events[0].timeUnixNano"),
]


@pytest.mark.parametrize(("span", "reason", "where"), BAD_SPANS)
def test_bad_fields_of_spans_are_found_with_their_place(span: dict[str, Any], reason: Reason, where: str) -> None:
    """Each known field, at each place, is looked at."""
    found = refused(traces(**span))

    assert found.reason == reason
    assert found.detail.startswith(f"resourceSpans[0].scopeSpans[0].spans[0].{where}: ")


@pytest.mark.parametrize(("metric", "reason", "where"), BAD_DATA)
def test_bad_fields_of_metrics_are_found_with_their_place(metric: dict[str, Any], reason: Reason, where: str) -> None:
    """All five kinds of metric data, and their exemplars."""
    found = refused(metrics(**metric))

    assert found.reason == reason
    assert found.detail.startswith(f"resourceMetrics[0].scopeMetrics[0].metrics[0].{where}: ")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"traceId": "0" * 32}, Reason.ID),
        ({"spanId": SPAN[2:]}, Reason.ID),
        ({"severityNumber": "SEVERITY_NUMBER_INFO"}, Reason.ENUM),
        ({"observedTimeUnixNano": "now"}, Reason.NUMBER),
        ({"body": "text"}, Reason.STRUCTURE),
    ],
)
def test_bad_fields_of_log_records_are_found(record: dict[str, Any], reason: Reason) -> None:
    """Log records have ids, enums, times and a body that is a value."""
    assert refused(logs(**record)).reason == reason


def test_details_do_not_tell_values() -> None:
    """What is wrong may be somebody's secret in the wrong place."""
    for value in ({"stringValue": ["hunter2"]}, {"intValue": "hunter2"}, {"bytesValue": "hunter2!"}, "hunter2"):
        assert "hunter2" not in refused(traces(attributes=[{"key": "password", "value": value}])).detail


@pytest.mark.parametrize("signal", ["traces", Signal.TRACES])
def test_join_cuts_exactly(signal: str) -> None:
    """White space, other keys in any order, brackets in strings and an escaped key do not disturb it."""
    lines = [
        b' { "a":[1] , "resourceSpans" : [ {"schemaUrl":"]}"} , {} ] ,"z":{"resourceSpans":[7]} } \r\n',
        b'{"resourceSpans":[]}\n',
        b'{"resourceSpans":[ ]}',
        b'{"resourceLogs":[{}]}\n',
        b'{"resource\\u0053pans":[{"schemaUrl":"\xc3\xa9"}]}\n',
    ]

    assert join(lines, signal) == b'{"resourceSpans":[ {"schemaUrl":"]}"} , {} ,{"schemaUrl":"\xc3\xa9"}]}'
    assert join([], signal) == b'{"resourceSpans":[]}'


@pytest.mark.parametrize("empty", [(), (0,), (63, 64), range(64), range(64, 128), range(130)])
def test_the_pieces_of_a_request_are_the_request(empty: Sequence[int]) -> None:
    """Whichever lines hold nothing, a whole piece's, the first or the last, the pieces make what one document holds."""
    lines = [
        b'{"resourceSpans":[]}\n' if number in empty else b'{"resourceSpans":[{"schemaUrl":"%d"}]}\n' % number
        for number in range(130)
    ]
    found = [int(one["schemaUrl"]) for one in json.loads(b"".join(pieces(lines, "traces")))["resourceSpans"]]

    assert found == [number for number in range(130) if number not in empty]
    assert join(lines, "traces") == b"".join(pieces(lines, "traces"))


@pytest.mark.parametrize(
    "odd", [b'{"resourceSpans":[]}\n', b'{"resourceSpans":[ ]}\n', b'{"resourceLogs":[{}]}\n',
            b'{"resourceSpans":[{}]} \n', b'{ "resourceSpans":[{"schemaUrl":"odd"}]}\n', b'{"resourceSpans":[{}]}'],
)  # fmt: skip
def test_lines_of_one_buffer_make_the_same_request(odd: bytes) -> None:
    """The way that copies no line and the one that looks at each give the same bytes, whatever one line is."""
    lines = [b'{"resourceSpans":[{"schemaUrl":"%d"}]}\n' % number for number in range(3)] + [odd]
    ends = list(accumulate(map(len, lines), initial=7))

    assert join(lines, "traces") == join(Lines(b"".join(lines), 7, list(pairwise(ends))), "traces")


def test_another_signals_name_is_a_mistake_of_the_caller() -> None:
    """Not of the data."""
    with pytest.raises(KeyError):
        join([], "profiles")


KEYS = {Signal.TRACES: "resourceSpans", Signal.LOGS: "resourceLogs", Signal.METRICS: "resourceMetrics"}
MAKERS = {Signal.TRACES: "trace_line", Signal.LOGS: "log_line", Signal.METRICS: "metric_line"}


@settings(deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(list(Signal)), unique=True), max_size=12),
    st.sampled_from([(",", ":"), (", ", ": "), (" , ", " :\t")]),
    st.integers(0, 2**32),
)
def test_split_and_join_keep_every_item(mixture: list[list[Signal]], separators: tuple[str, str], seed: int) -> None:
    """Lines of any mixture of signals, in any white space, give requests with all their items, in order."""
    maker = Signals(seed, errors=0.3)
    made: dict[Signal, list[Any]] = {signal: [] for signal in Signal}
    got: dict[Signal, list[bytes]] = {signal: [] for signal in Signal}
    for signals in mixture:
        document: dict[str, Any] = {}
        for signal in signals:
            document |= json.loads(getattr(maker, MAKERS[signal])())
            made[signal] += document[KEYS[signal]]
        found = passed(json.dumps(document, separators=separators).encode())
        assert found.canonical
        for signal, part in split(found).items():
            got[signal].append(part)

    for signal, lines in got.items():
        body = join(lines, signal)
        assert json.loads(body) == {KEYS[signal]: made[signal]}
        assert len(body) <= sum(map(len, lines)) + 22


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
@pytest.mark.parametrize("first", ["null", "7", '"text"', '[{"resource":[]}]', "{}"])
def test_of_a_key_that_comes_twice_the_last_value_counts(signal: str, first: str) -> None:
    """A first value that is not in order neither raises nor travels: the last one counts, as for JSON parsers."""
    good = {"traces": traces(), "logs": logs(), "metrics": metrics(gauge={"dataPoints": [{}]})}[signal]
    key = good[1 : good.index(b":") + 1]

    found = passed(b"{%b%b," % (key, first.encode()) + good[1:])

    assert json.loads(found.line) == json.loads(good)
    assert found.items == passed(good).items
    assert not found.canonical


def test_a_span_with_a_wrong_time_before_its_right_one_passes() -> None:
    """Deeper down it is the same."""
    good = traces(startTimeUnixNano="5")

    assert json.loads(passed(good.replace(b'"spanId"', b'"startTimeUnixNano":1,"spanId"')).line) == json.loads(good)


def test_joined_lines_keep_their_numbers() -> None:
    """The generator's own numbers are all in the request, in order."""
    body = join(list(Signals(1).trace_lines(20)), Signal.TRACES)

    assert list(range(20)) == list(sequences(body))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "0", "5", "-0", "007", "1e3", "NaN", TRACE, SPAN, "0" * 16, "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["key", "value", "values"]), inner),
    max_leaves=4,
)  # fmt: skip
FIELDS = """traceId spanId parentSpanId kind name startTimeUnixNano flags attributes events links status timeUnixNano
severityNumber body droppedAttributesCount gauge sum histogram dataPoints other"""
ITEM = st.dictionaries(st.sampled_from(FIELDS.split()), JSON, max_size=3)


@settings(deadline=None)
@given(st.sampled_from(["spans", "logRecords", "metrics"]), ITEM)
def test_the_fast_test_says_nothing_that_the_exact_one_does_not(key: str, item: dict[str, Any]) -> None:
    """Whatever is in an item: both give the same answer, and what they pass is canonical when looked at again."""
    top, scope = {
        "spans": ("resourceSpans", "scopeSpans"),
        "logRecords": ("resourceLogs", "scopeLogs"),
        "metrics": ("resourceMetrics", "scopeMetrics"),
    }[key]
    text = line({top: [{scope: [{key: [item]}]}]})

    found = check(text)

    assert found[:3] == envelope._check_slowly(text)[:3]
    if isinstance(found, Checked):
        again = check(found.line)
        assert isinstance(again, Checked)
        assert again[:3] == (found.line, found.items, True)
