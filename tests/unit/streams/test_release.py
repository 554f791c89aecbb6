"""Releasing and resetting: space goes back only for what was compared, and the writer never notices."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent.config import Retention
from agent.kit import disk, linux
from agent.kit.disk import Directory
from agent.kit.errors import RefusedError
from agent.streams import dues, release
from agent.streams.live import GUARD
from agent.streams.segment import SegmentReader
from tests.support.bench import LEAF, MEMORY, Bench, Writer, apart, at, fail, lines
from tests.unit.streams.conftest import Make

WIDE = 1000
"""Records of this width fill blocks quickly."""


def big(first: int, last: int) -> bytes:
    """Records of 1,000 bytes."""
    return lines(first, last, WIDE)


def write(writer: Writer, data: bytes) -> None:
    """Write, as an action."""
    writer.write(data)


# -- release


@pytest.mark.parametrize("mode", ["append", "truncate"])
def test_a_writer_that_holds_its_file_goes_on_undisturbed(anywhere: Bench, mode: str) -> None:
    """Cases 1, 2: sealed blocks become holes; descriptor, size and inode stay, nothing is lost or twice."""
    writer = anywhere.writer(mode)
    inode = os.fstat(writer.fd).st_ino
    for number in range(20):
        writer.write(big(number * 50, number * 50 + 50))
        anywhere.rotate()

    assert big(0, 1000) == anywhere.whole()
    assert 1_000_000 == os.fstat(writer.fd).st_size
    assert inode == (anywhere.path / LEAF).stat().st_ino
    assert anywhere.allocated() <= 3 * 4096
    assert {} == anywhere.lost()


def test_the_usual_file_is_not_asked_for_its_holes(anywhere: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEEK_DATA and SEEK_HOLE take the inode's lock, for which the writer waits: the count of blocks tells as much."""
    asked: list[int] = []
    seek = os.lseek

    def watched(fd: int, offset: int, whence: int) -> int:
        if whence in (os.SEEK_DATA, os.SEEK_HOLE):
            asked.append(offset)
        return seek(fd, offset, whence)

    writer = anywhere.writer()
    with Directory.open(str(anywhere.path)) as home:
        if linux.filesystem(home.fd) not in ("ext4", "btrfs", "tmpfs"):
            pytest.skip("the file system allocates ahead of the writer")
    for number in range(10):
        writer.write(big(number * 50, number * 50 + 50))
        if number == 2:
            monkeypatch.setattr(os, "lseek", watched)
        anywhere.rotate()

    assert [] == asked
    assert big(0, 500) == anywhere.whole()


def test_the_guard_is_never_punched(anywhere: Bench) -> None:
    """C4, C5: at least 256 sealed bytes before S stay, in whole blocks: the content by which the file is known."""
    anywhere.writer().write(big(0, 100))
    anywhere.rotate()

    content = (anywhere.path / LEAF).read_bytes()
    life = anywhere.life()
    kept = life.sealed - life.released
    assert GUARD <= kept <= GUARD + 4096
    assert big(0, 100)[-kept:] == content[-kept:]
    assert bytes(life.released) == content[: life.released]


def test_a_file_smaller_than_the_guard_is_left_alone(bench: Bench) -> None:
    """There is no whole block to give back."""
    bench.writer().write(lines(0, 3))
    bench.rotate()

    assert lines(0, 3) == (bench.path / LEAF).read_bytes()
    assert () == bench.stream().pending


def test_a_writer_that_rewrites_its_last_block_doubles_nothing(anywhere: Bench) -> None:
    """C4: a logger that flushes its partly filled block from the block's start writes sealed bytes again."""
    writer = anywhere.writer("hold")
    content = b""
    for number in range(60):
        start = len(content) // 4096 * 4096
        content += big(number, number + 1)
        writer.put(content[start:], start)
        anywhere.rotate()

    assert big(0, 60) == anywhere.whole()
    assert {} == anywhere.lost()
    assert 1 == len({one.incarnation for one in anywhere.segments()})


def test_a_piece_that_differs_is_not_punched(anywhere: Bench) -> None:
    """C3, step 7: new bytes below S are compared before anything is punched, and stay."""
    writer = anywhere.writer("hold").write(big(0, 100))
    anywhere.seal()
    writer.put(b"NEW", 20_000)
    anywhere.release()

    assert b"NEW" == (anywhere.path / LEAF).read_bytes()[20_000:20_003]
    assert () == anywhere.stream().pending
    assert "release_mismatch" == anywhere.events("error")[0]["reason"]


def test_truncation_before_the_release_loses_nothing_that_is_new(anywhere: Bench) -> None:
    """C6: a writer that starts anew between publication and release keeps all its new records."""
    writer = anywhere.writer("truncate").write(big(0, 100))
    anywhere.seal()
    writer.restart().write(big(100, 120))
    anywhere.release()
    anywhere.rotate()

    assert big(0, 120) == anywhere.whole()
    assert {} == anywhere.lost()


def test_a_refill_past_the_old_size_is_known_by_its_content(anywhere: Bench) -> None:
    """C5, case 16: truncated and refilled beyond S between two looks; guard and hole tell it apart."""
    writer = anywhere.writer("truncate").write(big(0, 100))
    anywhere.rotate()
    writer.restart().write(big(100, 300))
    anywhere.rotate()

    assert big(0, 300) == anywhere.whole()
    assert {} == anywhere.lost()
    assert 100_000 <= anywhere.segments()[1].start


def test_a_refill_with_the_same_content_is_known_by_the_hole(anywhere: Bench) -> None:
    """C5, case 18: identical bytes where a hole must be are a new life; they are sealed, not taken for old ones."""
    writer = anywhere.writer("truncate").write(big(0, 100))
    anywhere.rotate()
    writer.restart().write(big(0, 100))
    anywhere.rotate()

    assert big(0, 100) + big(0, 100) == anywhere.whole()


def test_truncation_in_the_window_is_told(anywhere: Bench) -> None:
    """H2: truncated and refilled between comparison and punch: at most one piece is gone, and that is audited."""
    writer = anywhere.writer().write(big(0, 100))
    anywhere.seal()
    with at("release.compared", lambda: write(writer.cut(), big(100, 120))):
        anywhere.release()
    writer.write(big(120, 140))
    anywhere.rotate()

    told = [entry for entry in anywhere.events("release") if entry["reason"] == "window"]
    assert 1 == len(told)
    assert 0 < told[0]["at_most"] <= 20_000
    start, end = told[0]["positions"]
    assert told[0]["physical"] == [start, end]
    assert told[0]["bytes"] == end - start >= told[0]["at_most"]
    assert anywhere.whole().endswith(big(120, 140))
    assert big(0, 100) == anywhere.sealed()[:100_000]


def noted_punches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Grows by the range of each punch from now on."""
    punched: list[tuple[int, int]] = []
    real = disk.punch

    def noted(fd: int, start: int, end: int) -> None:
        punched.append((start, end))
        real(fd, start, end)

    monkeypatch.setattr(disk, "punch", noted)
    return punched


def test_pieces_bound_what_one_call_punches(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """C3, H2: ascending, a piece at a time, so a crash leaves a prefix of holes and a window is short."""
    monkeypatch.setattr(release, "PIECE", 16 << 10)
    bench.engine.sealer.copier.member_size = 8 << 10
    bench.writer().write(big(0, 100))
    bench.seal()
    punched = noted_punches(monkeypatch)
    bench.release()

    assert sorted(punched) == punched
    assert all(end - start <= (16 << 10) + 4096 for start, end in punched)
    assert punched[-1][1] == bench.life().released


def test_segments_that_wait_together_are_punched_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """C3: each punch makes the writer wait, so that there is one a piece, however many segments lie in it."""
    monkeypatch.setattr(release, "PIECE", 8 << 20)  # the model's lives, in the same process, make it small
    writer = bench.writer()
    for number in range(5):
        writer.write(big(20 * number, 20 * number + 20))
        bench.seal()
    punched = noted_punches(monkeypatch)
    bench.release()

    assert [(0, bench.life().released)] == punched
    assert 5 == len(bench.events("release"))
    assert () == bench.stream().pending


def test_a_release_is_one_entry_a_segment_however_small_the_pieces(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With reason, place in the stream and bytes; in a second life physical offsets begin anew, positions go on."""
    monkeypatch.setattr(release, "PIECE", 16 << 10)
    bench.engine.sealer.copier.member_size = 8 << 10
    writer = bench.writer("truncate").write(big(0, 100))
    bench.rotate()
    writer.restart().write(big(100, 150))
    bench.seal()
    while bench.stream().pending:
        bench.engine.releaser.release(bench.stream(), 1)

    told = [{key: one[key] for key in ("reason", "physical", "positions", "bytes")} for one in bench.events("release")]
    assert [
        {"reason": "sealed", "physical": [0, 100_000], "positions": [0, 100_000], "bytes": 100_000},
        {"reason": "sealed", "physical": [0, 50_000], "positions": [100_000, 150_000], "bytes": 50_000},
    ] == told


def test_a_release_says_that_its_segment_was_taken_away(bench: Bench) -> None:
    """Nothing was compared with it, so the entry is not that of a sealed one."""
    bench.writer().write(big(0, 20))
    bench.seal()
    (bench.path / bench.names()[0]).unlink()
    bench.release()

    assert ["segment removed"] == [one["reason"] for one in bench.events("release")]


def test_what_differs_stops_only_what_comes_after_it(bench: Bench) -> None:
    """Space of the segments before it goes back; its own bytes, and those behind it, stay."""
    writer = bench.writer()
    for number in range(3):
        writer.write(big(20 * number, 20 * number + 20))
        bench.seal()
    with (bench.path / LEAF).open("r+b") as file:
        file.seek(bench.stream().pending[1].source.start + 5000)
        file.write(b"another")
    bench.release()

    assert 1 == len(bench.events("release"))
    assert ["release_mismatch"] == [entry["reason"] for entry in bench.events("error")]
    assert bench.allocated() >= 40_000 - 8192


def test_a_budget_bounds_a_release(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper releases piece by piece; what is left stays pending."""
    monkeypatch.setattr(release, "PIECE", 16 << 10)
    bench.engine.sealer.copier.member_size = 8 << 10
    bench.writer().write(big(0, 200))
    bench.seal()
    bench.engine.releaser.release(bench.stream(), 10)

    assert 1 == len(bench.stream().pending)
    bench.release()
    assert () == bench.stream().pending


def test_an_interrupted_release_is_done_again(anywhere: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Punching is idempotent: a failure in the middle heals at the next try."""
    monkeypatch.setattr(release, "PIECE", 16 << 10)
    anywhere.engine.sealer.copier.member_size = 8 << 10
    anywhere.writer().write(big(0, 100))
    anywhere.seal()
    with at("release.punched", fail(OSError(5, "EIO")), nth=2):
        anywhere.engine.rounds.release()
    assert anywhere.stream().pending
    anywhere.rotate()

    assert big(0, 100) == anywhere.whole()
    assert anywhere.allocated() <= 8192


def test_no_write_permission_refuses_the_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 24, 25: a file we may not write to is refused with the remedy; what was sealed stays."""
    bench.writer().write(big(0, 100))
    bench.seal()

    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(disk.Directory, "open_update", denied)
    bench.release()

    assert "permission" == bench.stream().refused.reason  # type: ignore[union-attr]  # it is what is asserted
    assert "owner" in bench.stream().refused.hint  # type: ignore[union-attr]  # as above
    assert big(0, 100) == (bench.path / LEAF).read_bytes()


def test_a_lease_on_the_file_only_delays(bench: Bench) -> None:
    """An open of a leased file answers EAGAIN; sealing and releasing try again later and nothing is refused."""
    writer = bench.writer().write(big(0, 100))
    bench.look()
    fd = writer.fd
    fcntl.fcntl(fd, 10, 23)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    outcome = bench.seal()[0]
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    assert isinstance(outcome.error, BlockingIOError)
    assert (None, "") == (bench.stream().refused, bench.stream().failure)

    bench.rotate()

    assert big(0, 100) == bench.whole()


# -- reset


def rest(bench: Bench) -> int:
    """Seal, release, and set back what nobody has open; how many files were."""
    bench.rotate()
    return len(bench.engine.rounds.reset())


def test_a_file_nobody_has_open_is_set_back(anywhere: Bench) -> None:
    """C1, H4: path, inode, owner and mode stay, the size is 0 again, and positions go on."""
    writer = anywhere.writer().write(big(0, 100))
    writer.close()
    before = (anywhere.path / LEAF).stat()

    assert 1 == rest(anywhere)

    after = (anywhere.path / LEAF).stat()
    assert (before.st_ino, before.st_mode, 0, 0) == (after.st_ino, after.st_mode, after.st_size, after.st_blocks)
    anywhere.clock.advance(60)
    anywhere.writer().write(big(100, 150))
    anywhere.rotate()
    assert big(0, 150) == anywhere.whole()
    assert [100_000, 150_000] == [one.end for one in anywhere.segments()]
    assert {} == anywhere.lost()


@pytest.mark.parametrize("how", [os.O_RDONLY, os.O_WRONLY])
def test_a_file_somebody_has_open_is_not_set_back(anywhere: Bench, how: int) -> None:
    """C1: neither under a writer nor under a reader, who would be shifted."""
    anywhere.writer().write(big(0, 100)).close()
    fd = os.open(anywhere.path / LEAF, how)

    assert 0 == rest(anywhere)

    os.close(fd)
    assert 100_000 == (anywhere.path / LEAF).stat().st_size
    anywhere.clock.advance(release.RESET_BACKOFF)
    anywhere.engine.rounds.resting[anywhere.stream()] = None
    assert 1 == len(anywhere.engine.rounds.reset())


def test_an_opener_waits_and_finds_an_empty_file(anywhere: Bench) -> None:
    """C1, case 25: an open that comes while the lease is held waits; the records it writes then are all there, once."""
    anywhere.writer().write(big(0, 100)).close()
    opened: list[int] = []

    def opener() -> None:
        fd = os.open(anywhere.path / LEAF, os.O_WRONLY | os.O_APPEND)
        opened.append(os.fstat(fd).st_size)
        os.write(fd, big(100, 110))
        os.close(fd)

    thread = threading.Thread(target=opener)
    with at("reset.sealed", thread.start):
        rest(anywhere)
    thread.join()
    anywhere.clock.advance(60)
    anywhere.rotate()

    assert big(0, 110) == anywhere.whole()
    assert {} == anywhere.lost()


def test_a_lease_that_is_being_broken_is_not_truncated_under(anywhere: Bench) -> None:
    """C1: when somebody opens before the truncation, holes are enough: nothing of his is cut off."""
    anywhere.writer().write(big(0, 100)).close()
    path = anywhere.path / LEAF

    def opener() -> None:
        with pytest.raises(BlockingIOError):
            os.open(path, os.O_WRONLY | os.O_NONBLOCK)

    with at("reset.punched", opener):
        assert 0 == rest(anywhere)
    assert 100_000 == path.stat().st_size
    anywhere.writer().write(big(100, 150))
    anywhere.rotate()
    anywhere.writer().write(big(150, 200))
    anywhere.rotate()

    assert big(0, 200) == anywhere.whole()
    assert {} == anywhere.lost()


def visited(bench: Bench, step: str) -> int:
    """Reset in a process of its own, whose file somebody tries to open at a place; how that process ended.

    Who tries does not wait: he hears that a lease is in his way, and the kernel asks for it back, by a signal.
    """
    opener = "import os, sys\ntry: os.open(sys.argv[1], os.O_RDWR | os.O_NONBLOCK)\nexcept BlockingIOError: sys.exit(9)"
    command = [sys.executable, "-c", opener, str(bench.path / LEAF)]

    def reset() -> None:
        with at(step, lambda: os._exit(2) if subprocess.call(command) != 9 else None) as reached:
            assert not bench.engine.rounds.reset()
        assert reached[step]

    return apart(reset)


@pytest.mark.parametrize("step", ["reset.leased", "reset.sealed", "reset.punched"])
def test_the_signal_of_a_broken_lease_ends_nobody(anywhere: Bench, step: str) -> None:
    """Case 25: the kernel asks for the lease back by a signal: the agent lives, and cuts nothing off."""
    anywhere.writer().write(big(0, 100)).close()
    anywhere.rotate()

    assert 0 == visited(anywhere, step)
    assert 100_000 == (anywhere.path / LEAF).stat().st_size


def test_the_usual_signal_of_a_broken_lease_would_end_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 25: a negative control: where no other signal is asked for it is SIGIO, of which a process dies."""
    monkeypatch.setattr(linux, "_F_SETSIG", fcntl.F_GETFD)
    bench.writer().write(big(0, 100)).close()
    bench.rotate()

    assert -signal.SIGIO == visited(bench, "reset.sealed")


def test_the_short_rest_is_sealed_under_the_lease(bench: Bench) -> None:
    """What was written after the last seal goes into a segment before the file becomes empty."""
    writer = bench.writer().write(big(0, 100))
    bench.rotate()
    writer.write(big(100, 110)).close()
    bench.engine.rounds.resting[bench.stream()] = None

    assert 1 == len(bench.engine.rounds.reset())
    assert big(0, 110) == bench.sealed()
    assert "reset" == bench.segments()[-1].index["reason"]
    (told,) = bench.events("reset")
    assert ([0, 110_000], [0, 110_000], 110_000) == (told["physical"], told["positions"], told["bytes"])


def test_a_long_rest_is_left_for_the_next_seal(bench: Bench) -> None:
    """Openers wait while the lease is held, so only little is sealed under it."""
    writer = bench.writer().write(big(0, 100))
    bench.rotate()
    writer.write(big(100, 500)).close()
    bench.engine.rounds.resting[bench.stream()] = None

    assert 0 == len(bench.engine.rounds.reset())
    assert big(0, 100) == bench.sealed()


def test_an_unterminated_line_counts_only_after_a_long_idle_time(bench: Bench) -> None:
    """C1, case 5: an open-append-close writer's half line is not torn; a dead writer's last line is kept."""
    writer = bench.writer().write(big(0, 100) + b'{"last":1}')
    writer.close()
    assert 0 == rest(bench)
    bench.clock.advance(release.UNTERMINATED_IDLE)
    bench.engine.rounds.resting[bench.stream()] = None

    assert 1 == len(bench.engine.rounds.reset())
    assert big(0, 100) + b'{"last":1}' == bench.sealed()
    assert 1 == bench.segments()[-1].index["records"]


def test_no_reset_where_leases_are_local_only(bench: Bench) -> None:
    """H10: on a network file system a lease says nothing about writers elsewhere."""
    bench.writer().write(big(0, 100)).close()
    bench.rotate()
    bench.stream().place.filesystem = "nfs"

    assert 0 == len(bench.engine.rounds.reset())
    assert 100_000 == (bench.path / LEAF).stat().st_size


def test_lease_tests_are_rate_limited(bench: Bench) -> None:
    """C1: an opener waits while a lease is held, so it is not asked for again at once."""
    bench.writer().write(big(0, 100)).close()
    bench.rotate()
    bench.stream().next_reset = bench.clock.monotonic() + 0.5

    assert 0 == len(bench.engine.rounds.reset())


@pytest.mark.parametrize("step", ["reset.leased", "reset.sealed", "reset.hinted", "reset.punched"])
def test_a_fault_during_a_reset_loses_nothing(anywhere: Bench, step: str) -> None:
    """Wherever a reset fails, the lease is dropped and the stream goes on."""
    anywhere.writer().write(big(0, 100)).close()
    with at(step, fail(OSError(5, "EIO"))):
        assert 0 == rest(anywhere)
    anywhere.writer().write(big(100, 150))
    anywhere.rotate()
    anywhere.writer().write(big(150, 160))
    anywhere.rotate()

    assert big(0, 160) == anywhere.whole()
    assert {} == anywhere.lost()


def test_two_hundred_idle_files_are_set_back_in_bounded_passes(make: Make) -> None:
    """One step sets back only so many files."""
    bench = make()
    for number in range(6):
        bench.writer(leaf=f"{number}.json").write(big(0, 10)).close()
    bench.seal(*[f"{number}.json" for number in range(6)])
    bench.release()

    assert [4, 2, 0] == [len(bench.engine.rounds.reset(4)) for _ in range(3)]


def test_refused_without_holes(bench: Bench) -> None:
    """Case 24: on a file system that is not known to give holes back the stream is refused, with a hint."""
    bench.writer().write(big(0, 100))
    bench.look()
    bench.stream().place.filesystem = "nfs"

    ready, _ = dues.find(bench.engine.tools, [bench.stream()])

    refused = bench.stream().refused
    assert [] == ready
    assert isinstance(refused, RefusedError)
    assert ("filesystem", True) == (refused.reason, "copytruncate" in refused.hint)


def test_memory_is_where_tests_think(tmp_path: Path) -> None:
    """The two benches really lie on two kinds of file systems, where the machine has both."""
    from agent.kit import linux

    kinds = []
    for path in (tmp_path, MEMORY):
        fd = os.open(path, os.O_RDONLY)
        kinds.append(linux.filesystem(fd))
        os.close(fd)

    assert "tmpfs" == kinds[1]
    assert kinds[0] in linux.LOCAL


def test_a_segment_that_somebody_moved_away_holds_up_nothing(bench: Bench) -> None:
    """A hook that uploads and removes it: nothing stays pending, it is told, and later bytes are given back."""
    writer = bench.writer().write(big(0, 50))
    bench.seal()
    (bench.path / bench.names()[0]).unlink()
    bench.engine.rounds.release()

    assert (0, False) == bench.engine.rounds.release()
    assert ["segment removed"] == [entry["reason"] for entry in bench.events("error")]
    writer.write(big(50, 100))
    bench.rotate()
    assert big(50, 100) == bench.whole()
    assert bench.allocated() <= 8192


# -- damaged segments


def damage(bench: Bench, number: int, member: int = 0) -> None:
    """Change a byte in the header of one of a segment's members."""
    path = bench.path / bench.names()[number]
    content = bytearray(path.read_bytes())
    at = -1
    for _ in range(member + 1):
        at = content.index(b"\x1f\x8b\x08\x04", at + 1)
    content[at + 30] ^= 1
    path.write_bytes(content)


def test_a_damaged_segment_whose_bytes_are_a_hole_holds_up_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a boot all is compared once more: there is nothing to compare in a hole, and the rest goes on."""
    bench = make(retention=Retention(keep=2, max_age=None, max_total=None))
    writer = bench.writer().write(big(0, 100))
    bench.rotate()
    writer.write(big(100, 200))
    bench.rotate()
    bench.stop()
    damage(bench, 0)
    monkeypatch.setattr("agent.streams.engine.boot_id", lambda: "another")
    writer.write(big(200, 300))
    bench.rotate()

    assert () == bench.stream().pending
    assert bench.allocated() <= 8192
    assert ["keep"] == bench.retain()
    assert big(100, 300) == bench.whole()


def test_what_a_damaged_member_held_stays_in_the_live_file(anywhere: Bench) -> None:
    """Its bytes there may be the only good copy: they are not punched, also by no reset; all others are."""
    anywhere.engine.sealer.copier.member_size = 50_000
    writer = anywhere.writer().write(big(0, 200))
    anywhere.seal()
    damage(anywhere, 0, member=1)
    anywhere.release()
    writer.write(big(200, 300)).close()
    anywhere.rotate()

    content = (anywhere.path / LEAF).read_bytes()
    assert big(50, 100) == content[50_000:100_000]
    assert anywhere.allocated() <= 50_000 + 4 * 4096
    assert () == anywhere.stream().pending
    told = [one for one in anywhere.events("error") if one["reason"] == "segment damaged"]
    assert [[50_000, 100_000]] == [one["physical"] for one in told]
    assert 0 == len(anywhere.engine.rounds.reset())
    assert 300_000 == (anywhere.path / LEAF).stat().st_size
    assert [(0, 200_000), (200_000, 300_000)] == [
        (one.extent.start, one.extent.end) for one in anywhere.stream().segments
    ]


@pytest.mark.parametrize("boot", ["the same", "another"])
def test_a_start_knows_a_file_that_keeps_what_a_damaged_member_held(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, boot: str
) -> None:
    """The damaged segment tells nothing of those bytes, and the file is the one that was sealed all the same."""
    bench.engine.sealer.copier.member_size = 50_000
    writer = bench.writer().write(big(0, 200))
    bench.seal()
    damage(bench, 0, member=1)
    bench.release()
    bench.stop()
    if boot == "another":
        monkeypatch.setattr("agent.streams.engine.boot_id", lambda: boot)
    writer.write(big(200, 300))
    bench.rotate()
    bench.rotate()

    assert [200_000, 300_000] == [one.extent.end for one in bench.stream().segments]
    assert () == bench.stream().pending
    assert big(50, 100) == (bench.path / LEAF).read_bytes()[50_000:100_000]
    assert bench.allocated() <= 50_000 + 4 * 4096


def test_what_a_damaged_segment_held_goes_with_it(make: Make) -> None:
    """Once a rule deletes the segment nobody wants those bytes any more: the next release gives them back."""
    bench = make(retention=Retention(keep=1, max_age=None, max_total=None))
    writer = bench.writer().write(big(0, 100))
    bench.seal()
    damage(bench, 0)
    bench.release()
    assert bench.allocated() >= 100_000
    writer.write(big(100, 200))
    bench.rotate()
    assert ["keep"] == bench.retain()
    writer.write(big(200, 300))
    bench.rotate()

    assert bench.allocated() <= 8192
    assert big(100, 300) == bench.whole()


@pytest.mark.parametrize("members", [(0,), (0, 1), (1,)])
def test_a_file_that_power_loss_cut_is_sealed_again_where_its_segment_is_damaged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, members: tuple[int, ...]
) -> None:
    """Nothing tells which of its bytes were sealed: rather twice than never, and the stream goes on."""
    bench.engine.sealer.copier.member_size = 50_000
    writer = bench.writer().write(big(0, 100))
    bench.seal()
    bench.stop()
    for member in members:
        damage(bench, 0, member)
    monkeypatch.setattr("agent.streams.engine.boot_id", lambda: "another")
    writer.cut(80_000).write(big(100, 120))
    bench.rotate()
    bench.rotate()

    assert "" == bench.stream().failure
    assert [(0, 100_000), (100_000, 200_000)] == [(one.extent.start, one.extent.end) for one in bench.stream().segments]
    with SegmentReader(bench.stream().segments[-1]) as reader:
        assert big(0, 80) + big(100, 120) == reader.range(100_000, 200_000)
    assert bench.allocated() <= 8192
