"""Dead letters: durable, bounded, each once."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.kit import disk
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


@pytest.mark.parametrize("line", [b'{"id":"x","ti', b'{"new":' + b"[" * 100_000])
def test_a_torn_line_costs_only_itself(state: Directory, tmp_path: Path, line: bytes) -> None:
    """What a crash cut short is skipped, and what follows is read."""
    letters = DeadLetters(state, "out")
    letters.append([note(0)])
    file = tmp_path / "dead-letters-out.jsonl"
    file.write_bytes(file.read_bytes() + line)
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


def size(path: Path) -> int:
    """Bytes of all dead letters."""
    return sum(file.stat().st_size for file in path.glob("dead-letters-*"))


def test_more_at_once_than_there_is_room_for(state: Directory, tmp_path: Path) -> None:
    """The limit holds: the newest are kept, and each of the others is told, also those that came just now."""
    letters = DeadLetters(state, "out", limit=4000)
    letters.append([note(number * 8) for number in range(3)])
    gone = letters.append([note(number * 8) for number in range(3, 100)])
    kept = [one.start // 8 for one in letters.all()]

    assert list(range(gone, 100)) == kept
    assert 3000 < size(tmp_path) <= 4000


def test_a_letter_of_more_than_half_of_the_room_leaves_none_for_others(state: Directory, tmp_path: Path) -> None:
    """Two of them would be more than the limit: the older one goes, and is told."""
    letters = DeadLetters(state, "out", limit=4000)
    gone = [letters.append([note(number * 8, b"x" * 2500)]) for number in range(3)]

    assert [0, 1, 1] == gone
    assert [16] == [one.start for one in letters.all()]
    assert size(tmp_path) <= 4000


class Full:
    """A disk on which one call fails: that of a function or method after so many others."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: int = 0) -> None:
        real, self.left = getattr(owner, name), after

        def call(*args: Any) -> Any:
            self.left -= 1
            if self.left == -1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*args)

        monkeypatch.setattr(owner, name, call)


def test_nothing_goes_for_what_could_not_be_written(state: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs no letter; what the next try drops is told."""
    letters = DeadLetters(state, "out", limit=4000)
    letters.append([note(number * 8) for number in range(8)])
    letters.append([note(number * 8) for number in range(8, 16)])
    before = len(list(letters.all()))
    Full(monkeypatch, disk, "write_all")

    with pytest.raises(OSError, match="No space"):
        letters.append([note(800)])
    assert before == len(list(letters.all()))
    assert 8 == letters.append([note(800)])
    assert before - 7 == len(list(letters.all()))


@pytest.mark.parametrize("step", range(6))
def test_what_went_is_told_whatever_fails_behind_it(
    state: Directory, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """At each renaming: the letters that are not there any more are told by the try that succeeds, each once."""
    letters = DeadLetters(state, "out", limit=4000)
    assert 0 == letters.append([note(number * 8) for number in range(5)])
    assert 0 == letters.append([note(number * 8) for number in range(5, 10)])
    fresh = [note(number * 8) for number in range(10, 25)]
    Full(monkeypatch, Directory, "replace", step)

    with pytest.raises(OSError, match="No space"):
        letters.append(fresh)
    assert 10 == letters.append(fresh)
    assert list(range(10, 25)) == [one.start // 8 for one in letters.all()]


def test_a_line_that_cannot_be_read_outlives_the_removal_of_others(state: Directory, tmp_path: Path) -> None:
    """It may be put right by hand; it is no letter that somebody let go."""
    letters = DeadLetters(state, "out")
    letters.append([note(0), note(8), note(16)])
    file = tmp_path / "dead-letters-out.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"start":8', b'"st\xff\xfft":8'))
    rotten = file.read_bytes().splitlines()[1]

    assert 1 == letters.remove({"abababab-0"})
    assert [16] == [one.start for one in letters.all()]
    assert rotten == file.read_bytes().splitlines()[0]


def test_nothing_to_keep_makes_no_file(state: Directory, tmp_path: Path) -> None:
    """And consumers that have letters are found by their files."""
    assert 0 == DeadLetters(state, "none").append([])
    DeadLetters(state, "out").append([note(0)])

    assert ["out"] == owners(state)
    assert ["dead-letters-out.jsonl"] == [file.name for file in tmp_path.iterdir()]
