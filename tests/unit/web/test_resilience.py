"""Delivery in numbers, as `/health` of a running agent has it: while all is well, in an outage, afterwards."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.control import ForwardStatus
from agent.web.probes import resilience
from tests.support.hostile import Hostile, Say, serving
from tests.support.program import AGENT, Program
from tests.support.yard import LEAF, numbers, once, span, spans

CONFIG = """
[agent]
service_name = "shop"
[[forward]]
name = "out"
endpoints = ["{url}"]
[forward.batch]
max_delay = "50ms"
[forward.retry]
initial = "20ms"
maximum = "50ms"
[forward.breaker]
failures = 2
recovery = "1s"
"""
COUNTS = ("total_exports", "successful_exports", "failed_exports", "fallback_usage", "circuit_breaker_trips")
FIELDS = {*COUNTS, "success_rate", "buffer_size", "last_export_success", "last_export_failure"}

Numbers = dict[str, Any]


@pytest.fixture
def server() -> Iterator[Hostile]:
    """A receiver that takes everything until it is told otherwise."""
    with serving() as hostile:
        yield hostile


@pytest.fixture
def program(tmp_path: Path, server: Hostile) -> Iterator[Program]:
    """A running agent that forwards to it; its breaker opens at the second failure."""
    config = tmp_path / "agent.toml"
    config.write_text(CONFIG.format(url=server.url), "utf-8")
    with Program((*AGENT, "--config", str(config)), tmp_path / "watched", {}) as running:
        running.wait_ready()
        yield running


def health(program: Program) -> Numbers:
    """The whole answer."""
    answer: Numbers = json.loads(program.get("/health")[1])
    return answer


def complaints(program: Program) -> list[str]:
    """What the answer says is wrong with delivery."""
    return [issue for issue in health(program)["issues"] if issue.startswith("forward out")]


def append(program: Program, tmp_path: Path, data: bytes, done: Callable[[Numbers], bool]) -> Numbers:
    """Write to a live file, and wait until its numbers are so; what they are then."""
    with (tmp_path / "watched" / LEAF).open("ab") as file:
        file.write(data)
    return wait(program, done)


def wait(program: Program, done: Callable[[Numbers], bool]) -> Numbers:
    """Ask again until the numbers are so."""
    end = time.monotonic() + 60
    while True:
        found: Numbers = health(program)["resilience_metrics"]
        assert FIELDS == set(found)
        if done(found):
            return found
        program.check_alive()
        assert time.monotonic() < end, (found, program.output())
        time.sleep(0.02)


def counts(found: Numbers) -> tuple[int, ...]:
    """Total, successful, failed, waited, trips."""
    return tuple(found[name] for name in COUNTS)


def test_before_anything_is_sent_nothing_has_failed(program: Program, server: Hostile) -> None:
    """Every field is there, the times are null, and the receiver and the service are named."""
    answer = health(program)
    found = answer["resilience_metrics"]

    assert FIELDS == set(found)
    assert (0, 0, 0, 0, 0) == counts(found)
    assert (1.0, 0) == (found["success_rate"], found["buffer_size"])
    assert (None, None) == (found["last_export_success"], found["last_export_failure"])
    assert (server.url, "shop") == (answer["collector_endpoint"], answer["service_name"])


def test_an_outage_is_seen_from_its_beginning_to_its_end(program: Program, server: Hostile, tmp_path: Path) -> None:
    """A success, an outage with an open breaker, and the recovery: each field says what it is documented to say."""
    begun = time.time()
    well = append(program, tmp_path, spans(0, 3), lambda now: now["total_exports"] == 1 and not now["buffer_size"])
    assert (1, 1, 0, 0, 0) == counts(well)
    assert (1.0, None) == (well["success_rate"], well["last_export_failure"])
    assert begun <= well["last_export_success"] <= time.time()

    server.will(Say(503))
    out = append(program, tmp_path, spans(3, 8), lambda now: now["fallback_usage"] > 0)
    assert (1, 1, 0, 1, 1) == counts(out)  # what is tried again has not failed yet
    assert (1.0, len(spans(3, 8))) == (out["success_rate"], out["buffer_size"])
    assert well["last_export_success"] == out["last_export_success"]
    assert out["last_export_success"] < out["last_export_failure"] <= time.time()
    assert complaints(program)

    server.will(Say())
    again = wait(program, lambda now: not now["buffer_size"])
    assert (2, 2, 0, 1, 1) == counts(again)
    assert again["last_export_failure"] < again["last_export_success"] <= time.time()
    assert once(0, 8) == numbers(heard.body for heard in server.heard[:1] + server.heard[-1:])
    assert [] == complaints(program)


def test_what_is_refused_for_good_is_a_failed_export(program: Program, server: Hostile, tmp_path: Path) -> None:
    """It waits no longer, its time is that of a failure, and the share of what ended well is lower."""
    append(program, tmp_path, span(0), lambda now: now["total_exports"] == 1 and not now["buffer_size"])
    server.will(Say(400))
    found = append(program, tmp_path, span(1), lambda now: now["total_exports"] == 2 and not now["buffer_size"])

    assert (2, 1, 1, 0, 0) == counts(found)
    assert 0.5 == found["success_rate"]
    assert found["last_export_success"] < found["last_export_failure"]


def test_an_agent_that_forwards_nothing_has_no_numbers(tmp_path: Path) -> None:
    """Null instead of zeros that look well, and no receiver."""
    with Program(AGENT, tmp_path / "watched", {}) as program:
        program.wait_ready()
        answer = health(program)

    assert (None, "") == (answer["resilience_metrics"], answer["collector_endpoint"])


def status(**given: Any) -> ForwardStatus:
    """A forward's numbers: zeros, but for these."""
    zeros = dict.fromkeys(
        ("trips", "read", "delivered", "dead_lettered", "empty", "filtered", "dropped_items", "unsettled", "in_flight",
         "exports", "successful_exports", "failed_exports", "retries", "rejected_items", "sent_bytes",
         "unreadable_bytes", "waited_batches", "backlog_bytes", "lag_seconds"),
        0,
    )  # fmt: skip
    words = {"name": "out", "kind": "otlp", "destination": "http://a", "breaker": "closed"}
    return ForwardStatus(**{**zeros, **words, **given})


def test_all_forwards_are_told_of_together() -> None:
    """Counts and bytes are sums; of the times the newest counts, whichever forward's it is."""
    one = status(exports=3, successful_exports=2, backlog_bytes=10, waited_batches=1, trips=1, last_success=5.0)
    two = status(exports=1, successful_exports=1, backlog_bytes=5, waited_batches=2, trips=3, last_failure=7.0)
    found = resilience([one, two])

    assert found is not None
    assert (4, 3, 1, 0.75) == (
        found.total_exports, found.successful_exports, found.failed_exports, found.success_rate,
    )  # fmt: skip
    assert (15, 3, 4) == (found.buffer_size, found.fallback_usage, found.circuit_breaker_trips)
    assert (5.0, 7.0) == (found.last_export_success, found.last_export_failure)
