"""The journal of hints: short, last line wins, and never in the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from agent.kit import disk as real_disk
from agent.kit.disk import Directory
from agent.streams import hints
from agent.streams.hints import NAME, Hint, Hints
from tests.unit.streams.conftest import Make

ONE, TWO = "11" * 16, "22" * 16


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    """A state directory."""
    with Directory.open(str(tmp_path)) as opened:
        yield opened


def lines(directory: Directory) -> int:
    """Lines in the journal."""
    return Path(directory.path, NAME).read_bytes().count(b"\n")


def _full(*_: object) -> int:
    raise OSError(28, "No space left on device")


def test_what_was_said_is_not_said_again(directory: Directory) -> None:
    """A line is written when it says something new of a stream, and only then."""
    hints = Hints(directory)
    for largest in (1, 1, 2, 2, 1):
        hints.note(Hint(stream="a.json", id=ONE, largest=largest))

    assert 3 == lines(directory)
    assert {ONE: Hint(stream="a.json", id=ONE, largest=1)} == Hints(directory).load()
    hints.close()


def test_compaction_keeps_the_last_line_of_each_stream(directory: Directory) -> None:
    """Older lines and forgotten streams are left out; what follows is appended to what was kept."""
    hints = Hints(directory)
    for number in range(5):
        hints.note(Hint(stream="a.json", id=ONE, largest=number))
        hints.note(Hint(stream="b.json", id=TWO, largest=number))
    hints.forget(TWO)
    hints.compact()

    assert 1 == lines(directory)
    hints.note(Hint(stream="a.json", id=ONE, largest=9))
    assert {ONE: 9} == {one.id: one.largest for one in Hints(directory).load().values()}
    hints.close()


def test_a_line_that_could_not_be_written_is_written_later(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a full disk did not take is owed, and the same hint is not taken for noted."""
    hints = Hints(directory)
    hint = Hint(stream="a.json", id=ONE, largest=7)
    with monkeypatch.context() as disk:
        disk.setattr("agent.kit.disk.write_all", _full)
        with pytest.raises(OSError, match="No space left"):
            hints.note(hint)
    assert {ONE} == hints.owed
    hints.note(hint)
    assert not hints.owed

    assert {ONE: hint} == Hints(directory).load()
    hints.close()


def test_compaction_on_a_full_disk_loses_no_line(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be noted leaves what was noted before, in the journal and after its compaction."""
    hints = Hints(directory)
    before = Hint(stream="a.json", id=ONE, largest=7)
    hints.note(before)
    with monkeypatch.context() as disk:
        disk.setattr("agent.kit.disk.write_all", _full)
        with pytest.raises(OSError, match="No space left"):
            hints.note(Hint(stream="a.json", id=ONE, largest=8))
    hints.compact()

    assert {ONE: before} == Hints(directory).load()
    hints.close()


def test_what_a_full_disk_did_not_take_is_noted_at_a_sweep_once_there_is_room(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the file never changes again; that it failed is told once, and once that it is over."""
    bench = make()
    bench.look()
    leaves = [f"{number}.json" for number in range(3)]
    for leaf in leaves:
        bench.writer(leaf=leaf).write(b"{}\n" * 7)
    tries: list[int] = []

    def full(fd: int, *_: object) -> int:
        tries.append(fd)
        return _full()

    def journal() -> dict[str, int]:
        with Directory.open(str(bench.path / ".telemetry-agent")) as state:
            return {hint.stream: hint.largest for hint in Hints(state).load().values()}

    with monkeypatch.context() as disk:
        disk.setattr(hints, "disk", SimpleNamespace(end_line=real_disk.end_line, write_all=full))
        bench.look()
        assert len(leaves) + 1 == len(tries)  # each by itself, and the first of them again
        bench.look()
        assert len(leaves) + 2 == len(tries)
    assert {} == journal()
    bench.look()

    assert dict.fromkeys(leaves, 21) == journal()
    told = [one["event"] for one in bench.engine.audit.recent if one["event"] in ("error", "recovered")]
    assert ["error", "recovered"] == told


def test_compaction_keeps_what_a_start_found(directory: Directory) -> None:
    """A stream of which nothing new was noted since the start keeps its line."""
    hint = Hint(stream="a.json", id=ONE, largest=7)
    first = Hints(directory)
    first.note(hint)
    first.close()
    second = Hints(directory)
    second.keep(ONE)
    second.note(Hint(stream="b.json", id=TWO))
    second.compact()

    assert hint == Hints(directory).load()[ONE]
    second.close()


@pytest.mark.parametrize(
    "damage", [b"{", b"[]\n", b'{"stream": 1, "id": "zz"}\n', b'{"stream": "a", "id": "zz"}\n', b"\xff\n"]
)
def test_a_damaged_line_is_skipped(directory: Directory, damage: bytes) -> None:
    """Torn, foreign and impossible lines cost what they said, nothing else."""
    hint = Hint(stream="a.json", id=ONE, largest=7)
    Path(directory.path, NAME).write_bytes(damage.rstrip() + b"\n" + msgspec.json.encode(hint) + b"\n" + damage)

    assert {ONE: hint} == Hints(directory).load()
