"""Which batch is next: nothing that grew, or could not be read for a moment, is forgotten."""

from __future__ import annotations

import errno
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.config import Retention
from agent.config.forward import Batching
from agent.duties import source
from agent.duties.parcel import Parcel, lines
from agent.kit import disk
from agent.kit.errors import AgentError
from agent.streams import reader
from agent.streams.views import View
from tests.support.hostile import Hostile
from tests.support.yard import LEAF, Duration, Yard, bodies, forward, numbers, once, settled, small, span, spans

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


def test_a_stream_that_cannot_be_read_holds_up_no_other(
    tmp_path: Path, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The forward is degraded and names it, steadily, however well the others go; and is well once it can be read."""
    real = reader.read
    allowed: list[bool] = []

    def read(now: View, *rest: Any) -> reader.Run | None:
        if now.name == "a.json" and not allowed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(now, *rest)

    monkeypatch.setattr(reader, "read", read)
    monkeypatch.setattr(source, "AGAIN", 0.02)
    with Yard(tmp_path, forward(server, batch=small(1, in_flight=1))) as yard:
        yard.write(spans(0, 5), "a.json")
        yard.write(spans(10, 15), "b.json")
        states: list[str] = []

        def until() -> bool:
            (found,) = [one for one in yard.components.all() if one.name == "forward out"]
            if found.state not in states[-1:]:
                states.append(found.state)
            if yard.status().delivered == 5 and found.state == "degraded":
                assert "a.json cannot be read: Permission denied" == found.message
                allowed.append(True)
            return settled(yard, 10)() and found.state == "ok"

        yard.run(until)

    assert ["degraded", "ok"] == states[-2:]
    assert len(states) <= 3
    assert once(0, 5) + once(10, 15) == numbers(bodies(server))


def test_what_was_read_is_not_read_again(tmp_path: Path, server: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches of several streams: the rest of what was read of one comes at once, and before the next stream."""
    real = reader.read
    sizes: list[int] = []

    def read(*given: Any) -> reader.Run | None:
        found = real(*given)
        sizes.append(len(found.read) if found else 0)
        return found

    monkeypatch.setattr(reader, "read", read)
    batch = Batching(max_records=10, max_delay=Duration(0.5), in_flight=1)
    with Yard(tmp_path, forward(server, batch=batch)) as yard:
        for leaf in ("a.json", "b.json", "c.json"):
            yard.write(spans(0, 100), leaf)
        yard.run(settled(yard, 300))

    assert 3 * len(spans(0, 100)) == sum(sizes)


def test_what_was_read_holds_up_no_other_stream_for_long(tmp_path: Path, server: Hostile) -> None:
    """However much was read of one: after so many batches in a row the others have their turn."""
    with Yard(tmp_path, forward(server, batch=small(1, in_flight=1))) as yard:
        yard.write(spans(0, 100), "a.json")
        yard.write(span(1000), "b.json")
        yard.run(settled(yard, 101))

    sent = [number for body in bodies(server) for number in numbers([body])]
    assert sent.index(1000) <= source.IN_A_ROW


@pytest.mark.parametrize("taken", [False, True])
def test_a_batch_that_memory_no_longer_allows_moves_no_cursor_over_another(tmp_path: Path, taken: bool) -> None:
    """Two were under way, and the second is too long after a restart: it waits until the first is done with."""
    first, second = spans(0, 10), spans(10, 20, 200_000)
    with yard_of(tmp_path) as yard:
        for data in (first, second):
            yard.write(data)
            yard.look()
            assert find(yard, NOW)[0]
    with yard_of(tmp_path) as yard:
        yard.look()
        consumer = yard.forwards.consumers["out"]
        consumer._intake.source._ceiling = 1 << 20
        again, _ = find(yard, NOW)
        assert again is not None
        assert (0, len(first)) == (again.start, again.end)
        if taken:
            consumer.cursors.settle(again.stream_id, again.start, again.end)
        later, _ = find(yard, NOW + 1)
        cursor = consumer.cursors.get(again.stream_id)

    assert cursor is not None
    assert (len(first) if taken else 0) == cursor.position
    assert taken == (later is not None)


def test_what_waits_for_memory_takes_none(tmp_path: Path) -> None:
    """A long record that was read before memory was asked for is read again: all forwards' would fill the memory."""
    with yard_of(tmp_path) as yard:
        yard.write(span(0, 2_000_000))
        yard.look()
        one = yard.forwards.consumers["out"]._intake.source
        assert one.find(NOW, 1 << 20)[0] is None
        assert one.wanted > 2_000_000
        assert one._rest is None
        assert one.find(NOW + 1, one.wanted)[0] is not None


def test_any_number_of_segments_may_be_missing(tmp_path: Path, server: Hostile) -> None:
    """Hundreds in a row, removed by hand: each is passed, and what follows is delivered."""
    with Yard(tmp_path, forward(server)) as yard:
        for number in range(1000):
            yard.write(span(number))
            yard.look()
            yard.seal()
        for one in tmp_path.glob("*.gz"):
            one.unlink()
        yard.write(span(1000))
        yard.run(settled(yard, 1))
        assert sum(len(span(number)) for number in range(1000)) == yard.status().unreadable_bytes

    assert once(1000, 1001) == numbers(bodies(server))


def test_a_first_run_without_any_stream_was_the_first(tmp_path: Path, server: Hostile) -> None:
    """With `latest`, what is written while the agent is stopped is delivered though it has met no stream before."""
    with Yard(tmp_path, forward(server, start="latest")) as yard:
        yard.look()
        find(yard, NOW)
    with Yard(tmp_path, forward(server, start="latest")) as yard:
        yard.write(spans(0, 10))
        yard.run(settled(yard, 10))

    assert once(0, 10) == numbers(bodies(server))


def test_an_old_stream_that_cannot_be_read_at_first_is_old_all_the_same(
    tmp_path: Path, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `latest` its past is not delivered by a later start either."""
    with monkeypatch.context() as patched, Yard(tmp_path, forward(server, start="latest")) as yard:
        yard.write(spans(0, 50))
        yard.look()
        patched.setattr(reader, "record_start", full)
        assert (None, None) == find(yard, NOW)
    with Yard(tmp_path, forward(server, start="latest")) as yard:
        yard.write(spans(50, 60))
        yard.run(settled(yard, 10))

    assert once(50, 60) == numbers(bodies(server))


def test_a_reset_to_the_earliest_goes_to_what_is_kept(tmp_path: Path, server: Hostile) -> None:
    """What was delivered and retired by rule is neither lag nor a loss."""
    retention = Retention(keep=1, max_age=None, max_total=None)
    with Yard(tmp_path, forward(server), retention=retention) as yard:
        for first in range(0, 50, 10):
            yard.write(spans(first, first + 10))
            yard.look()
            yard.seal()
        yard.run(settled(yard, 50))
    with Yard(tmp_path, forward(server), retention=retention) as yard:
        yard.look()
        yard.keeper.retain()
        (row,) = yard.forwards.reset_cursor("out", [], position=0)
        yard.run(settled(yard, 10))
        assert 0 == yard.status().unreadable_bytes

    assert (len(spans(0, 40)), 10) == (row.position, row.lag_records)
    assert once(0, 50) + once(40, 50) == numbers(bodies(server))


def test_a_reset_that_cannot_be_saved_changes_nothing(
    tmp_path: Path, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command fails, so the cursor stays, what is under way goes on, and nothing is sent again."""
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 20))
        yard.run(settled(yard, 20))
    with Yard(tmp_path, forward(server)) as yard:
        yard.look()
        with monkeypatch.context() as patched:
            patched.setattr(disk, "write_atomic", full)
            with pytest.raises(OSError, match="No space"):
                yard.forwards.reset_cursor("out", [], position=0)
        yard.write(spans(20, 21))
        yard.run(settled(yard, 1))

    assert once(0, 21) == numbers(bodies(server))
    assert "cursors reset" not in (tmp_path / ".telemetry-agent/audit.jsonl").read_text("utf-8")


def full(*_: object) -> None:
    """A disk that takes nothing."""
    raise OSError(errno.ENOSPC, "No space left on device")
