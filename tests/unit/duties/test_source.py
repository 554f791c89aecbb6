"""Which batch is next: nothing that grew, or could not be read for a moment, is forgotten."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.duties import source
from agent.duties.parcel import Parcel, lines
from agent.kit.errors import AgentError
from agent.streams import reader
from agent.streams.views import View
from tests.support.hostile import Hostile
from tests.support.yard import LEAF, Yard, forward, small, spans

MOST = 4 << 20
NOW = 1e9
"""Later than anything was noticed."""


def yard_of(path: Path) -> Yard:
    """A life in which nobody listens."""
    return Yard(path, forward(Hostile("http://127.0.0.1:9")))


def find(yard: Yard, now: float) -> tuple[Parcel | None, float | None]:
    """The next batch, or when to look again."""
    found = yard.forwards.consumers["out"]._intake.source.find(now, MOST)
    yard.forwards.consumers["out"].cursors.save()
    return found


def test_growth_during_a_look_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream grows just after its view was taken: the next look finds what came."""
    with yard_of(tmp_path) as yard:
        yard.write(spans(0, 3))
        yard.look()
        first, _ = find(yard, NOW)
        views = yard.keeper.views
        get: Callable[[str], View | None] = views.get

        def grows(stream_id: str) -> View | None:
            found = get(stream_id)
            monkeypatch.setattr(views, "get", get)
            yard.write(spans(3, 5))
            yard.look()
            return found

        monkeypatch.setattr(views, "get", grows)
        assert (None, None) == find(yard, NOW + 1)
        second, _ = find(yard, NOW + 2)

    assert first is not None
    assert second is not None
    assert (3, 2) == (first.records, second.records)


@pytest.mark.parametrize("error", [None, PermissionError(13, "Permission denied"), AgentError("not now")])
@pytest.mark.parametrize("again", [False, True])
def test_what_could_not_be_read_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None, again: bool
) -> None:
    """A lease, a lock, an error that passes: tried again by itself, also a batch that must be sent again."""
    if again:
        with yard_of(tmp_path) as yard:
            yard.write(spans(0, 3))
            yard.look()
            assert find(yard, NOW)[0]
    with yard_of(tmp_path) as yard:
        (tmp_path / LEAF).write_bytes(spans(0, 3))
        yard.look()
        real = reader.read

        def fails(*_: object) -> None:
            if error:
                raise error

        monkeypatch.setattr(reader, "read", fails)
        if error:
            with pytest.raises(type(error)):
                find(yard, NOW)
        else:
            assert (None, NOW + source.AGAIN) == find(yard, NOW)
        monkeypatch.setattr(reader, "read", real)
        assert (None, NOW + source.AGAIN) == find(yard, NOW + 1)
        found, _ = find(yard, NOW + source.AGAIN)

    assert found is not None
    assert 3 == found.records


@pytest.mark.parametrize("position", [1, 40, 2**62])
def test_a_reset_into_a_record_goes_back_to_its_beginning(tmp_path: Path, position: int) -> None:
    """Half a record would be a dead letter."""
    with yard_of(tmp_path) as yard:
        yard.write(spans(0, 1) + b'{"resourceSpans":[')
        yard.look()
        (row,) = yard.forwards.reset_cursor("out", [], position=position)

    assert (len(spans(0, 1)) if position == 2**62 else 0) == row.position


def test_a_reset_wants_nothing_of_what_it_passed(tmp_path: Path) -> None:
    """Memory for a long record is not waited for any more: while it lacks, nobody would look at what comes next."""
    with yard_of(tmp_path) as yard:
        yard.write(spans(0, 1, width=100_000))
        yard.look()
        found = yard.forwards.consumers["out"]._intake.source
        found.find(NOW, 1_000)
        before = found.wanted
        yard.forwards.reset_cursor("out", [], position=2**62)

    assert before > 100_000
    assert 0 == found.wanted


def test_a_record_begun_behind_the_end_is_no_line() -> None:
    """What was read may end in the beginning of a record: it is no line, and all before it keeps its place."""
    found = lines(10, b"one\ntwo\nthr", 18)

    assert [b"one\n", b"two\n"] == list(found.lines)
    assert [(10, 14), (14, 18)] == found.places
    assert [b"one\n", b"two\n", b"thr"] == list(lines(10, b"one\ntwo\nthr", 21).lines)


def test_a_small_batch_keeps_no_more_in_memory_than_itself(tmp_path: Path) -> None:
    """Megabytes are read at once; a batch that takes a few records of them holds these alone while it is under way."""
    with Yard(tmp_path, forward(Hostile("http://127.0.0.1:9"), batch=small(5, in_flight=9))) as yard:
        yard.write(spans(0, 150, 10_000))
        yard.look()
        find(yard, NOW)
        tracemalloc.start()
        held = [parcel for _ in range(8) if (parcel := find(yard, NOW)[0])]
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        rest = yard.forwards.consumers["out"]._intake.source._rest

    assert [5] * 8 == [one.records for one in held]
    assert rest is not None
    assert used - len(rest[2]) < 2 * sum(one.end - one.start for one in held)
