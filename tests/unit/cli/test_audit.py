from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.audit import Audit
from agent.cli.audit import line
from agent.cli.tail import _entries, tail
from agent.kit.disk import Directory
from tests.support.clock import ManualClock
from tests.unit.cli.conftest import Stage


@pytest.fixture
def state(stage: Stage) -> Iterator[Directory]:
    """The state directory of the stage."""
    stage.state.mkdir()
    with Directory.open(str(stage.state)) as directory:
        yield directory


def test_a_line_tells_when_what_where_and_why() -> None:
    """Fixed parts come first, everything else follows as key=value with sizes in words."""
    entry = {
        "time": 1_795_368_000.5,
        "event": "seal",
        "stream": "traces.json",
        "reason": "size",
        "segment": "traces_20261122_172000.json.gz",
        "logical": [0, 10],
        "bytes": 10_000_000,
    }

    assert line(entry) == (
        "2026-11-22 17:20:00Z  seal        traces.json (size)  "
        "segment=traces_20261122_172000.json.gz logical=[0,10] bytes=10.0MB"
    )


def test_a_line_without_details_has_no_loose_end() -> None:
    """An entry with nothing but its event prints no trailing space, and one without a time is no error."""
    assert line({"event": "start"}) == "1970-01-01 00:00:00Z  start"


def test_a_line_is_printable() -> None:
    """Escape sequences in a stream's name or a message do not reach the terminal."""
    assert "\x1b" not in line({"event": "refuse", "stream": "\x1b[2J", "reason": "\x07", "message": "\x1b]0;x"})


def test_audit_filters_by_stream_and_age(stage: Stage, state: Directory) -> None:
    """`--stream` and `--since` leave only what was asked for, oldest first."""
    clock = ManualClock(time.time() - 7200)
    trail = Audit(state, clock)
    for age, stream in ((7200, "a.json"), (600, "a.json"), (300, "b.json"), (60, "a.json")):
        clock.wall = time.time() - age
        trail.write("seal", stream=stream, reason=f"age{age}")
    trail.close()

    code, out, _ = stage.run("audit", "--since", "1h", "--stream", "a.json", "--json")

    assert code == 0
    assert [json.loads(row)["reason"] for row in out.splitlines()] == ["age600", "age60"]


def test_audit_without_a_trail_says_where_it_looked(stage: Stage) -> None:
    """A directory that no agent has managed yet is an error with a hint."""
    code, _, err = stage.run("audit")

    assert code == 1
    assert "no audit trail yet" in err
    assert str(stage.state) in err


def test_a_bad_since_is_a_usage_error(stage: Stage) -> None:
    """A span without a unit exits with 2 and says what would be right."""
    code, _, err = stage.run("audit", "--since", "10")

    assert code == 2
    assert "no unit" in err


class Acts:
    """Does the next of some things whenever the follower waits; ends it when there are none left."""

    class Over(Exception):  # noqa: N818 - a curtain, not an error
        """The last act was played."""

    def __init__(self, *acts: Any) -> None:
        self._acts = iter(acts)

    def __call__(self) -> None:
        """Play the next act."""
        act = next(self._acts, None)
        if act is None:
            raise Acts.Over
        act()


def followed(state: Directory, *acts: Any) -> list[int]:
    """The numbers of the entries that a follower sees while `acts` happen."""
    seen: list[int] = []
    with contextlib.suppress(Acts.Over):
        for entry in tail(state, Acts(*acts)):
            seen.append(entry["number"])  # noqa: PERF401 - the generator raises, and what came before counts
    return seen


def test_following_sees_each_entry_once_over_a_rotation(state: Directory) -> None:
    """Old file, current file, entries appended later, a rotation and a second one: each entry once and in order."""
    trail = Audit(state, ManualClock(0.0), limit=200)
    numbers = iter(range(100))

    def write(count: int) -> None:
        for _ in range(count):
            trail.write("check", number=next(numbers))

    write(6)
    assert sorted(os.listdir(state.path)) == ["audit.jsonl", "audit.jsonl.1"]
    first = len(Path(state.path, "audit.jsonl.1").read_text().splitlines())
    seen = followed(state, lambda: write(1), lambda: write(3), lambda: None, lambda: write(2))

    assert list(range(seen[0], 12)) == seen
    assert seen[0] <= 6 - first


def test_following_waits_for_the_end_of_a_line(state: Directory) -> None:
    """Half an entry is not told before its other half is there, and a broken one is skipped."""
    path = Path(state.path, "audit.jsonl")

    def append(text: str) -> None:
        with path.open("a") as file:
            file.write(text)

    seen = followed(
        state,
        lambda: append('{"number": 1'),
        lambda: append('}\n{"number"\n[]\n'),
        lambda: append('{"number": 2}\n'),
    )

    assert seen == [1, 2]


def test_lines_that_are_no_entries_are_not_shown() -> None:
    """What a crash cut short, JSON that is no object, and what is nested too deeply."""
    assert [{"event": "start"}] == list(_entries([b'{"ev', b"7", b"[" * 100_000, b'{"event":"start"}']))
