"""Cases of delivery that a real process must pass: what is too large, and a destination that is dead all the while."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.hostile import Heard, Hostile, Say, serving
from tests.support.program import AGENT, Program
from tests.support.yard import LEAF, bodies, letters, numbers, once, span, spans

FORWARD = """
[[forward]]
name = "{name}"
endpoints = ["{url}"]
[forward.batch]
max_delay = "50ms"
[forward.retry]
initial = "20ms"
maximum = "100ms"
[forward.breaker]
recovery = "200ms"
"""


@pytest.fixture
def server() -> Iterator[Hostile]:
    """A server that takes everything until it is told otherwise."""
    with serving() as hostile:
        yield hostile


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """The directory."""
    directory = tmp_path / "watched"
    directory.mkdir()
    return directory


def agent(watched: Path, text: str) -> Program:
    """A running agent with this configuration."""
    config = watched.parent / "agent.toml"
    config.write_text(text, "utf-8")
    return Program((*AGENT, "--config", str(config)), watched, {})


def until(program: Program, done: Callable[[], bool], seconds: float = 90) -> None:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not done():
        program.check_alive()
        assert time.monotonic() < end, program.output()
        time.sleep(0.02)


def forwards(program: Program) -> dict[str, dict[str, Any]]:
    """Each forward's status, by name."""
    code, text = program.get("/api/v1/status")
    return {one["name"]: one for one in json.loads(text)["forwards"]} if code == 200 else {}


def append(watched: Path, data: bytes) -> None:
    """Write to the live file."""
    with (watched / LEAF).open("ab") as file:
        file.write(data)


class _Fussy(Hostile):
    """Finds everything too large that holds the record number 5."""

    def next(self, heard: Heard) -> Say:
        """413 for it."""
        super().next(heard)
        return Say(413) if b'"n5"' in heard.body else Say()


def test_case_18_what_alone_is_too_large_is_found(watched: Path, server: Hostile) -> None:
    """Case 18: of 8 records 7 arrive, the one is a dead letter, `dead-letters` tells of it, and requests end."""
    server.__class__ = _Fussy
    append(watched, spans(0, 8))
    with agent(watched, FORWARD.format(name="out", url=server.url)) as program:
        until(program, lambda: forwards(program).get("out", {}).get("dead_lettered") == 1)
        until(program, lambda: not forwards(program)["out"]["unsettled"])
        count = len(server.heard)
        assert 1 == program.output().count('"error_class":"too_large"')

    taken = [body for body in bodies(server) if b'"n5"' not in body]
    assert Counter(number for number in range(8) if number != 5) == numbers(taken)
    assert [span(5).decode()] == [one["record"] for one in letters(watched)]
    assert count == len(server.heard)


def test_case_23_a_dead_destination_costs_the_other_nothing(watched: Path, server: Hostile) -> None:
    """Case 23: B has each record while A takes none; A's segments stay until A has them too, then they go."""
    server.will(Say(503))
    rules = '[rotation]\nmax_size = "4KiB"\n[retention]\nkeep = 1\nmax_age = ""\n'
    with serving() as other:
        text = rules + FORWARD.format(name="a", url=server.url) + FORWARD.format(name="b", url=other.url)
        with agent(watched, text) as program:
            for first in range(0, 400, 100):
                append(watched, spans(first, first + 100))
                until(program, lambda first=first: first + 99 in numbers(bodies(other)))
                until(program, lambda: not _live(program))
            assert len(list(watched.glob("*.gz"))) >= 4
            assert 0 == forwards(program)["a"]["delivered"]
            assert "unhealthy" != json.loads(program.get("/health")[1])["status"]
            server.will(Say())
            until(program, lambda: forwards(program)["a"]["backlog_bytes"] == 0)
            append(watched, spans(400, 500))
            until(program, lambda: not any(one["backlog_bytes"] for one in forwards(program).values()))
            until(program, lambda: 499 in numbers(bodies(other)) and not _live(program))
            until(program, lambda: len(list(watched.glob("*.gz"))) <= 2)
            assert 1 == program.output().count('"error_class":"unavailable"')
            assert "delivery works again" in program.output()

        assert once(0, 500) == numbers(bodies(other))
    taken = [heard.body for heard in server.heard if heard.body]
    assert set(range(500)) == set(numbers(taken))


def _live(program: Program) -> int:
    """Bytes that are not sealed yet."""
    code, text = program.get("/api/v1/status")
    return sum(one["live_bytes"] for one in json.loads(text)["streams"]) if code == 200 else 1


def test_case_23_what_policy_gives_up_is_lost_by_name(watched: Path, server: Hostile) -> None:
    """Case 23: with drop_oldest retention may go on: in metrics and audit trail as lost, reason `unsent`."""
    server.will(Say(503))
    rules = '[rotation]\nmax_size = "4KiB"\n[retention]\nkeep = 1\nmax_age = ""\n'
    unsent = '[forward.unsent]\nwhen_full = "drop_oldest"\nmax_bytes = "1KiB"\n'
    with agent(watched, rules + FORWARD.format(name="a", url=server.url) + unsent) as program:
        for first in range(0, 300, 100):
            append(watched, spans(first, first + 100))
            until(program, lambda: not _live(program) and program.get("/readyz")[0] == 200)
        until(program, lambda: len(list(watched.glob("*.gz"))) <= 1)
        until(program, lambda: len(spans(0, 100)) <= _lost(program) == _audited(watched))


def _lost(program: Program) -> float:
    """Bytes lost because nobody had taken them, as the metrics have it."""
    lines = program.get("/metrics")[1].splitlines()
    told = [line for line in lines if line.startswith("telemetry_agent_lost_bytes_total{") and '"unsent"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in told)


def _audited(watched: Path) -> int:
    """The same, as the audit trail has it."""
    trail = [json.loads(line) for line in (watched / ".telemetry-agent/audit.jsonl").read_text("utf-8").splitlines()]
    return sum(one["bytes"] for one in trail if one["event"] == "loss" and one["reason"] == "unsent")
