"""Filter, sample, limit, add: each rule on documents, and the order of all of them."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from agent.config.processing import Filter, Limit, Redact, Sample
from agent.kit.units import Duration, Share
from agent.otlp.add import Adding
from agent.otlp.filter import Filtering
from agent.otlp.limit import Limiting
from agent.otlp.process import Chain, Processed, Step
from agent.otlp.redact import Redacting
from agent.otlp.sample import Sampling
from tests.support.signals import Signals

SPAN = {"name": "x"}


def pairs(**values: str) -> list[dict[str, Any]]:
    """Attributes."""
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


def traces(*spans: dict[str, Any], **attributes: str) -> dict[str, Any]:
    """A request of one resource."""
    resource = {"attributes": pairs(**attributes)}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}


def run(document: dict[str, Any], items: int, *steps: Step) -> tuple[dict[str, Any], Processed]:
    """What the steps leave of a document."""
    done = Chain(steps)(json.dumps(document).encode(), items)
    return json.loads(done.line or b"{}"), done


def names(document: dict[str, Any]) -> list[str]:
    """The names of all spans."""
    return [
        span["name"]
        for one in document.get("resourceSpans", ())
        for scope in one["scopeSpans"]
        for span in scope["spans"]
    ]


# -- filter


@pytest.mark.parametrize(
    ("include", "exclude", "left"),
    [
        (("project=alpha",), (), [1, 2]),
        (("project=alpha", "service=c*"), (), [1]),
        (("project=alpha", "project=be??"), (), [1, 2, 3]),
        ((), ("project=alpha",), [3, 4]),
        (("project=*",), ("service=cart",), [2, 3]),
        (("missing=*",), (), []),
        (("project=ALPHA",), (), []),
    ],
)
def test_filter_keeps_projects_apart(include: tuple[str, ...], exclude: tuple[str, ...], left: list[int]) -> None:
    """Resources that match, with their spans, log records and points; the others' items are counted."""
    places = [("alpha", "cart"), ("alpha", "shop"), ("beta", "shop"), ("", "shop")]
    document: dict[str, Any] = {"resourceSpans": [], "resourceLogs": [], "resourceMetrics": []}
    for number, (project, service) in enumerate(places, 1):
        given = {"project": project, "service": service} if project else {"service": service}
        resource = {"attributes": pairs(**given)}
        item = {"name": f"n{number}"}
        point = {"name": f"n{number}", "sum": {"dataPoints": [{}, {}]}}
        document["resourceSpans"].append({"resource": resource, "scopeSpans": [{"spans": [item]}]})
        document["resourceLogs"].append({"resource": resource, "scopeLogs": [{"logRecords": [item, item]}]})
        document["resourceMetrics"].append({"resource": resource, "scopeMetrics": [{"metrics": [point]}]})
    after, done = run(document, 20, Filtering(Filter(include=include, exclude=exclude)))

    assert [f"n{number}" for number in left] == names(after)
    assert 5 * len(left) == done.items
    assert 20 - 5 * len(left) == done.dropped.get("filter", 0)
    text = done.line.decode()
    assert all((f'"n{number}"' in text) == (number in left) for number in range(1, 5))


def test_filter_judges_every_value_of_a_key() -> None:
    """A project that hides behind another one's name is not let in, nor let past."""
    both = [*pairs(project="alpha"), *pairs(project="beta")]
    document = {"resourceSpans": [{"resource": {"attributes": both}, "scopeSpans": [{"spans": [SPAN]}]}]}

    assert b"" == run(document, 1, Filtering(Filter(include=("project=alpha",))))[1].line
    assert b"" == run(document, 1, Filtering(Filter(exclude=("project=alpha",))))[1].line


def test_filter_reads_plain_values_of_any_kind() -> None:
    """Numbers and booleans as text; a list matches nothing, a resource without attributes is none of a project."""
    for value, text in (({"intValue": "7"}, "7"), ({"boolValue": True}, "true"), ({"arrayValue": {}}, "")):
        resource = {"attributes": [{"key": "k", "value": value}]}
        document = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [SPAN]}]}]}
        assert run(document, 1, Filtering(Filter(include=(f"k={text}",))))[1].line
    assert b"" == run({"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]}, 1,
                      Filtering(Filter(include=("k=*",))))[1].line  # fmt: skip


# -- sample


def sampled(ratio: str, **rules: Any) -> Sampling:
    """With this share."""
    return Sampling(Sample(ratio=Share(ratio), **rules))


@pytest.mark.parametrize(
    ("last", "kept"), [("00000000000000", False), ("bfffffffffffff", False), ("c0000000000000", True), ("F" * 14, True)]
)
def test_sample_compares_56_bits_with_the_threshold(last: str, kept: bool) -> None:
    """W3C Trace Context, level 2: for a quarter the threshold is 0xc0000000000000; what stands before is no matter."""
    for first in ("0" * 17 + "1", "f" * 18):
        document, _ = run(traces({"name": "x", "traceId": first + last}), 1, sampled("25%"))
        assert kept == bool(names(document))


def test_sample_takes_explicit_randomness_before_the_id() -> None:
    """`rv` of the `ot` entry in tracestate, and nothing that only looks like it."""
    low = {"name": "x", "traceId": "f" * 18 + "0" * 14}
    for state, kept in (
        ("ot=rv:ffffffffffffff", True), ("a=b,ot=th:c;rv:ffffffffffffff", True),
        (" a=b, ot=rv:ffffffffffffff;x:y", True),
        ("xot=rv:ffffffffffffff", False), ("a=rv:ffffffffffffff", False), ("ot=rv:fff", False), ("", False),
    ):  # fmt: skip
        assert kept == bool(names(run(traces(low | {"traceState": state}), 1, sampled("25%"))[0])), state


def test_sample_keeps_its_share_and_smaller_shares_are_part_of_larger_ones() -> None:
    """Of 20,000 random traces; a share of a share is the smaller one."""
    rng = random.Random(7)
    ids = [f"{rng.getrandbits(128):032x}" for _ in range(20_000)]

    def kept(ratio: str, among: list[str]) -> list[str]:
        spans = [{"name": one, "traceId": one} for one in among]
        return names(run(traces(*spans), len(spans), sampled(ratio))[0])

    tenth, half = kept("10%", ids), kept("50%", ids)
    assert 1_800 < len(tenth) < 2_200
    assert set(tenth) <= set(half)
    assert tenth == kept("10%", half)


def test_sample_keeps_errors_and_slow_spans_with_what_the_record_has_of_their_trace() -> None:
    """Not the same spans elsewhere: nobody knows them when a record is sent."""
    low, other = "f" * 18 + "0" * 14, "f" * 18 + "0" * 13 + "1"
    ok = {"name": "a", "traceId": low, "startTimeUnixNano": "5", "endTimeUnixNano": "1000000004"}
    failed = ok | {"name": "b", "status": {"code": 2}}
    slow = ok | {"name": "c", "endTimeUnixNano": "1000000005"}
    apart = ok | {"name": "d", "traceId": other.upper()}

    def left(*spans: dict[str, Any], **rules: Any) -> list[str]:
        return names(run(traces(*spans), len(spans), sampled("1%", **rules))[0])

    assert [] == left(ok, apart)
    assert ["a", "b"] == left(ok, failed, apart)
    assert [] == left(ok, failed, errors=False)
    assert ["c"] == left(slow, apart, slow=Duration("1s"))
    assert [] == left(ok, slow=Duration("1s"))


def test_sample_leaves_alone_what_belongs_to_no_trace() -> None:
    """Spans without an id, metrics, and log records unless they are asked for; errors in logs are kept."""
    low = "f" * 18 + "0" * 14
    records = [
        {"eventName": "a", "traceId": low}, {"eventName": "b"},
        {"eventName": "c", "traceId": low[:-1] + "1", "severityNumber": 17},
    ]  # fmt: skip
    document = {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}

    assert ["x"] == names(run(traces({"name": "x", "traceId": ""}), 1, sampled("1%"))[0])
    assert {} == run(document, 3, sampled("1%"))[1].dropped
    after, done = run(document, 3, sampled("1%", logs=True))
    assert ["b", "c"] == [one["eventName"] for one in after["resourceLogs"][0]["scopeLogs"][0]["logRecords"]]
    assert {"sample": 1} == done.dropped


def test_sample_leaves_no_empty_envelopes() -> None:
    """Scopes and resources without spans are gone; a record without any is nothing."""
    low, high = "f" * 18 + "0" * 14, "f" * 32
    document = traces({"name": "a", "traceId": low})
    assert b"" == run(document, 1, sampled("50%"))[1].line
    document["resourceSpans"] += traces({"name": "b", "traceId": high})["resourceSpans"]
    after, done = run(document, 2, sampled("50%"))
    assert (1, ["b"], 1, {"sample": 1}) == (len(after["resourceSpans"]), names(after), done.items, done.dropped)


# -- limit


def test_limit_keeps_the_first_and_counts_the_rest() -> None:
    """As OTLP says, upon what was dropped before; events, links and log records have attributes of their own."""
    many = pairs(a="1", b="2", c="3")
    span = {
        "name": "x", "attributes": many, "droppedAttributesCount": 4,
        "events": [{"name": "e1", "attributes": many}, {"name": "e2"}, {"name": "e3"}],
        "links": [{"attributes": many}, {}, {}, {}],
    }  # fmt: skip
    rules = Limiting(Limit(attributes=2, events=1, links=3))
    after, done = run(traces(span, project="p", service="s", third="t"), 1, rules)
    (found,) = after["resourceSpans"][0]["scopeSpans"][0]["spans"]

    assert (5, 2, 1) == tuple(found[f"dropped{one}Count"] for one in ("Attributes", "Events", "Links"))
    assert (["a", "b"], ["e1"], 3) == (
        [one["key"] for one in found["attributes"]], [one["name"] for one in found["events"]], len(found["links"]),
    )  # fmt: skip
    assert [1, 1] == [found[one][0]["droppedAttributesCount"] for one in ("events", "links")]
    assert 3 == len(after["resourceSpans"][0]["resource"]["attributes"])
    assert (1, {}) == (done.items, done.dropped)
    logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"attributes": many}]}]}]}
    (record,) = run(logs, 1, rules)[0]["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert (1, 2) == (record["droppedAttributesCount"], len(record["attributes"]))


def test_limit_counts_stay_within_their_32_bits() -> None:
    """A count that is full stays full."""
    span = {"name": "x", "attributes": pairs(a="1", b="2"), "droppedAttributesCount": 2**32 - 1}
    after, _ = run(traces(span), 1, Limiting(Limit(attributes=1)))
    assert 2**32 - 1 == after["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["droppedAttributesCount"]


def test_limit_cuts_long_values_at_any_depth() -> None:
    """Characters of texts, bytes of bytes; not the body of a log record, nor what is short enough."""
    text = {"stringValue": "äöü€x"}
    inner = {"arrayValue": {"values": [text, {"kvlistValue": {"values": [{"key": "k", "value": text}]}}]}}
    values = [text, inner, {"bytesValue": "AQIDBAU="}, {"bytesValue": "AQID"}, {"intValue": "123456"}]
    record = {"body": text, "attributes": [{"key": "a", "value": value} for value in values]}
    after, _ = run({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}, 1, Limiting(Limit(value_length=3)))
    (found,) = after["resourceLogs"][0]["scopeLogs"][0]["logRecords"]

    short = {"stringValue": "äöü"}
    nested = {"arrayValue": {"values": [short, {"kvlistValue": {"values": [{"key": "k", "value": short}]}}]}}
    expected = [short, nested, {"bytesValue": "AQID"}, {"bytesValue": "AQID"}, {"intValue": "123456"}]
    assert expected == [one["value"] for one in found["attributes"]]
    assert text == found["body"]
    assert "droppedAttributesCount" not in found


# -- add


def test_add_says_where_it_comes_from() -> None:
    """On every resource of every signal, also one that has none; what is there stays, unless it is overwritten."""
    document = traces(SPAN, host="theirs") | {"resourceLogs": [{"scopeLogs": [{"logRecords": [{}]}]}]}
    for overwrite, host in ((False, "theirs"), (True, "ours")):
        after, _ = run(document, 2, Adding({"host": "ours", "pod": "p"}, overwrite=overwrite))
        assert sorted(map(str, pairs(host=host, pod="p"))) == sorted(
            map(str, after["resourceSpans"][0]["resource"]["attributes"])
        )
        assert pairs(host="ours", pod="p") == after["resourceLogs"][0]["resource"]["attributes"]


# -- all of them


def test_a_secret_is_found_before_values_are_cut() -> None:
    """Half of a card's number is not let out by a limit."""
    span = {"name": "x", "attributes": pairs(note="card 4111111111111111")}
    steps = (Redacting(Redact(defaults=True)), Limiting(Limit(value_length=12)))
    _, done = run(traces(span), 1, *steps)
    assert b"4111" not in done.line


def test_numbers_keep_their_digits() -> None:
    """Integers, doubles and unknown fields come out as they went in."""
    line = (
        b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"sum":{"dataPoints":[{"asDouble":0.10000000000000000555,'
        b'"count":"18446744073709551615","x":1e300}]}}]}]}]}\n'
    )
    assert line == Chain([Limiting(Limit(attributes=1))])(line, 1).line.replace(b"1E+300", b"1e300")


def test_generated_telemetry_survives_all_steps() -> None:
    """The same bytes each time, and every item accounted for."""
    steps = [
        Filtering(Filter(exclude=("service.name=cart",))), sampled("50%"), Redacting(Redact(defaults=True)),
        Limiting(Limit(attributes=5, value_length=16)), Adding({"host.name": "h"}, overwrite=True),
    ]  # fmt: skip
    lines = [*Signals(3).trace_lines(50), *Signals(3).log_lines(50), *Signals(3).metric_lines(50)]
    first, again = ([Chain(steps)(line, 4) for line in lines] for _ in range(2))

    assert first == again
    assert {"filter", "sample"} == {reason for one in first for reason in one.dropped}
