"""Generated load: exact numbers of spans, in the rhythm that was asked for, marked as nobody's."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from agent.otlp.envelope import Checked, check
from agent.rehearsal import load
from agent.rehearsal.load import Load


class Hands:
    """A clock that moves by itself at each look."""

    def __init__(self, step: float) -> None:
        self._step = step
        self.at = 0.0

    def now(self) -> float:
        """Wall time."""
        return 1_800_000_000.0 + self.at

    def monotonic(self) -> float:
        """Steady time, which goes on."""
        self.at += self._step
        return self.at

    def sleep(self, seconds: float) -> None:
        """Not used here."""


class Impatient(threading.Event):
    """An event whose waits cost nothing."""

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - as threading's
        """At once."""
        return self.is_set()


def written(wanted: Load, step: float = 0.01) -> tuple[list[bytes], list[tuple[float, int]]]:
    """The lines, and when how many spans were there."""
    lines: list[bytes] = []
    course: list[tuple[float, int]] = []
    clock = Hands(step)

    def wrote(spans: int, length: int) -> None:
        assert length == len(lines[-1])
        course.append((clock.at, (course[-1][1] if course else 0) + spans))

    load.write(wanted, lines.append, wrote, clock, Impatient())
    return lines, course


def spans(line: bytes) -> list[dict[str, Any]]:
    """The spans of a line."""
    (resource,) = json.loads(line)["resourceSpans"]
    return [span for scope in resource["scopeSpans"] for span in scope["spans"]]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 7, 100])
def test_a_load_has_exactly_so_many_spans(number: int) -> None:
    """Also where they don't come out even; each line may travel, and says that it is a test's."""
    lines, course = written(Load(spans=number, due=load.at_once, errors=0.5))

    assert number == sum(len(spans(line)) for line in lines) == course[-1][1]
    assert all(isinstance(found := check(line), Checked) and found.canonical for line in lines)
    assert all(b'"stringValue":"telemetry-agent-test"' in line for line in lines)


def test_two_loads_have_no_trace_in_common() -> None:
    """Whoever keeps both can tell them apart."""
    ids = [{spans(line)[0]["traceId"] for line in written(Load(spans=50, due=load.at_once))[0]} for _ in range(2)]

    assert set() == ids[0] & ids[1]


@pytest.mark.parametrize(
    ("due", "least", "most"),
    [
        (load.steadily(10), lambda at: 10 * at - 1, lambda at: 10 * at + 5),
        (load.in_bursts(10, 5), lambda at: 50 * (at // 5) - 1, lambda at: 50 * (at // 5 + 1) + 4),
    ],
)
def test_the_rhythm_is_kept(
    due: Callable[[float, int, int], bool], least: Callable[[float], float], most: Callable[[float], float]
) -> None:
    """At each moment there are as many spans as the rate says, but for one trace."""
    _, course = written(Load(spans=200, due=due), step=0.001)

    assert all(least(at) <= number <= most(at) for at, number in course)
    assert 13 < course[-1][0] < 22


def test_requests_come_one_after_the_other_and_some_fail() -> None:
    """The delay is both their duration and the time between two."""
    lines, course = written(load.requests(200, 0.1, errors=True), step=0.001)
    failed = [line for line in lines if any(span.get("status", {}).get("code") == 2 for span in spans(line))]

    assert 0.09 * len(lines) < course[-1][0] < 0.12 * len(lines)
    assert 1 <= len(failed) < len(lines) / 2
    assert [] == [line for line in written(load.requests(200, 0, errors=False))[0] if b'"code":2' in line]


def test_a_load_ends_when_it_is_told_to() -> None:
    """Between two lines, also while it waits for the next one's time."""
    lines: list[bytes] = []
    stop = threading.Event()

    def put(line: bytes) -> None:
        lines.append(line)
        stop.set()

    load.write(Load(spans=1000, due=load.one_by_one(3600)), put, lambda *_: None, Hands(0.01), stop)
    assert 1 == len(lines)
