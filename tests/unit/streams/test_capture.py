"""Capture: live bytes go into the open part between rotations, and survive a writer that truncates when it restarts."""

from __future__ import annotations

import errno
import gzip
import os

import pytest

from agent.config import Retention
from agent.kit import disk, steps
from agent.kit.disk import Directory
from agent.kit.units import Duration, Size
from agent.streams import copying, follow, names, reader
from agent.streams.dues import Due
from agent.streams.engine import peek
from agent.streams.follow import Follower
from agent.streams.part import walk
from agent.streams.views import view
from tests.support.bench import LEAF, Bench, Writer, at, fail, killed, lines
from tests.unit.streams.conftest import Make

OPEN = names.open_name(LEAF)
CAPTURED = ("capture.written", "capture.synced", "capture.named")
MERGED = ("merge.written", "merge.synced", "merge.renamed", "merge.named", "merge.removed")
SECOND = Duration("1s")


def big(first: int, last: int) -> bytes:
    """Records of 1,000 bytes."""
    return lines(first, last, 1000)


def content(bench: Bench) -> bytes:
    """What lies in the open part, by the format alone."""
    path = bench.archive() / OPEN
    return gzip.decompress(path.read_bytes()) if path.exists() else b""


def capturing(make: Make, **settings: object) -> Bench:
    """A bench that captures each second."""
    return make(**{"capture": SECOND, "max_age": Duration("1h"), **settings})


def tick(bench: Bench, seconds: float = 1.0) -> None:
    """A keeper's pass, a second later."""
    bench.clock.advance(seconds)
    bench.step()


def test_live_bytes_are_captured_released_and_published_at_rotation(make: Make) -> None:
    """Each second's bytes go into the open part and leave the live file; the rotation makes one segment of them."""
    bench = capturing(make)
    writer = bench.writer("truncate")
    for number in range(20):
        writer.write(big(number * 10, number * 10 + 10))
        tick(bench)

    assert [] == bench.names()
    assert big(0, 200) == content(bench)
    assert bench.allocated() <= 3 * 4096
    bench.rotate()

    assert [] == bench.names(".*.open") + bench.names(".*.merge")
    assert 1 == len(bench.segments())
    assert big(0, 200) == bench.sealed()
    assert {} == bench.lost()


@pytest.mark.parametrize("step", CAPTURED[:2])
def test_restarts_while_it_is_captured_leave_nothing_behind(make: Make, step: str) -> None:
    """What is new has the size of what was there, so only the truncation itself tells that there is something."""
    bench = capturing(make)
    writer = bench.writer("truncate").write(big(0, 10))
    restarts = iter([(10, 20), (20, 30)])

    def restart(name: str) -> None:
        if name == step and (records := next(restarts, None)):
            writer.restart().write(big(*records))

    steps.watch(restart)
    for _ in range(4):
        tick(bench)

    assert big(0, 30) == bench.sealed() + content(bench)
    assert {} == bench.lost()


def test_a_restart_with_truncation_loses_only_what_came_after_the_last_capture(make: Make) -> None:
    """The Collector's default: what it wipes was captured; only the bytes since are lost, counted and shown."""
    bench = capturing(make)
    writer = bench.writer("truncate").write(big(0, 50))
    tick(bench)
    writer.write(big(50, 53))
    bench.look()
    writer.restart().write(big(53, 60))
    tick(bench)
    tick(bench)
    bench.rotate()

    assert {"truncated": 3000} == bench.lost()
    assert 3000 == bench.stream().lost
    assert big(0, 50) + big(53, 60) == bench.sealed()


def test_a_refill_past_the_old_size_between_two_looks_is_detected(make: Make) -> None:
    """Truncated and grown beyond what was captured, all between two looks: the guard tells, and nothing is mixed up."""
    bench = capturing(make)
    writer = bench.writer("truncate").write(big(0, 50))
    tick(bench)
    writer.restart().write(big(50, 200))
    tick(bench)
    tick(bench)
    bench.rotate()

    assert big(0, 200) == bench.sealed()
    assert {} == bench.lost()
    assert {one["reason"] for one in bench.events("incarnation")} <= {"guard", "refilled"}
    assert 1 == len(bench.events("incarnation"))


def test_a_refill_to_the_size_that_was_captured_is_captured_too(make: Make) -> None:
    """Truncated and grown to exactly as much as before, all between two looks: its bytes wait for no more growth."""
    bench = capturing(make)
    writer = bench.writer("truncate").write(big(0, 50))
    tick(bench)
    writer.restart().write(big(50, 100))
    for _ in range(3):
        tick(bench)

    assert big(0, 50) == bench.sealed()
    assert big(50, 100) == content(bench)


def test_a_new_life_publishes_the_part_of_the_old_one(make: Make) -> None:
    """A segment holds bytes of one life: the part is published when another one begins, or when the file is deleted."""
    bench = capturing(make)
    writer = bench.writer("truncate").write(big(0, 10))
    tick(bench)
    writer.restart().write(big(10, 22))
    tick(bench)
    tick(bench)
    assert ["incarnation"] == [one.index["reason"] for one in bench.segments()]
    writer.close()
    os.unlink(writer.path)
    tick(bench)
    tick(bench)

    assert ["incarnation"] * 2 == [one.index["reason"] for one in bench.segments()]
    assert big(0, 22) == bench.sealed()


def test_half_a_line_waits_for_its_end(make: Make) -> None:
    """Only whole lines are captured, and the rest as soon as its end was written: no back-off grows meanwhile."""
    bench = capturing(make)
    writer = bench.writer().write(big(0, 2) + b'{"n":')
    for _ in range(30):
        tick(bench)
    assert big(0, 2) == content(bench)
    writer.write(b"1}\n")
    tick(bench)

    assert big(0, 2) + b'{"n":1}\n' == content(bench)


def test_rules_count_what_was_captured(make: Make) -> None:
    """`max_size` and `max_age` mean live and captured bytes together, and the oldest of them."""
    bench = capturing(make, max_size=Size(30_000), max_age=Duration("1m"))
    writer = bench.writer()
    for number in range(4):
        writer.write(big(number * 10, number * 10 + 10))
        tick(bench)
    assert ["size"] == [one.index["reason"] for one in bench.segments()]
    writer.write(big(40, 41))
    for _ in range(62):
        tick(bench)

    assert ["size", "age"] == [one.index["reason"] for one in bench.segments()]


def test_a_part_is_published_before_its_index_is_full(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index names so many members: the part takes no more, and another begins."""
    bench = capturing(make)
    monkeypatch.setattr("agent.streams.part.MAX_MEMBERS", 5)
    monkeypatch.setattr(copying, "MAX_MEMBERS", 5)
    writer = bench.writer()
    for number in range(14):
        writer.write(big(number, number + 1))
        tick(bench)

    assert big(0, 14) == bench.sealed() + content(bench) + bench.live()
    assert 2 == len(bench.segments())


def test_capture_that_is_switched_off_publishes_what_is_there(make: Make) -> None:
    """Nothing stays in a hidden file that nobody goes on with."""
    bench = capturing(make)
    bench.writer().write(big(0, 10))
    tick(bench)
    bench.rotation["capture"] = None
    bench.engine.catalog.configure(bench.config)
    tick(bench)

    assert big(0, 10) == bench.sealed()


def test_small_members_become_large_ones(make: Make) -> None:
    """300 captures make the segment that one pass over the same bytes makes, within 5 % of its size."""
    bench = capturing(make)
    once = make("once")
    plain = b"".join(
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%032x","spanId":"%016x","name":"GET /a/%d"}]}]}]}\n'
        % (number * 2654435761 % 2**128, number * 40503, number % 17)
        for number in range(24_000)
    )
    writer = bench.writer()
    rows = plain.splitlines(keepends=True)
    for number in range(300):
        writer.write(b"".join(rows[number * 80 : number * 80 + 80]))
        tick(bench)
    bench.rotate()
    once.writer().write(plain)
    once.rotate()

    captured, one_pass = bench.segments()[0], once.segments()[0]
    assert plain == bench.sealed()
    assert captured.path.stat().st_size <= 1.05 * one_pass.path.stat().st_size
    assert len(captured.index["members"]) <= len(one_pass.index["members"]) + 1


def test_many_files_are_captured_with_one_sync(make: Make) -> None:
    """One syncfs and one fsync of the directory, however many files grew."""
    bench = capturing(make)
    for number in range(40):
        bench.writer(leaf=f"{number}.json").write(big(0, 2))
    calls: list[str] = []
    real = disk.sync_filesystem, disk.sync_file
    disk.sync_filesystem = lambda fd: (calls.append("syncfs"), real[0](fd))[1]  # type: ignore[func-returns-value]
    disk.sync_file = lambda fd: (calls.append("fsync"), real[1](fd))[1]  # type: ignore[func-returns-value]
    try:
        tick(bench)
    finally:
        disk.sync_filesystem, disk.sync_file = real

    assert ["syncfs"] == calls
    assert 40 == len(bench.names(".*.open"))


@pytest.mark.parametrize("step", CAPTURED)
@pytest.mark.parametrize("nth", [1, 2])
def test_a_kill_while_capturing_loses_nothing(make: Make, step: str, nth: int) -> None:
    """Whatever was written of the part, everything is readable once: from it, or from the live file."""
    bench = capturing(make)
    writer = bench.writer("truncate").write(big(0, 20))

    def scenario() -> None:
        tick(bench)
        writer.write(big(20, 40))
        tick(bench)

    assert killed(step, scenario, nth=nth)
    written = 20 if nth == 1 else 40
    tick(bench)
    writer.write(big(written, 60))
    tick(bench)
    bench.rotate()

    assert big(0, 60) == bench.sealed()
    assert {} == bench.lost()


@pytest.mark.parametrize("step", MERGED)
def test_a_kill_while_publishing_loses_nothing(make: Make, step: str) -> None:
    """Released bytes lie in the part alone until the segment's name is durable; nothing is there twice after it."""
    bench = capturing(make)
    writer = bench.writer("truncate").write(big(0, 20))
    tick(bench)
    writer.write(big(20, 40))
    tick(bench)
    bench.stop()

    assert killed(step, lambda: str(bench.rotate()) and None)
    writer.restart().write(big(40, 50))
    tick(bench)
    tick(bench)
    bench.rotate()

    assert big(0, 50) == bench.sealed()
    assert [] == bench.names(".*.open") + bench.names(".*.merge")
    assert [] == list((bench.path / ".telemetry-agent" / "quarantine").iterdir())


def test_a_start_goes_on_with_the_open_part(make: Make) -> None:
    """A stopped agent leaves its part; the next one adds to it, and one segment comes of both."""
    bench = capturing(make)
    writer = bench.writer().write(big(0, 20))
    tick(bench)
    bench.stop()
    writer.write(big(20, 40))
    tick(bench)
    assert big(0, 40) == content(bench)
    bench.rotate()

    assert 1 == len(bench.segments())
    assert big(0, 40) == bench.sealed()


def test_a_torn_end_of_the_part_is_cut_off(make: Make) -> None:
    """What a crash left of the last member goes; the live file still has those bytes."""
    bench = capturing(make)
    writer = bench.writer().write(big(0, 20))
    tick(bench)
    bench.stop()
    with (bench.archive() / OPEN).open("ab") as file:
        file.write((bench.archive() / OPEN).read_bytes()[:60])
    writer.write(big(20, 30))
    tick(bench)
    bench.rotate()

    assert big(0, 30) == bench.sealed()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("step", ["capture.written", "capture.synced"])
def test_a_capture_that_fails_keeps_what_was_captured_before(make: Make, step: str, error: int) -> None:
    """The part is cut back to what was durable; after a failed sync it takes no more and is written anew."""
    bench = capturing(make)
    writer = bench.writer().write(big(0, 20))
    tick(bench)
    writer.write(big(20, 40))
    with at(step, fail(OSError(error, os.strerror(error)))), pytest.raises(OSError, match=os.strerror(error)):
        tick(bench)
    for _ in range(5):
        tick(bench, 31)
    bench.rotate()

    assert big(0, 40) == bench.sealed()
    assert {} == bench.lost()


def test_a_failed_sync_is_never_tried_again_on_the_same_part(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """H8: the part is published by writing it anew; what it could not take is captured into another one."""
    bench = capturing(make)
    writer = bench.writer().write(big(0, 20))
    tick(bench)
    writer.write(big(20, 40))
    with monkeypatch.context() as patch:
        patch.setattr(disk, "sync_file", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "injected")))
        tick(bench)
    tick(bench, 31)
    tick(bench, 31)

    assert big(0, 20) == bench.sealed()
    assert big(20, 40) == content(bench)


@pytest.mark.parametrize("call", ["sync", "remove"])
def test_what_a_publication_could_not_finish_the_next_look_does(
    call: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the segment's name could not be made durable, or the part not be removed, both lie there until then.

    It is told once, and once more when it is over; what a writer adds meanwhile is captured into a part of its own.
    """
    bench = capturing(make)
    writer = bench.writer().write(big(0, 20))
    tick(bench)

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as disk, at("merge.renamed", lambda: disk.setattr(Directory, call, refuse)):
        assert bench.seal()[0].segment
        for _ in range(3):
            bench.look()
        assert [OPEN] == bench.names(".*")[-1:]
    writer.write(big(20, 30))
    for _ in range(3):
        tick(bench)

    assert big(20, 30) == content(bench)
    assert big(0, 20) == bench.sealed()
    told = [one["event"] for one in bench.engine.audit.recent if one["event"] in ("error", "recovered")]
    assert ["error", "recovered"] == told


def test_retention_waits_for_a_part_that_could_not_be_removed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its segment it is known to be sealed: without that it would be set aside as something that nobody knows."""
    bench = capturing(make, retention=Retention(keep=1, max_age=None, max_total=None))
    writer = bench.writer().write(big(0, 20))
    tick(bench)

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as disk, at("merge.renamed", lambda: disk.setattr(Directory, "remove", refuse)):
        assert bench.seal()[0].segment
    writer.write(big(20, 30))
    assert bench.engine.sealer.seal([(bench.stream(), "request")])[0].segment
    bench.release()
    bench.retain()
    assert ([OPEN], big(0, 30)) == (bench.names(".*")[-1:], bench.sealed())
    bench.look()
    bench.retain()

    assert ([], big(20, 30)) == (bench.events("quarantine"), bench.sealed())
    assert OPEN not in bench.names(".*")


def test_without_room_to_merge_the_part_is_published_as_it_is(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk delays no rotation: the members stay small."""
    bench = capturing(make)
    writer = bench.writer()
    for number in range(5):
        writer.write(big(number, number + 1))
        tick(bench)
    real = bench.engine.sealer.copier.compressor
    monkeypatch.setattr(bench.engine.sealer.copier, "compressor", lambda level: _full if level else real(level))
    bench.engine.rotator.seal([_due(bench)])

    assert big(0, 5) == bench.sealed()
    assert 5 == len(bench.segments()[0].index["members"])


def _full(_: memoryview) -> bytes:
    raise OSError(errno.ENOSPC, "injected")


def _due(bench: Bench) -> Due:
    return Due(bench.stream(), "request")


def test_readers_read_the_open_part(make: Make) -> None:
    """By position, across segment, part and live file; also by a reader that does not manage the directory."""
    bench = capturing(make)
    writer = bench.writer().write(big(0, 10))
    bench.rotate()
    for number in range(1, 4):
        writer.write(big(number * 10, number * 10 + 10))
        tick(bench)
    writer.write(big(40, 43))
    bench.look()
    now = view(bench.stream())
    found, at_position = b"", 0
    while run := reader.read(now, at_position, lambda: now, 4096):
        found, at_position = found + run.data, run.end
    assert big(0, 43) == found
    other = b"".join(follow.records(bench.config, LEAF, clock=bench.clock))
    assert big(0, 43) == other


@pytest.mark.parametrize("further", [False, True], ids=["gone", "of the same name"])
def test_a_reader_with_an_old_view_survives_the_publication(make: Make, further: bool) -> None:
    """The part goes away under it, or another one of its name was begun: it looks again, and reads the segment."""
    bench = capturing(make)
    writer = bench.writer().write(big(0, 30))
    tick(bench)
    old = view(bench.stream())
    bench.rotate()
    if further:
        writer.write(big(30, 90))
        tick(bench)
    run = reader.read(old, 5000, lambda: view(bench.stream()), 1 << 20)

    assert run
    assert big(5, 30) == run.data


def test_a_follower_sees_captures_and_publication(make: Make) -> None:
    """`cat --follow` of another process reads on through both."""
    bench = capturing(make)
    writer = bench.writer().write(big(0, 10))
    tick(bench)
    found = b""
    with peek(bench.config, bench.clock) as engine:
        follower = Follower(engine, LEAF)
        for number in range(1, 9):
            while run := reader.read(follower.view(), len(found), follower.view):
                found += run.data
            writer.write(big(number * 10, number * 10 + 10))
            tick(bench)
            if number % 3 == 0:
                bench.rotate()

    assert big(0, 80) == found


def test_a_reset_waits_for_the_rotation(make: Make) -> None:
    """A file that is closed between its writes is set back to size 0 after a rotation, not at each capture."""
    bench = capturing(make)
    for number in range(5):
        writer = bench.writer().write(big(number, number + 1))
        writer.close()
        tick(bench)
    assert 0 < (bench.path / LEAF).stat().st_size
    bench.rotate()
    bench.clock.advance(31)
    bench.engine.rounds.reset()

    assert 0 == (bench.path / LEAF).stat().st_size
    assert big(0, 5) == bench.sealed()
    assert 1 == len(bench.segments())


def test_retention_leaves_the_open_part_alone(make: Make) -> None:
    """It is no segment yet, and never counts as one; no marker is needed while it keeps the position."""
    bench = capturing(make, retention=Retention(keep=1, max_age=None, max_total=None))
    writer = bench.writer()
    for number in range(3):
        writer.write(big(number * 10, number * 10 + 10))
        tick(bench)
        bench.rotate()
    writer.write(big(30, 40))
    tick(bench)
    bench.retain()

    assert 1 == len(bench.segments())
    assert big(30, 40) == content(bench)
    bench.rotate()
    assert big(20, 40) == bench.sealed()


def test_a_cut_above_the_captured_end_keeps_positions(make: Make) -> None:
    """The writer cuts off bytes that were seen and not captured: their positions stay used, the part ends there."""
    bench = capturing(make)
    writer = bench.writer("append").write(big(0, 10))
    tick(bench)
    writer.write(big(10, 12))
    bench.look()
    writer.cut(10_000)
    bench.look()
    writer.write(big(12, 15))
    tick(bench)
    tick(bench)
    bench.rotate()

    assert big(0, 10) + big(12, 15) == bench.sealed()
    assert 2000 == sum(bench.lost().values())


def test_the_part_is_an_ordinary_gzip_of_sound_members(make: Make) -> None:
    """It reads with `zcat`, and walks by itself."""
    bench = capturing(make)
    bench.writer().write(big(0, 10))
    tick(bench)
    fd = os.open(bench.archive() / OPEN, os.O_RDONLY)
    found = [data for _, data in walk(fd, os.fstat(fd).st_size)]
    os.close(fd)

    assert big(0, 10) == b"".join(found) == content(bench)


@pytest.mark.parametrize("rotate", [False, True])
def test_an_open_part_that_somebody_removed_is_counted_and_stops_nothing(make: Make, rotate: bool) -> None:
    """Case 27: what it held is lost, reason deleted; the next bytes are captured into another one."""
    bench = make(capture=Duration("1s"))
    writer = bench.writer().write(big(0, 10))
    bench.step()
    (bench.path / ".telemetry.json.open").unlink()
    if rotate:
        bench.seal()
    writer.write(big(10, 20))
    for _ in range(3):
        bench.clock.advance(2)
        bench.step()
    bench.rotate()

    assert (big(10, 20), {"deleted": 10_000}) == (bench.whole(), bench.lost())


def _captured(make: Make, members: int) -> tuple[Bench, Writer, list[int]]:
    """An open part of so many members with 50 records each, all released; where they begin in it."""
    bench = capturing(make)
    writer, offsets = bench.writer(), []
    for number in range(members):
        offsets.append((bench.path / OPEN).stat().st_size if number else 0)
        writer.write(big(number * 50, number * 50 + 50))
        tick(bench)
    return bench, writer, offsets


def _flip(bench: Bench, at: int) -> bytes:
    """Damage the open part; what it is then."""
    raw = bytearray((bench.path / OPEN).read_bytes())
    raw[at] ^= 1
    (bench.path / OPEN).write_bytes(raw)
    return bytes(raw)


@pytest.mark.parametrize("at", [30, 150], ids=["header", "body"])
@pytest.mark.parametrize("bad", [(0,), (1,), (4,), (0, 2), (1, 2), (1, 3), (0, 1, 2, 3, 4)], ids=str)
def test_a_damaged_open_part_is_published_but_for_its_bad_members(make: Make, bad: tuple[int, ...], at: int) -> None:
    """What is sound in it becomes segments, what is not is lost and counted, the file is kept, the stream lives on."""
    bench, writer, offsets = _captured(make, 5)
    for number in bad:
        damaged = _flip(bench, offsets[number] + at)
    writer.write(big(250, 260))
    for _ in range(4):
        tick(bench)
        bench.rotate()
    writer.write(big(260, 270))
    bench.rotate()
    bench.clock.advance(60)
    bench.rotate()

    assert b"".join(big(n * 50, n * 50 + 50) for n in range(5) if n not in bad) + big(250, 270) == bench.whole()
    assert {"damaged": 50_000 * len(bad)} == bench.lost()
    assert [] == bench.names(OPEN) + bench.names(".*.merge")
    (aside,) = bench.names(".*.quarantined")
    assert (bench.path / aside).read_bytes().startswith(damaged)
    assert 1 == len(bench.events("quarantine"))
    assert bench.stream().failure == ""
    before = bench.names()
    bench.crash()
    bench.rotate()
    assert (before, 50_000 * len(bad)) == (bench.names(), sum(bench.lost().values()))


@pytest.mark.parametrize("step", MERGED)
@pytest.mark.parametrize("nth", [1, 2])
def test_a_kill_while_a_damaged_part_is_published(make: Make, step: str, nth: int) -> None:
    """Whatever was published of it stays, once; what is not is set aside at the next start, and counted.

    Killed between the name of what follows a bad member and the count of that one, it is counted never, not twice.
    """
    bench, writer, offsets = _captured(make, 5)
    _flip(bench, offsets[1] + 150)
    writer.write(big(250, 260))
    bench.look()

    killed(step, lambda: str(bench.rotate()) and None, nth=nth)
    bench.crash()
    for number in range(3):
        writer.write(big(260 + number, 261 + number))
        bench.clock.advance(60)
        bench.rotate()
    found = [int(line[6:13]) for line in bench.whole().splitlines()]

    assert found == sorted(set(found))
    assert list(range(50)) == found[:50]
    assert list(range(250, 263)) == found[-13:]
    missing = 263_000 - 1000 * len(found)
    assert bench.lost().get("damaged", 0) in ([0, missing] if (step, nth) == ("merge.renamed", 2) else [missing])


def test_without_room_a_damaged_part_is_left_as_it_is(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be written anew, and is not cut at its bad member instead: once there is room, what is sound comes."""
    bench, _, offsets = _captured(make, 4)
    damaged = _flip(bench, offsets[2] + 30)
    with monkeypatch.context() as patch:
        patch.setattr(bench.engine.sealer.copier, "compressor", lambda _: _full)
        assert bench.engine.sealer.seal([(bench.stream(), "request")])[0].error
    assert damaged == (bench.path / OPEN).read_bytes()
    bench.rotate()

    assert big(0, 100) + big(150, 200) == bench.sealed()


@pytest.mark.parametrize("bad", [0, 1])
def test_a_damaged_part_that_outlives_its_segments_is_kept(
    make: Make, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    """The segments' names could not be made durable at once: the next look sets it aside, and counts nothing twice."""
    bench, writer, offsets = _captured(make, 3)
    damaged = _flip(bench, offsets[bad] + 150)

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as disk, at("merge.renamed", lambda: disk.setattr(Directory, "sync", refuse)):
        bench.seal()
    assert damaged == (bench.path / OPEN).read_bytes()
    writer.write(big(150, 160))
    for _ in range(3):
        tick(bench, 60)
    bench.rotate()

    assert b"".join(big(n * 50, n * 50 + 50) for n in range(3) if n != bad) + big(150, 160) == bench.whole()
    assert {"damaged": 50_000} == bench.lost()
    (aside,) = (bench.path / ".telemetry-agent/quarantine").iterdir()
    assert damaged.endswith(aside.read_bytes())


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("left", ["nothing", "the header of the first", "the first", "all but 10 bytes"])
def test_an_open_part_that_somebody_cut_is_not_made_longer(make: Make, left: str, rotate: bool) -> None:
    """What is sound in it becomes a segment, the rest is lost and counted; the next bytes go into another part."""
    bench, writer, offsets = _captured(make, 3)
    whole = (bench.path / OPEN).stat().st_size
    sizes = {"nothing": 0, "the header of the first": 100, "the first": offsets[1], "all but 10 bytes": whole - 10}
    os.truncate(bench.path / OPEN, sizes[left])
    writer.write(big(150, 160))
    if rotate:
        bench.seal()
    for number in range(160, 163):
        writer.write(big(number, number + 1))
        tick(bench, 60)
    bench.rotate()
    bench.crash()
    bench.rotate()

    sound = {"the first": 50, "all but 10 bytes": 100}.get(left, 0)
    assert big(0, sound) + big(150, 163) == bench.whole()
    assert {"damaged": 1000 * (150 - sound)} == bench.lost()
    (aside,) = bench.names(".*.quarantined")
    assert sizes[left] == (bench.path / aside).stat().st_size
    assert bench.stream().failure == ""
