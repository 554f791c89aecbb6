"""Recovery: everything is found again by content; nothing is lost or twice wherever the agent was killed."""

from __future__ import annotations

import errno
import gzip
import os
import tracemalloc
from pathlib import Path

import pytest

from agent.config import Retention
from agent.kit.disk import Directory
from agent.kit.errors import CorruptError
from agent.kit.units import Duration, Size
from agent.streams import departure, engine, member, names, release
from agent.streams.dues import Due
from agent.streams.position import Identity
from tests.support.bench import LEAF, Bench, Writer, at, killed, lines
from tests.unit.streams.conftest import Make


def big(first: int, last: int) -> bytes:
    """Records of 1,000 bytes."""
    return lines(first, last, 1000)


def refuse(_: Directory) -> None:
    """A disk that takes nothing."""
    raise OSError(errno.EIO, "injected")


def drop_state(bench: Bench) -> None:
    """What an operator, or a full disk, does to the state directory."""
    state = bench.path / ".telemetry-agent"
    for one in state.iterdir():
        if one.is_file():
            one.unlink()


def quarantined(bench: Bench) -> list[str]:
    """What was set aside."""
    return sorted(one.name for one in (bench.path / ".telemetry-agent/quarantine").iterdir())


def settle(bench: Bench, writer: Writer, data: bytes) -> None:
    """Go on after a start: the writer writes once more, everything is sealed and released."""
    bench.look()
    writer.write(data)
    bench.rotate()
    bench.clock.advance(60)
    bench.rotate()


# -- killed anywhere


SEAL_STEPS = [
    "seal.opened", "copy.created", "copy.member", "copy.written", "copy.synced", "verify.member", "verify.done",
    "publish.renamed", "publish.synced", "release.compared", "release.punched", "release.done",
]  # fmt: skip


@pytest.mark.parametrize("state", ["state kept", "state lost"])
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("step", SEAL_STEPS)
def test_a_kill_at_any_step_of_sealing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str, nth: int, state: str
) -> None:
    """C2, C7, C11, C12, cases 8, 9: SIGKILL between any two actions, with or without the state directory."""
    monkeypatch.setattr(release, "PIECE", 16 << 10)
    writer = bench.writer().write(big(0, 30))

    def scenario() -> None:
        bench.engine.sealer.copier.member_size = 8 << 10
        bench.rotate()
        writer.write(big(30, 60))
        bench.rotate()
        writer.write(big(60, 90))
        bench.rotate()

    assert killed(step, scenario, nth=nth)
    if state == "state lost":
        drop_state(bench)
    written = writer.path.stat().st_size // 1000

    settle(bench, writer, big(written, written + 10))

    assert big(0, written + 10) == bench.whole()
    assert {} == bench.lost()
    assert bench.allocated() <= 3 * 4096
    assert [] == quarantined(bench)


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("step", SEAL_STEPS)
def test_a_kill_followed_by_a_writer_that_starts_anew(bench: Bench, step: str, nth: int) -> None:
    """C11, case 15: the agent is gone and the Collector restarts with O_TRUNC: the part is then the only copy."""
    writer = bench.writer("truncate").write(big(0, 30))

    def scenario() -> None:
        bench.engine.sealer.copier.member_size = 8 << 10
        bench.rotate()
        writer.write(big(30, 60))
        bench.rotate()

    assert killed(step, scenario, nth=nth)
    restarted = writer.path.stat().st_size // 1000
    writer.restart().write(big(100, 110))

    bench.look()
    bench.rotate()
    bench.clock.advance(60)
    bench.rotate()

    kept = bench.whole()
    assert kept.endswith(big(100, 110))
    old = kept[: -len(big(100, 110))]
    assert big(0, len(old) // 1000) == old
    true_loss = (restarted - len(old) // 1000) * 1000
    assert sum(bench.lost().values()) <= true_loss


RESET_STEPS = ["reset.leased", "reset.sealed", "reset.hinted", "reset.punched", "reset.truncated", "reset.dropped"]


@pytest.mark.parametrize("state", ["state kept", "state lost"])
@pytest.mark.parametrize("opener", ["append", "hold"])
@pytest.mark.parametrize("step", RESET_STEPS)
def test_a_kill_at_any_step_of_a_reset(bench: Bench, step: str, opener: str, state: str) -> None:
    """C1, H4, case 8: killed while the file is set back; the next writer's records are all there, once."""
    bench.writer().write(big(0, 50)).close()

    def scenario() -> None:
        bench.rotate()
        bench.engine.rounds.reset()

    assert killed(step, scenario)
    if state == "state lost":
        drop_state(bench)
    writer = bench.writer(opener)
    size = os.fstat(writer.fd).st_size
    writer.put(big(50, 60), size)
    bench.look()
    bench.rotate()
    writer.put(big(60, 70), size + 10_000)
    bench.clock.advance(60)
    bench.rotate()

    assert big(0, 70) == bench.whole()
    assert {} == bench.lost()


@pytest.mark.parametrize("step", ["retain.synced", "copy.created", "copy.written", "retain.marked", "retain.removed"])
def test_a_kill_at_any_step_of_retention(make: Make, step: str) -> None:
    """C12, case 8: a segment is there or its marker is; positions never start again and live records stay."""
    bench = make(retention=Retention(keep=0, max_age=None, max_total=Size(0)))
    writer = bench.writer().write(big(0, 50))
    bench.rotate()
    bench.stop()

    def scenario() -> None:
        bench.look()
        bench.release()
        bench.retain(1)

    assert killed(step, scenario)
    bench.retention = Retention(keep=0, max_age=None, max_total=None)
    settle(bench, writer, big(50, 60))

    assert bench.whole().endswith(big(50, 60))
    assert bench.whole() in (big(0, 60), big(50, 60))
    assert 60_000 == bench.segments()[-1].end
    assert {} == bench.lost()
    assert [] == quarantined(bench)


def test_a_kill_while_the_state_is_written(bench: Bench) -> None:
    """A journal that is replaced is whole or the old one; ids and positions stay."""
    writer = bench.writer().write(big(0, 50))

    def scenario() -> None:
        bench.rotate()
        bench.stop()

    assert killed("state.synced", scenario)
    first = bench.segments()[0].index["stream_id"]

    settle(bench, writer, big(50, 60))

    assert big(0, 60) == bench.whole()
    assert {first} == {one.index["stream_id"] for one in bench.segments()}


# -- starts


def test_everything_comes_back_without_the_state(anywhere: Bench) -> None:
    """C12: segments alone give catalogue, positions and S, with a live file half sealed."""
    writer = anywhere.writer()
    for number in range(5):
        writer.write(big(number * 20, number * 20 + 20))
        anywhere.rotate()
    writer.write(big(100, 110))
    before = (anywhere.stream().id, anywhere.life().position)
    anywhere.stop()
    drop_state(anywhere)

    assert before == (anywhere.stream().id, anywhere.life().position)
    settle(anywhere, writer, big(110, 120))
    assert big(0, 120) == anywhere.whole()
    assert {} == anywhere.lost()


@pytest.mark.parametrize("boots", ["same boot", "another boot"])
def test_a_restart_after_retention_before_the_release(make: Make, boots: str) -> None:
    """C5, C12: the block before S outlives its retired segment; it is known, not taken for new data."""
    bench = make(retention=Retention(keep=1, max_age=None, max_total=None))
    writer = bench.writer().write(big(0, 50))
    bench.rotate()
    writer.write(big(50, 100))
    bench.seal()
    assert ["keep"] == bench.retain()
    bench.crash()
    if boots == "another boot":
        drop_state(bench)

    settle(bench, writer, big(100, 110))

    assert big(50, 110) == bench.whole()
    assert {} == bench.lost()
    assert 110_000 == bench.segments()[-1].end


def test_a_restart_after_a_marker(make: Make) -> None:
    """C12: everything was retired; the marker holds position, life and guard."""
    bench = make(retention=Retention(keep=0, max_age=None, max_total=Size(0)))
    writer = bench.writer().write(big(0, 50))
    bench.rotate()
    bench.look()
    assert ["max_total"] == bench.retain(1)
    bench.crash()
    drop_state(bench)
    bench.retention = Retention(keep=0, max_age=None, max_total=None)
    writer.write(big(50, 60))
    bench.seal()
    bench.crash()
    drop_state(bench)

    settle(bench, writer, big(60, 70))

    assert big(50, 70) == bench.whole()
    assert 50_000 == bench.segments()[0].start
    assert {} == bench.lost()


def test_holes_that_came_back_are_compared_and_punched_again(anywhere: Bench) -> None:
    """C2, C3: after a power loss some released bytes are back; they equal what was sealed, so they go again."""
    writer = anywhere.writer("hold").write(big(0, 100))
    anywhere.rotate()
    anywhere.crash()
    drop_state(anywhere)
    writer.put(big(0, 100)[: 37 * 1000], 0)
    writer.put(big(0, 100)[60_000:70_000], 60_000)
    writer.put(big(100, 110), 100_000)
    anywhere.rotate()

    assert big(0, 110) == anywhere.whole()
    assert anywhere.allocated() <= 3 * 4096
    assert {} == anywhere.lost()


def test_a_guard_that_power_took_is_no_contradiction(anywhere: Bench) -> None:
    """C5, H12: the guard's blocks were never written to the medium; NULs there are believed after a start."""
    writer = anywhere.writer("hold").write(big(0, 100))
    anywhere.rotate()
    anywhere.crash()
    drop_state(anywhere)
    writer.put(bytes(1000), 99_000)
    writer.put(big(100, 110), 100_000)
    anywhere.rotate()
    writer.put(big(110, 120), 110_000)
    anywhere.rotate()

    assert big(0, 120) == anywhere.whole()
    assert {} == anywhere.lost()


def test_a_live_file_shorter_than_s_begins_anew(anywhere: Bench) -> None:
    """H12: power took unsynced data that was sealed already: nothing is lost, and the log goes on."""
    writer = anywhere.writer("append").write(big(0, 100))
    anywhere.rotate()
    anywhere.crash()
    writer.cut(98_000)
    writer.write(big(100, 110))
    anywhere.rotate()
    anywhere.clock.advance(60)
    anywhere.rotate()

    kept = anywhere.whole()
    assert big(0, 100) == kept[:100_000]
    assert kept.endswith(big(100, 110))
    assert sum(anywhere.lost().values()) <= 98_000


def test_what_a_killed_agent_published_is_made_durable_before_its_release(bench: Bench) -> None:
    """H2: it may have been killed before its names were synced; a power cut after a release would take both."""
    bench.writer().write(big(0, 100))
    bench.look()
    assert killed("publish.renamed", bench.seal)
    bench.crash()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Directory, "sync", refuse)
        bench.look()
        bench.release()
    assert 100_000 <= bench.allocated()
    bench.look()
    bench.clock.advance(60)
    bench.release()

    assert bench.allocated() <= 2 * 4096
    assert big(0, 100) == bench.whole()


def test_a_record_that_power_cut_is_not_joined_to_the_next(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """H12: nobody wrote since the boot, so what ends the file is a sealed record's remainder: S lies behind it."""
    writer = bench.writer("append").write(big(0, 100))
    bench.rotate()
    bench.crash()
    writer.cut(99_500)
    os.utime(writer.path, (0, 0))
    monkeypatch.setattr(engine, "boot_id", lambda: "the next boot")
    bench.look()
    writer.write(big(100, 110))
    bench.rotate()

    assert big(0, 110) == bench.whole()
    assert {} == bench.lost()


def test_a_record_begun_since_the_boot_is_sealed_whole(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """H12: the file was emptied after the boot, and its first record begins as the sealed one did."""
    again = b'{"n":0,"more":2}\n'
    writer = bench.writer("append").write(b'{"n":0,"more":1}\n' + big(1, 100))
    bench.rotate()
    bench.crash()
    monkeypatch.setattr(engine, "boot_id", lambda: "the next boot")
    writer.cut().write(again[:8])
    bench.look()
    writer.write(again[8:])
    bench.rotate()

    assert bench.whole().endswith(b"\n" + again)


def test_a_file_refilled_to_just_s_is_seen(bench: Bench) -> None:
    """C5: emptied and filled with exactly as much as was sealed, seen by the next agent, and by one that runs."""
    writer = bench.writer("append").write(big(0, 100))
    bench.rotate()
    bench.stop()
    writer.cut().write(big(100, 200))
    bench.look()
    assert 100_000 == bench.stream().live_bytes
    bench.rotate()
    bench.look()
    assert 0 == bench.stream().live_bytes
    os.utime(writer.cut().write(big(200, 300)).path, (0, 0))  # another time, however coarse the kernel's stamps are
    bench.look()
    assert 100_000 == bench.stream().live_bytes
    bench.rotate()

    assert big(0, 300) == bench.whole()


def test_a_new_incarnation_while_the_agent_was_away(anywhere: Bench) -> None:
    """C11, case 15: the writer truncated and wrote more than before; guard and hole tell."""
    writer = anywhere.writer("truncate").write(big(0, 100))
    anywhere.rotate()
    anywhere.stop()
    writer.restart().write(big(100, 300))
    anywhere.rotate()

    assert big(0, 300) == anywhere.whole()
    assert {} == anywhere.lost()


def test_another_file_while_the_agent_was_away(anywhere: Bench) -> None:
    """Case 17: deleted and made again; inode numbers are reused at once, and still it is another life."""
    writer = anywhere.writer().write(big(0, 100))
    anywhere.rotate()
    anywhere.stop()
    writer.close()
    writer.path.unlink()
    anywhere.writer().write(big(100, 200))
    anywhere.rotate()

    assert big(0, 200) == anywhere.whole()
    assert {} == anywhere.lost()


# -- leftovers


def half_sealed(bench: Bench, records: bytes, until: str = "copy.written") -> Path:
    """A part that a kill left; its path."""
    writer = bench.writer().write(records)

    def scenario() -> None:
        bench.engine.sealer.copier.member_size = 8 << 10
        bench.seal()

    assert killed(until, scenario)
    writer.close()
    return bench.path / names.part_name(LEAF)


def test_a_part_whose_bytes_are_live_is_dropped(bench: Bench) -> None:
    """C10, C11: only then; the next seal writes it anew."""
    part = half_sealed(bench, big(0, 50))
    bench.look()

    assert not part.exists()
    assert [] == bench.names()
    assert big(0, 50) == bench.whole()


@pytest.mark.parametrize("state", ["state kept", "state lost"])
def test_a_part_whose_live_file_changed_is_published(bench: Bench, state: str) -> None:
    """C10, C11: it is the only copy; found again by what it says of itself, also without the state directory."""
    part = half_sealed(bench, big(0, 50))
    if state == "state lost":
        drop_state(bench)
    (bench.path / LEAF).write_bytes(big(50, 60))
    bench.rotate()

    assert not part.exists()
    assert big(0, 60) == bench.whole()
    assert "recovered" == bench.segments()[0].index["reason"]


def test_a_part_whose_live_file_is_gone_is_published(bench: Bench) -> None:
    """C10: deleted meanwhile."""
    half_sealed(bench, big(0, 50))
    (bench.path / LEAF).unlink()
    bench.look()

    assert big(0, 50) == bench.whole()


@pytest.mark.parametrize("cut", [1, 100, 9000, 20_000])
def test_a_torn_part_is_cut_at_its_first_bad_member(bench: Bench, cut: int) -> None:
    """C10: members are walked; whatever follows the last sound one and its last record end is given up."""
    part = half_sealed(bench, big(0, 50), "copy.member")
    size = part.stat().st_size
    os.truncate(part, max(0, size - cut))
    (bench.path / LEAF).write_bytes(big(50, 60))
    bench.rotate()

    kept = bench.whole()
    assert kept.endswith(big(50, 60))
    assert big(0, len(kept) // 1000 - 10) == kept[: -len(big(50, 60))]


@pytest.mark.parametrize("damage", [b"", b"\0" * 500, b"\x1f\x8b\x08\x04\0\0\0\0"])
def test_an_empty_or_torn_part_is_removed(bench: Bench, damage: bytes) -> None:
    """Case 13: nothing whole was written, so every byte is still where it was."""
    bench.writer().write(big(0, 10))
    part = bench.path / names.part_name(LEAF)
    part.write_bytes(damage)
    bench.rotate()

    assert not part.exists()
    assert big(0, 10) == bench.whole()


@pytest.mark.parametrize("kept", ["dropped", "taken up"])
def test_a_part_is_never_held_whole_in_memory(bench: Bench, kept: str) -> None:
    """It may be larger than the machine's memory: its members are looked at one by one, whatever becomes of it."""
    writer = bench.writer()
    for number in range(24):
        writer.write(big(number * 1000, number * 1000 + 1000))
    assert killed("copy.synced", bench.seal)
    if kept == "taken up":
        (bench.path / LEAF).unlink()
        bench.rotation["capture"] = Duration("1s")
    tracemalloc.start()
    try:
        assert bench.engine
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 10 << 20
    (told,) = (one["reason"] for one in bench.events("recover"))
    assert kept in told


def captured(make: Make, *, released: bool = True) -> tuple[Bench, Writer, Path, list[int]]:
    """200 records in an open part of four members, its agent killed; where its members begin."""
    bench = make(capture=Duration("1s"), max_age=Duration("1h"))
    writer = bench.writer()
    offsets: list[int] = []
    part = bench.path / names.open_name(LEAF)
    for number in range(4):
        offsets.append(part.stat().st_size if number else 0)
        writer.write(big(number * 50, number * 50 + 50))
        bench.clock.advance(2)
        bench.look()
        bench.engine.rotator.seal([Due(bench.stream(), "capture")])
        if released:
            bench.release()
    bench.crash()
    return bench, writer, part, offsets


def hurt(path: Path, how: str, at: int) -> bytes:
    """Damage a part in one of its members; what it was."""
    before = path.read_bytes()
    after = bytearray(before)
    if how == "a flipped bit":
        after[at + 150] ^= 1
    elif how == "a flipped bit in a header":
        after[at + 30] ^= 1
    elif how == "zeros":
        after[at : at + 200] = bytes(200)
    else:
        del after[at + 200 :]
    path.write_bytes(after)
    return before


@pytest.mark.parametrize("state", ["state kept", "state lost"])
@pytest.mark.parametrize("bad", [0, 1, 3])
@pytest.mark.parametrize("how", ["a flipped bit", "a flipped bit in a header", "zeros", "cut short"])
def test_a_damaged_open_part_is_set_aside_and_what_is_lost_is_counted(
    make: Make, how: str, bad: int, state: str
) -> None:
    """It was the only copy: nothing of it is deleted, and what the stream lacks is in the count, to the byte.

    What its sound members before the bad one hold is kept, and so is each whole record that the live file still has.
    """
    bench, writer, part, offsets = captured(make)
    if state == "state lost":
        drop_state(bench)
    hurt(part, how, offsets[bad])
    damaged = part.read_bytes()[offsets[bad] :]
    for number in range(3):  # a start more changes nothing
        writer.write(big(200 + number, 201 + number))
        bench.rotate()
        bench.crash()
    bench.clock.advance(60)
    bench.rotate()

    kept = bench.whole()
    there = [int(one[6:13]) for one in kept.splitlines()]
    behind = next(one for one in range(50 * bad, 201) if one in there)
    assert big(0, 50 * bad) + big(behind, 203) == kept
    assert {"damaged": 203_000 - len(kept)} == bench.lost()
    (aside,) = quarantined(bench)
    assert damaged in (bench.path / ".telemetry-agent/quarantine" / aside).read_bytes()
    assert 203_000 == bench.life().position


@pytest.mark.parametrize("bad", [0, 2])
def test_a_damaged_open_part_whose_bytes_are_live_costs_nothing(make: Make, bad: int) -> None:
    """Nothing was punched yet: the live file has every byte, which is sealed again."""
    bench, writer, part, offsets = captured(make, released=False)
    hurt(part, "a flipped bit", offsets[bad])
    writer.write(big(200, 210))
    for _ in range(3):
        bench.rotate()

    assert big(0, 210) == bench.sealed()
    assert {} == bench.lost()


@pytest.mark.parametrize("bad", [0, 2])
def test_a_damaged_open_part_of_a_life_that_ended(make: Make, bad: int) -> None:
    """Its writer began anew meanwhile: what followed the bad member is set aside and counted, once."""
    bench, writer, part, offsets = captured(make)
    hurt(part, "a flipped bit", offsets[bad])
    writer.cut().write(big(300, 310))
    for _ in range(3):
        bench.clock.advance(60)
        bench.rotate()

    assert big(0, bad * 50) + big(300, 310) == bench.sealed()
    assert {"damaged": 200_000 - bad * 50_000} == bench.lost()
    assert 1 == len(quarantined(bench))


def test_a_damaged_open_part_where_quarantine_has_no_room(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be copied there, so it is moved as it is: what is counted is less than what the quarantine holds."""
    bench, writer, part, offsets = captured(make)
    before = part.read_bytes()
    hurt(part, "a flipped bit", offsets[2])
    monkeypatch.setattr("agent.streams.recover._copy", lambda *_: refuse(Directory.open(str(bench.path))))
    writer.write(big(200, 201))
    bench.look()

    (aside,) = quarantined(bench)
    assert len(before) == (bench.path / ".telemetry-agent/quarantine" / aside).stat().st_size


def test_an_unknown_part_is_quarantined(make: Make) -> None:
    """C10: a part of no known stream is set aside, never deleted."""
    other = make("other")
    half_sealed(other, big(0, 50))
    bench = make("watched")
    stray = bench.path / ".stray.part"
    os.rename(other.path / names.part_name(LEAF), stray)
    bench.look()

    assert not stray.exists()
    (aside,) = quarantined(bench)
    (told,) = bench.events("quarantine")
    assert (str(stray), "no stream has this id", [0, 50_000]) == (told["path"], told["reason"], told["positions"])
    assert (bench.path / ".telemetry-agent" / "quarantine" / aside).stat().st_size == told["bytes"] > 0
    assert "stream" not in told


def test_a_part_that_contradicts_a_segment_is_quarantined(bench: Bench) -> None:
    """C7: it overlaps what was published but holds other bytes: neither is believed blindly, neither deleted."""
    writer = bench.writer().write(big(0, 50))
    bench.engine.sealer.copier.member_size = 8 << 10
    kept: list[bytes] = []
    with at("copy.written", lambda: kept.append((bench.path / names.part_name(LEAF)).read_bytes())):
        bench.rotate()
    bench.stop()
    first = bench.path / bench.names()[0]
    writer.cut()
    stream_id = bytes.fromhex(bench.segments()[0].index["stream_id"])
    _, *raw = member.encode(
        memoryview(big(70, 71)), stream_id=stream_id, identity=Identity(1, None), position=0, physical=0, seen=0.0,
        records=1, compress=member.compressor("fast"), offset=0,
    )  # fmt: skip
    (bench.path / names.part_name(LEAF)).write_bytes(b"".join(raw))
    before = first.read_bytes()
    bench.look()

    assert 1 == len(quarantined(bench))
    assert before == first.read_bytes()
    (told,) = bench.events("quarantine")
    size = sum(map(len, raw))
    assert (LEAF, [0, 1000], size) == (told["stream"], told["positions"], told["bytes"])


def test_what_has_only_the_name_of_a_part_is_quarantined_under_its_stream(bench: Bench) -> None:
    """Its content says nothing, its name says whose it is."""
    bench.writer().write(big(0, 10))
    (bench.path / names.part_name(LEAF)).write_bytes(b"what is this")
    bench.look()

    (told,) = bench.events("quarantine")
    assert (LEAF, 12) == (told["stream"], told["bytes"])
    assert "positions" not in told


def test_a_segment_of_the_wanted_name_is_not_believed(bench: Bench) -> None:
    """C7: the final name exists, but it is the old file's: content decides, the part is the only copy."""
    writer = bench.writer("truncate").write(big(0, 20))
    bench.rotate()
    bench.stop()
    bench.clock.jump(-3600)
    writer.restart().write(big(20, 40))

    def scenario() -> None:
        bench.look()
        bench.seal()

    assert killed("verify.done", scenario)
    writer.restart().write(big(40, 50))
    bench.rotate()

    assert big(0, 50) == bench.whole()
    assert {} == bench.lost()


def test_a_foreign_part_is_left_alone(bench: Bench) -> None:
    """Case 22: another program's hidden `.part` file is not ours to remove."""
    foreign = bench.path / ".download.bin.part"
    foreign.write_bytes(b"half a film")
    bench.rotate()

    assert b"half a film" == foreign.read_bytes()


def test_a_foreign_file_in_the_parts_place_is_set_aside(bench: Bench) -> None:
    """It would stop every seal; unknown leftovers are quarantined, never deleted."""
    bench.writer().write(big(0, 10))
    (bench.path / names.part_name(LEAF)).write_bytes(b"who am I")
    bench.rotate()

    assert big(0, 10) == bench.whole()
    assert 1 == len(quarantined(bench))


@pytest.mark.parametrize("kind", ["directory", "symlink", "fifo"])
def test_strange_entries_named_like_parts_stop_nothing(bench: Bench, kind: str) -> None:
    """Case 19: a directory, a symlink or a FIFO of such a name is not opened, and the agent starts."""
    strange = bench.path / ".strange.part"
    if kind == "directory":
        strange.mkdir()
    elif kind == "symlink":
        strange.symlink_to("/etc/hostname")
    else:
        os.mkfifo(strange)
    bench.writer().write(big(0, 10))
    bench.rotate()

    assert big(0, 10) == bench.whole()
    assert os.path.lexists(strange)


def test_a_part_beside_a_refused_live_file(bench: Bench) -> None:
    """The live file became a hard link meanwhile: it cannot be compared, so the part is published; the agent starts."""
    half_sealed(bench, big(0, 50))
    os.link(bench.path / LEAF, bench.path / "second.name")
    bench.look()

    assert big(0, 50) == bench.sealed()


def test_a_damaged_newest_segment_does_not_stop_the_start(bench: Bench) -> None:
    """A bit flipped in an archive: the agent starts, goes on sealing, and the damage is told by `verify`."""
    writer = bench.writer().write(big(0, 50))
    bench.rotate()
    bench.stop()
    path = bench.path / bench.names()[0]
    data = bytearray(path.read_bytes())
    data[200] ^= 0x55
    path.write_bytes(bytes(data))
    drop_state(bench)

    writer.write(big(50, 60))
    outcome = bench.rotate()[0]

    assert outcome.error is None
    assert 60_000 == bench.life().position


def test_truncated_archives_are_left_alone(bench: Bench) -> None:
    """Case 12: a cut, non-empty segment beside its live file is neither deleted nor believed."""
    bench.writer().write(big(0, 50))
    bench.rotate()
    bench.stop()
    path = bench.path / bench.names()[0]
    os.truncate(path, path.stat().st_size - 30)
    before = path.read_bytes()
    bench.rotate()

    assert before == path.read_bytes()
    assert "damaged segment" == bench.events("error")[0]["reason"]


def test_foreign_archives_are_not_read_as_ours(bench: Bench) -> None:
    """Case 12, 13: others' .gz files, also empty ones and ones of our name's form, stay as they are."""
    foreign = {
        "telemetry-2024-10-22T16-30-00.000.json.gz": gzip.compress(b"x"),
        "telemetry_20241022_163000.json.gz": gzip.compress(b"{}\n"),
        "telemetry_20241022_163001.json.gz": b"",
        "telemetry.json.1.gz": b"",
    }
    for name, content in foreign.items():
        (bench.path / name).write_bytes(content)
    bench.writer().write(big(0, 10))
    bench.rotate()

    assert foreign == {name: (bench.path / name).read_bytes() for name in foreign}
    assert big(0, 10) == b"".join(
        gzip.decompress((bench.path / name).read_bytes()) for name in bench.names() if name not in foreign
    )


def test_a_lost_directory_entry_is_made_again(bench: Bench) -> None:
    """Case 14, C10: the rename did not reach the medium: the part lies under its own name, complete with index."""
    writer = bench.writer().write(big(0, 50))
    bench.seal()
    bench.crash()
    segment = bench.path / bench.names()[0]
    segment.rename(bench.path / names.part_name(LEAF))
    settle(bench, writer, big(50, 60))

    assert big(0, 60) == bench.whole()
    assert {} == bench.lost()


@pytest.mark.parametrize("what", ["damaged", "removed"])
def test_a_segment_that_cannot_be_compared_ends_no_sealing(bench: Bench, what: str) -> None:
    """Killed before the release: what the live file still has of it is sealed anew, and its writer's new data too."""
    writer = bench.writer().write(big(0, 50))
    bench.seal()
    writer.write(big(50, 100))
    bench.seal()
    bench.crash()
    path = bench.path / bench.names()[0]
    assert bench.engine  # the segments are known by then
    data = bytearray(path.read_bytes())
    data[200] ^= 0x55
    path.write_bytes(bytes(data))
    if what == "removed":
        path.unlink()

    writer.write(big(100, 110))
    bench.step()
    outcome = bench.rotate()[0]
    bench.step()

    assert (None, None) == (bench.stream().departed, outcome.error)
    assert 0 == bench.stream().live_bytes
    newest = gzip.decompress((bench.path / bench.names()[-1]).read_bytes())
    assert big(0, 110) == newest
    assert {} == bench.lost()


def test_a_file_that_is_back_at_its_path_has_not_departed(bench: Bench) -> None:
    """It was away for a moment: it is no file to be finished first."""
    bench.writer().write(big(0, 50))
    bench.rotate()
    bench.engine.lookout.departures.gone(bench.stream())

    assert bench.stream().departed is None
    assert 1 == len(bench.stream().segments)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "injected"), CorruptError("injected")])
def test_a_file_that_cannot_be_looked_into_is_its_own_streams_trouble(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Whatever is wrong with it or with its segments, and where nothing stands at its path: the look goes on."""
    for leaf in (LEAF, "other.json"):
        bench.writer(leaf=leaf).write(big(0, 50))
    bench.rotate()
    for leaf in (LEAF, "other.json"):
        (bench.path / leaf).unlink()
    real = departure.find_inode

    def unreadable(*_: object) -> str | None:
        monkeypatch.setattr(departure, "find_inode", real)
        raise error

    monkeypatch.setattr(departure, "find_inode", unreadable)
    bench.look()

    assert "injected" in bench.stream().failure + bench.stream("other.json").failure
    assert 2 == sum(not bench.stream(leaf).facts.there for leaf in (LEAF, "other.json"))


@pytest.mark.parametrize("name", [".download.part", f".{LEAF}.part"])
def test_a_part_of_another_user_stops_no_start(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A download, or what a run as root left: it stays, which is told once, and other streams are sealed."""
    (bench.path / name).write_bytes(b"whose is it?")
    real = Directory.open_update

    def refused(directory: Directory, leaf: str) -> int:
        if leaf == name:
            raise PermissionError(errno.EACCES, "injected", leaf)
        return real(directory, leaf)

    monkeypatch.setattr(Directory, "open_update", refused)
    for leaf in (LEAF, "other.json"):
        bench.writer(leaf=leaf).write(big(0, 50))
    for _ in range(2):
        outcomes = bench.seal(LEAF, "other.json")

    assert (bench.path / name).read_bytes() == b"whose is it?"
    assert big(0, 50) == bench.sealed("other.json")
    assert ["unreadable part"] == [one["reason"] for one in bench.events("error") if "path" in one]
    assert (name == f".{LEAF}.part") == isinstance(outcomes[0].error, FileExistsError) == bool(bench.stream().failure)
