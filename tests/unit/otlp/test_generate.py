import gzip
import json
from typing import Any

import pytest

from agent.otlp.generate import Generator
from tests.support.clock import ManualClock
from tests.support.signals import Signals, sequence


def spans(line: bytes) -> list[dict[str, Any]]:
    """All spans of a line."""
    return [
        span
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


KINDS = pytest.mark.parametrize("kind", ["trace_lines", "log_lines", "metric_lines"])


@KINDS
def test_a_seed_gives_the_same_lines_again_and_another_seed_others(kind: str) -> None:
    """Everything in a line comes from the seed and the arguments."""
    first, again, other = (b"".join(getattr(Signals(seed), kind)(50)) for seed in (7, 7, 8))

    assert first == again
    assert first != other


@KINDS
def test_each_line_is_one_json_document_with_a_number_of_its_own(kind: str) -> None:
    """Numbers grow by one a line, whatever the line is about, and no line has a line break inside."""
    lines = list(getattr(Signals(1, first=40, errors=0.5), kind)(100))

    assert list(range(40, 140)) == [sequence(line) for line in lines]
    assert [line.count(b"\n") for line in lines] == [1] * 100
    assert all(isinstance(json.loads(line), dict) and line.endswith(b"}\n") for line in lines)


def test_numbers_run_on_through_all_signals() -> None:
    """One generator may write a mixed file: the numbers count lines, not lines of a signal."""
    maker = Signals()

    assert [
        sequence(line) for line in (maker.log_line(), maker.trace_line(), maker.metric_line(), maker.log_line())
    ] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"key":"telemetry_agent.sequence","value":{"intValue":"17"}}', 17),
        (b'{"key": "telemetry_agent.sequence", "value": {"intValue": 18}}', 18),
        (b'{"key":"telemetry_agent.sequence","value":{"stringValue":"17"}}', None),
        (b'{"key":"telemetry_agentXsequence","value":{"intValue":"17"}}', None),
        (b"", None),
    ],
)
def test_the_number_is_found_by_its_key(line: bytes, expected: int | None) -> None:
    """Also with the white space of another encoder or as a JSON number; other lines have none."""
    assert expected == sequence(line)


def test_spans_of_a_trace_are_a_tree_with_children_inside_their_parents() -> None:
    """One trace id a line, one root, every parent present, times nested and ids all different."""
    for line in Signals(3, errors=0.3).trace_lines(300):
        found = {span["spanId"]: span for span in spans(line)}
        children = [span for span in found.values() if span["parentSpanId"]]

        assert len(found) == len(spans(line)) == len(children) + 1
        assert len({span["traceId"] for span in found.values()}) == 1
        for span in children:
            parent = found[span["parentSpanId"]]
            times = [
                int(time)
                for time in (
                    parent["startTimeUnixNano"],
                    span["startTimeUnixNano"],
                    span["endTimeUnixNano"],
                    parent["endTimeUnixNano"],
                )
            ]
            assert sorted(times) == times


@pytest.mark.parametrize(("errors", "expected"), [(0.0, 0), (1.0, 200)])
def test_errors_is_the_share_of_failed_requests(errors: float, expected: int) -> None:
    """A failed request has status code 2 (ERROR) at the root and an exception event where it failed."""
    lines = [spans(line) for line in Signals(2, errors=errors).trace_lines(200)]

    assert expected == sum(line[0].get("status") == {"code": 2} for line in lines)
    assert expected == sum(any(e["name"] == "exception" for s in line for e in s.get("events", [])) for line in lines)


def test_delay_is_the_median_duration_of_a_request() -> None:
    """Half of the requests take longer than `delay`, within the noise of 2,001 draws."""
    roots = [spans(line)[0] for line in Signals(4, delay=0.2).trace_lines(2001)]
    durations = sorted((int(s["endTimeUnixNano"]) - int(s["startTimeUnixNano"])) / 1e9 for s in roots)

    assert 0.19 < durations[1000] < 0.21


def test_a_clock_gives_the_times() -> None:
    """A request ends now (to a millisecond), by the clock that was given."""
    root = spans(Generator(clock=ManualClock(1_800_000_000.0)).trace_line())[0]

    assert int(root["endTimeUnixNano"]) // 1_000_000 == 1_800_000_000_000


def test_metrics_are_cumulative() -> None:
    """A service's request count only grows, and its histogram's buckets add up to its count."""
    before = 0
    for line in Signals(5, services=["one"]).metric_lines(50):
        metrics = json.loads(line)["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
        point = metrics[0]["histogram"]["dataPoints"][0]

        assert before + 1 == int(point["count"]) == sum(int(number) for number in point["bucketCounts"])
        before = int(point["count"])


def test_traces_compress_like_real_ones() -> None:
    """Between 7 and 9.5 times under gzip -6: OTLP-JSON of real applications has about 8."""
    raw = b"".join(Signals(6).trace_lines(3000))

    assert 7 < len(raw) / len(gzip.compress(raw, 6)) < 9.5


@pytest.mark.parametrize(
    "arguments",
    [
        {"services": []},
        {"services": ["a%b"]},
        {"errors": -0.1},
        {"errors": 1.1},
        {"delay": -1},
        {"delay": float("inf")},
        {"delay": float("nan")},
        {"first": -1},
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, Any]) -> None:
    """They are a caller's mistake, told at once."""
    with pytest.raises(ValueError, match="must be"):
        Generator(**arguments)
