"""Retention carried out: one by one, durable before it is gone, audited; positions never start again."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.config import Files, Retention
from agent.kit import disk
from agent.kit.units import Duration, Size
from agent.streams import engine, hints, plan, shelves
from tests.support.bench import LEAF, Bench, Writer, at, fail, lines
from tests.unit.streams.conftest import Make


def big(first: int, last: int) -> bytes:
    """Records of 1,000 bytes."""
    return lines(first, last, 1000)


def keeping(keep: int = 0, age: float | None = None, total: int | None = None) -> Retention:
    """Rules."""
    max_age = None if age is None else Duration(age)
    return Retention(keep=keep, max_age=max_age, max_total=None if total is None else Size(total))


def filled(bench: Bench, seals: int) -> Writer:
    """A stream with so many segments of ten records, a second apart."""
    writer = bench.writer()
    for number in range(seals):
        writer.write(big(number * 10, number * 10 + 10))
        bench.rotate()
        bench.engine.shelves.surplus(0)
        bench.clock.advance(1)
    bench.look()
    return writer


def test_a_count_deletes_and_audits_each(make: Make) -> None:
    """Only the newest stay; each deletion is one entry with its positions and bytes."""
    bench = make(retention=keeping(keep=2))
    filled(bench, 5)

    assert ["keep"] * 3 == bench.retain()
    assert [(30_000, 40_000), (40_000, 50_000)] == [(one.start, one.end) for one in bench.segments()]
    assert [[0, 10_000], [10_000, 20_000], [20_000, 30_000]] == [one["positions"] for one in bench.events("retire")]
    assert [] == bench.retain()


def test_a_deletion_is_audited_with_the_digest_of_its_seal(make: Make) -> None:
    """Who finds the file elsewhere can tell that it is this one; what cannot be read any more is told without."""
    bench = make(retention=keeping(keep=1))
    filled(bench, 3)
    sealed = [one["digest"] for one in bench.events("seal")]
    (bench.path / bench.names()[0]).unlink()

    assert ["keep", "keep"] == bench.retain()
    assert 64 == len(sealed[1])
    assert ["", sealed[1]] == [one["digest"] for one in bench.events("retire")]


def test_a_lowered_count_takes_effect(make: Make) -> None:
    """Case 22, L6: after a new configuration nothing beyond it stays for ever."""
    bench = make(retention=keeping(keep=5))
    filled(bench, 5)
    assert [] == bench.retain()
    bench.retention = keeping(keep=1)
    bench.engine.catalog.configure(bench.config)

    assert 4 == len(bench.retain())


def test_the_newest_leaves_a_marker_and_positions_go_on(make: Make) -> None:
    """C12: everything is deleted, also the state, and still no position is used twice."""
    bench = make(retention=keeping(age=60))
    writer = filled(bench, 2)
    bench.clock.advance(60)
    assert ["max_age", "max_age"] == bench.retain()
    assert [] == bench.segments()
    assert 1 == len(bench.names())
    bench.stop()
    for one in (bench.path / ".telemetry-agent").iterdir():
        if one.is_file():
            one.unlink()
    writer.write(big(20, 30))
    bench.rotate()

    assert [(20_000, 30_000)] == [(one.start, one.end) for one in bench.segments()]
    assert big(20, 30) == bench.whole()
    assert {} == bench.lost()


def test_old_markers_go_once_something_newer_is_there(make: Make) -> None:
    """There is at most one marker a stream, and it is the newest."""
    bench = make(retention=keeping(age=60))
    writer = filled(bench, 1)
    for number in range(1, 4):
        bench.clock.advance(60)
        bench.retain()
        writer.write(big(number * 10, number * 10 + 10))
        bench.rotate()
        bench.engine.shelves.surplus(0)
    bench.clock.advance(60)
    bench.retain()

    assert 1 == len(bench.names())


def test_orphans_age_out_with_their_marker(make: Make) -> None:
    """Case 22, L6: the live file is gone; its segments follow their rules, the marker goes after thirty days."""
    bench = make(retention=keeping(age=60))
    writer = filled(bench, 2)
    writer.close()
    writer.path.unlink()
    bench.clock.advance(60)
    bench.look()
    assert ["max_age", "max_age"] == bench.retain()
    assert LEAF in bench.engine.catalog.streams
    bench.retain()
    bench.clock.advance(plan.MARKER_AGE)
    bench.look()

    assert ["forgotten"] == bench.retain()
    assert ([], {}) == (bench.names(), bench.engine.catalog.streams)


def test_streams_that_came_and_went_unsealed_are_dropped(make: Make) -> None:
    """Also while no rule deletes anything: temporary files would pile up in the catalogue."""
    bench = make()
    bench.writer().write(lines(0, 10))
    for number in range(50):
        bench.writer(leaf=f"{number}.json").close()
    bench.look()
    for number in range(50):
        (bench.path / f"{number}.json").unlink()
    bench.look()
    bench.engine.shelves.tidy()
    assert 51 == len(bench.engine.catalog.streams)  # one that is only moved for a moment is still the same
    bench.clock.advance(shelves.GONE)
    bench.engine.shelves.tidy()

    assert [LEAF] == list(bench.engine.catalog.streams)


@pytest.mark.parametrize(("away", "kept"), [(shelves.GONE, True), (plan.MARKER_AGE, False)])
def test_a_directory_that_is_not_mounted_for_a_time_keeps_its_cursors(make: Make, away: float, kept: bool) -> None:
    """Its segments are away as well, so nothing but the hint tells of its streams: all would be sent again."""
    bench = make(files=Files(recursive=True), retention=keeping(keep=1))
    inside, outside = bench.path / "mount", bench.path.parent / "medium"
    inside.mkdir()
    bench.writer(leaf="mount/t.json").write(lines(0, 100)).close()
    bench.seal("mount/t.json")
    stream = bench.stream("mount/t.json")
    bench.release()
    bench.stop()
    inside.rename(outside)
    inside.mkdir()  # as umount(8) leaves it
    forgotten: list[str] = []
    bench.engine.holding.forget = forgotten.append  # type: ignore[method-assign]  # to see who is
    bench.look()
    bench.clock.advance(away)
    filled(bench, 2)
    assert ["keep"] == bench.retain()
    bench.engine.shelves.tidy()
    assert ([] if kept else [stream.id]) == forgotten
    bench.stop()
    inside.rmdir()
    outside.rename(inside)
    bench.look()

    assert stream.id == bench.stream("mount/t.json").id


def test_the_same_name_later_is_another_stream(make: Make) -> None:
    """After it was forgotten, a new file of the name has a new id."""
    bench = make(retention=keeping(age=60))
    writer = filled(bench, 1)
    first = bench.stream().id
    writer.close()
    writer.path.unlink()
    for wait in (60, plan.MARKER_AGE):
        bench.clock.advance(wait)
        bench.look()
        bench.retain()
        bench.retain()
    bench.writer().write(big(50, 60))
    bench.rotate()

    assert first != bench.stream().id
    assert 0 == bench.segments()[0].start


@pytest.mark.parametrize("jump", [-3600.0, 7 * 86_400.0, 56 * 365 * 86_400.0])
def test_a_clock_that_jumps_deletes_nothing_early(make: Make, jump: float) -> None:
    """M1, case 21: an hour back, a week ahead, 1970 then NTP: ages run on, neither jumping nor starting again."""
    bench = make(retention=keeping(age=3600))
    filled(bench, 3)
    assert [] == bench.retain()
    bench.clock.jump(jump)
    assert [] == bench.retain()
    bench.clock.advance(3590)
    assert [] == bench.retain()
    bench.clock.advance(20)

    assert 3 == len(bench.retain())


def test_a_touched_old_segment_goes_before_a_younger_one(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """M1: order is the index's: an older segment is never younger, so no hole is cut into the chain."""
    monkeypatch.setattr(engine, "boot_id", lambda: "")  # so that the files' own times count
    bench = make()
    filled(bench, 3)
    bench.stop()
    first, second, _ = (bench.path / name for name in bench.names())
    while first.stat().st_ctime <= second.stat().st_ctime + 0.005:
        first.chmod(0o600)
    bench.clock.wall = second.stat().st_ctime + 1000
    bench.retention = keeping(age=999.998)
    bench.look()
    bench.release()

    assert [first.name, second.name] == [item.segment.name for _, item in bench.engine.shelves.surplus(0)][:2]


def test_foreign_files_are_never_touched(make: Make) -> None:
    """Case 22: others' archives, and files of our name's form that are none, count for nothing and stay."""
    bench = make(retention=keeping(keep=1, age=1, total=1))
    foreign = ["telemetry-2024-10-22T16-30-00.000-size.json.gz", "telemetry.json.1", "telemetry.json-20241022.gz",
               "telemetry_20241022_163000.json.gz", "x.zst"]  # fmt: skip
    for name in foreign:
        (bench.path / name).write_bytes(b"foreign")
    filled(bench, 3)
    bench.clock.advance(100)
    bench.retain(10**9)

    assert [b"foreign"] * 5 == [(bench.path / name).read_bytes() for name in foreign]


def test_a_live_file_is_never_deleted_for_the_budget(make: Make) -> None:
    """Case 22: alone over the budget it is an alert, not a deletion."""
    bench = make(retention=keeping(total=1))
    bench.writer().write(big(0, 100))
    bench.look()

    assert [] == bench.retain(10**9)
    assert big(0, 100) == (bench.path / LEAF).read_bytes()


def test_nothing_goes_before_its_release(make: Make) -> None:
    """C2: bytes that may still be live must not come back as new ones."""
    bench = make(retention=keeping(keep=1))
    writer = filled(bench, 1)
    writer.write(big(10, 20))
    bench.seal()
    writer.write(big(20, 30))
    bench.seal()

    assert ["keep"] == bench.retain()
    bench.release()
    assert ["keep"] == bench.retain()


def test_the_live_file_is_synced_once_before(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """C2: a hole that power could fill again must be durable before the segment goes; one fsync serves many."""
    bench = make(retention=keeping(keep=1))
    filled(bench, 4)
    synced: list[int] = []
    real = disk.sync_file

    def noted(fd: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}").endswith(LEAF):
            synced.append(len(bench.names()))
        real(fd)

    monkeypatch.setattr(disk, "sync_file", noted)
    bench.retain()

    assert [4] == synced


@pytest.mark.parametrize("step", ["retain.synced", "retain.marked"])
def test_a_failure_keeps_the_segment_and_the_next_pass_goes_on(make: Make, step: str) -> None:
    """Case 10: an error at one segment is told; nothing is half-done."""
    bench = make(retention=keeping(total=0))
    writer = filled(bench, 2)
    with at(step, fail(OSError(errno.EIO, "EIO"))):
        bench.retain(10**6)
    bench.retain(10**6)
    writer.write(big(20, 30))
    bench.rotate()

    assert big(20, 30) == bench.whole()
    assert 20_000 == bench.segments()[0].start


def test_a_marker_that_cannot_be_written_keeps_the_segment(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """C12, H1: on a full disk the newest segment stays rather than its position being lost, and no part is left."""
    bench = make(retention=keeping(total=0))
    filled(bench, 1)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write_all", full)
        bench.retain(10**6)

    assert big(0, 10) == bench.sealed()
    assert [] == list(bench.path.glob(".*.part"))
    assert ["max_total"] == bench.retain(10**6)


def test_a_deleted_segment_stops_nothing(make: Make) -> None:
    """Case 27: an operator removed it by hand."""
    bench = make(retention=keeping(keep=1))
    filled(bench, 3)
    Path(bench.path / bench.names()[0]).unlink()

    assert ["keep", "keep"] == bench.retain()
    assert 1 == len(bench.names())


def test_five_hundred_rotations_leak_nothing(make: Make) -> None:
    """Case 27: descriptors and memory of names stay bounded by what is kept."""
    bench = make(retention=keeping(keep=2))
    writer = filled(bench, 1)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(10, 260):
        writer.write(lines(number, number + 1))
        bench.rotate()
        bench.retain()

    assert before == len(os.listdir("/proc/self/fd"))
    assert 2 == len(bench.stream().segments)
    assert len(bench.engine.ages._sights) <= 3


def test_segments_of_a_renamed_file_wait_for_the_hint_that_it_is_finished(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes are all still there: a start that knew neither would seal them again. They go once it is noted."""
    bench = make(retention=keeping(age=30))
    writer = bench.writer().write(lines(0, 200))
    bench.rotate()
    (bench.path / LEAF).rename(bench.path / "moved")
    writer.write(lines(200, 400)).close()

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(hints, "disk", SimpleNamespace(end_line=disk.end_line, write_all=refuse))
        bench.rotate()
        assert not bench.stream().departed
        bench.clock.advance(31)
        assert [] == bench.retain()
    bench.crash()
    bench.rotate()
    assert lines(0, 400) == bench.sealed()

    bench.clock.advance(31)
    assert ["max_age", "max_age"] == bench.retain()
    assert b"" == bench.sealed()
    bench.crash()
    bench.rotate()
    assert b"" == bench.sealed()
