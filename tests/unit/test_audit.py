"""The audit trail: one line a thing done, bounded, and never in the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import audit
from agent.audit import Audit
from agent.kit import disk
from agent.kit.disk import Directory
from tests.support.clock import ManualClock


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    """A state directory."""
    with Directory.open(str(tmp_path)) as opened:
        yield opened


def test_an_entry_is_a_line_with_its_time(directory: Directory, tmp_path: Path) -> None:
    """The reader gives back what was written, oldest first."""
    trail, clock = Audit(directory, ManualClock(100.0)), ManualClock(100.0)
    trail.write("seal", stream="a.json", reason="size", positions=[0, 10], digest="ff")
    trail.write("stop")
    trail.close()

    first = {"time": clock.now(), "event": "seal", "stream": "a.json", "reason": "size", "positions": [0, 10],
             "digest": "ff"}  # fmt: skip
    assert [first, {"time": 100.0, "event": "stop"}] == list(audit.read(directory))
    assert 2 == len((tmp_path / audit.NAME).read_bytes().splitlines())


def test_the_trail_is_bounded(directory: Directory, tmp_path: Path) -> None:
    """At its limit it becomes the older of two files; the one before that goes. The newest entries stay."""
    trail = Audit(directory, ManualClock(), limit=1000)
    for number in range(200):
        trail.write("seal", positions=[number])
    trail.close()

    numbers = [entry["positions"][0] for entry in audit.read(directory)]
    assert list(range(numbers[0], 200)) == numbers
    assert {audit.NAME, f"{audit.NAME}.1"} == {one.name for one in tmp_path.iterdir()}
    assert all(one.stat().st_size <= 1000 for one in tmp_path.iterdir())


def test_strange_names_are_written(directory: Directory) -> None:
    """Newlines and invalid UTF-8 round-trip and break no line."""
    trail = Audit(directory, ManualClock())
    trail.write("stream", stream="a\nb\udcff.json")
    trail.close()

    assert ["a\nb\udcff.json"] == [entry["stream"] for entry in audit.read(directory)]


def test_a_torn_line_is_skipped_and_not_glued_to(directory: Directory, tmp_path: Path) -> None:
    """A crash cut the last entry short: it alone is lost."""
    (tmp_path / audit.NAME).write_bytes(b'{"event":"start"}\n{"event":"se')
    trail = Audit(directory, ManualClock())
    trail.write("stop")
    trail.close()

    assert ["start", "stop"] == [entry["event"] for entry in audit.read(directory)]


def test_lines_that_are_no_entries_are_skipped(directory: Directory, tmp_path: Path) -> None:
    """Also JSON that is no object, bytes that are no text, and what is nested too deeply."""
    (tmp_path / audit.NAME).write_bytes(
        b"7\n[]\n\xff\xfe\n\n" + b"[" * 100_000 + b"\n" + json.dumps({"event": "start"}).encode() + b"\n"
    )

    assert [{"event": "start"}] == list(audit.read(directory))


def test_a_full_disk_stops_nothing(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is counted and stays in memory; the next entry is written again."""
    trail = Audit(directory, ManualClock())

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write_all", full)
        trail.write("seal")
    trail.write("stop")
    trail.close()

    assert 1 == trail.unwritten
    assert ["seal", "stop"] == [entry["event"] for entry in trail.recent]
    assert ["stop"] == [entry["event"] for entry in audit.read(directory)]


def test_without_a_directory_it_only_remembers() -> None:
    """Commands that change nothing write nothing; memory is bounded."""
    trail = Audit(None, ManualClock(), keep=3)
    for number in range(5):
        trail.write("seal", positions=[number])

    assert [[2], [3], [4]] == [entry["positions"] for entry in trail.recent]
    assert 0 == trail.unwritten
