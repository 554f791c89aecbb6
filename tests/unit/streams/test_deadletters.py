"""Dead letters: durable, bounded, each once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.kit.disk import Directory
from agent.streams.deadletters import DeadLetters, Letter, letter, owners


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Directory]:
    """A state directory."""
    with Directory.open(str(tmp_path)) as directory:
        yield directory


def note(start: int, record: bytes = b'{"a":1}\n') -> Letter:
    """A letter about a record at this position."""
    return letter(
        time=1.0, stream="a.json", stream_id="ab" * 16, start=start, end=start + len(record), signal="",
        kind="bad_data", reason="400", record=record,
    )  # fmt: skip


@pytest.mark.parametrize("record", [b'{"a":"\xc3\xa9"}\n', b"\xff\xfe\x00\n", b""])
def test_a_record_comes_back_as_the_same_bytes(state: Directory, record: bytes) -> None:
    """Text as text, anything else as base64."""
    DeadLetters(state, "out").append([note(0, record)])

    assert [record] == [one.content for one in DeadLetters(state, "out").all()]


def test_a_letter_written_twice_is_one(state: Directory) -> None:
    """A crash between letter and cursor brings the same record again: the place in the stream is its name."""
    letters = DeadLetters(state, "out")
    letters.append([note(0), note(8)])
    letters.append([note(8)])

    assert ["abababab-0", "abababab-8"] == [one.id for one in letters.all()]
    assert 1 == letters.remove({"abababab-8"})
    assert ["abababab-0"] == [one.id for one in letters.all()]


def test_a_torn_line_costs_only_itself(state: Directory, tmp_path: Path) -> None:
    """What a crash cut short is skipped, and what follows is read."""
    letters = DeadLetters(state, "out")
    letters.append([note(0)])
    file = tmp_path / "dead-letters-out.jsonl"
    file.write_bytes(file.read_bytes() + b'{"id":"x","ti')
    letters.append([note(8)])

    assert [0, 8] == [one.start for one in letters.all()]


def test_the_oldest_make_room(state: Directory, tmp_path: Path) -> None:
    """Two files of half the limit; what goes is told, and a letter above it all is kept alone."""
    letters = DeadLetters(state, "out", limit=2000)
    gone = sum(letters.append([note(number * 8)]) for number in range(40))
    kept = [one.start // 8 for one in letters.all()]

    assert 40 - len(kept) == gone > 0
    assert list(range(gone, 40)) == kept
    assert sum(file.stat().st_size for file in tmp_path.glob("dead-letters-*")) <= 2000
    letters.append([note(4000, b"x" * 5000)])
    assert 4000 in [one.start for one in letters.all()]


def test_nothing_to_keep_makes_no_file(state: Directory, tmp_path: Path) -> None:
    """And consumers that have letters are found by their files."""
    assert 0 == DeadLetters(state, "none").append([])
    DeadLetters(state, "out").append([note(0)])

    assert ["out"] == owners(state)
    assert ["dead-letters-out.jsonl"] == [file.name for file in tmp_path.iterdir()]
