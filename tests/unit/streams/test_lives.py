"""Lives of a live file: renamed, replaced, deleted, truncated; what it cost is counted, and never too much."""

from __future__ import annotations

import os

import pytest

from agent.config import Files
from agent.kit.errors import RefusedError
from agent.kit.units import Duration
from agent.streams import engine, report
from agent.streams.incarnation import Incarnation, equal_or_nul, judge
from agent.streams.live import Live
from agent.streams.position import Identity
from tests.support.bench import LEAF, Bench, at, lines
from tests.unit.streams.conftest import Make


def big(first: int, last: int) -> bytes:
    """Records of 1,000 bytes."""
    return lines(first, last, 1000)


# -- the judge's table


CONTENT = big(0, 30)
SEALED = 20_000
FLOOR = (SEALED - 256) // 4096 * 4096


def life_of(live: Live, **changes: object) -> Incarnation:
    """A life sealed up to 20,000 of 30,000 bytes, nothing released."""
    known = Incarnation(live.identity, base=0, sealed=SEALED, guard=CONTENT[FLOOR:SEALED], clean=False)
    for name, value in changes.items():
        setattr(known, name, value)
    return known


def sealed_bytes(start: int, end: int) -> bytes | None:
    """What segments hold."""
    return CONTENT[start:end]


def holes(data: bytearray) -> None:
    """Everything below the floor was given back."""
    data[:FLOOR] = bytes(FLOOR)


def some_holes(data: bytearray) -> None:
    """A release that a crash interrupted."""
    data[4096:8192] = bytes(4096)


def guard_gone(data: bytearray) -> None:
    """The guard reads as NUL."""
    data[:SEALED] = bytes(SEALED)


def new_head(data: bytearray) -> None:
    """New data below the floor."""
    data[0:3] = b"NEW"


def new_head_and_hole(data: bytearray) -> None:
    """One block of new data below the floor, one hole above S, and no guard: as many blocks as before."""
    data[:SEALED] = bytes(SEALED)
    data[0:3] = b"NEW"
    data[24_576:28_672] = bytes(4096)


def same_again_and_sparse(data: bytearray) -> None:
    """Written again with the same content, and stretched far: fewer blocks than the length above the floor says."""
    data += bytes(40_000)


def same_again_and_hole(data: bytearray) -> None:
    """Written again with the same content, and stretched by just what is below the floor."""
    data += bytes(32_768 + FLOOR - len(data))


def new_guard(data: bytearray) -> None:
    """Another guard."""
    data[SEALED - 3 : SEALED] = b"NEW"


def short(data: bytearray) -> None:
    """Cut below S."""
    del data[SEALED - 1 :]


def untouched(_: bytearray) -> None:
    """As it was."""


@pytest.mark.parametrize(
    ("change", "facts", "verdict"),
    [
        (untouched, {}, "same"),
        (some_holes, {}, "same"),
        (holes, {}, "same"),
        (holes, {"clean": True, "released": FLOOR}, "same"),
        (untouched, {"clean": True, "released": 0}, "same"),
        (untouched, {"clean": True, "released": FLOOR}, "refilled"),
        (new_head, {}, "refilled"),
        (new_head, {"clean": True, "released": 4096}, "refilled"),
        (new_head_and_hole, {"clean": True, "released": FLOOR, "guard_may_be_gone": True}, "refilled"),
        (same_again_and_sparse, {"clean": True, "released": FLOOR}, "refilled"),
        (same_again_and_hole, {"clean": True, "released": FLOOR, "guard": CONTENT[SEALED - 10 : SEALED]}, "refilled"),
        (new_guard, {}, "guard"),
        (guard_gone, {}, "guard"),
        (guard_gone, {"guard_may_be_gone": True}, "same"),
        (new_guard, {"guard_may_be_gone": True}, "guard"),
        (short, {}, "shrunk"),
        (untouched, {"identity": Identity(1, None)}, "other_file"),
    ],
)
def test_the_judge(bench: Bench, change: object, facts: dict[str, object], verdict: str) -> None:
    """C5, C8: inode and birth, size, guard, and holes below the floor; each alone speaks against the same life."""
    data = bytearray(CONTENT)
    change(data)  # type: ignore[operator]  # the table holds functions
    path = bench.path / LEAF
    with path.open("wb") as file:
        for at in range(0, len(data), 4096):
            if data[at : at + 4096].strip(b"\0"):
                file.seek(at)
                file.write(data[at : at + 4096])
        file.truncate(len(data))
    bench.look()
    with Live.open(bench.stream().place.home, LEAF) as live:
        known = life_of(live, **facts)

        assert verdict == judge(known, live, sealed_bytes)


def test_another_birth_time_is_another_file() -> None:
    """C5: inode numbers are reused at once; where birth times are known they decide."""
    a, b = Identity(7, 1), Identity(7, 2)

    assert not a.same_file(b)
    assert a.same_file(Identity(7, None))
    assert not a.same_file(Identity(8, 1))


def test_what_segments_no_longer_have_is_not_taken_for_new(bench: Bench) -> None:
    """C12: below the oldest kept segment only holes may be, but for the guard of the one that was retired."""
    (bench.path / LEAF).write_bytes(bytes(8192) + CONTENT[8192:])
    with open(bench.path / LEAF, "r+b") as file:
        file.truncate(0)
        file.seek(8192)
        file.write(CONTENT[8192:])
    bench.look()

    def kept(start: int, end: int) -> bytes | None:
        return CONTENT[start:end] if start >= 10_000 else None

    with Live.open(bench.stream().place.home, LEAF) as live:
        assert "same" == judge(life_of(live), live, kept, 10_000)
        assert "refilled" == judge(life_of(live), live, kept, 0)
        assert "refilled" == judge(life_of(live), live, kept, 14_000)


@pytest.mark.parametrize(
    ("there", "known", "expected"),
    [
        (b"abc", b"abc", True),
        (b"\0\0\0", b"abc", True),
        (b"a\0c", b"abc", True),
        (b"axc", b"abc", False),
        (b"ab", b"abc", False),
        (b"a" * 5000 + b"\0" * 3192, b"a" * 8192, True),
        (b"a" * 8191 + b"b", b"a" * 8192, False),
    ],
)
def test_equal_or_nul(there: bytes, known: bytes, *, expected: bool) -> None:
    """C3: each byte is what was sealed, or gone."""
    assert expected is equal_or_nul(there, known)


# -- truncation


@pytest.mark.parametrize("sealed", [0, 30])
def test_a_restart_that_truncates_is_counted(anywhere: Bench, sealed: int) -> None:
    """C11, case 15: only what was in no segment may go, and the count says how much; also before the first seal."""
    writer = anywhere.writer("truncate")
    if sealed:
        writer.write(big(0, sealed))
        anywhere.rotate()
    writer.write(big(sealed, 50))
    anywhere.look()
    writer.restart().write(big(50, 52))
    anywhere.rotate()

    assert big(0, sealed) + big(50, 52) == anywhere.whole()
    lost = anywhere.lost()["truncated"]
    assert (50 - sealed) * 1000 - 2000 <= lost <= (50 - sealed) * 1000


def test_positions_used_before_a_truncation_are_not_used_again(anywhere: Bench) -> None:
    """C12: what was seen had positions; the next life begins behind them, also after a start."""
    writer = anywhere.writer("truncate").write(big(0, 30))
    anywhere.rotate()
    writer.write(big(30, 50))
    anywhere.look()
    writer.restart().write(big(50, 52))
    anywhere.look()
    anywhere.crash()
    anywhere.rotate()

    assert anywhere.segments()[-1].start >= 50_000


def test_a_cut_above_s_keeps_the_life(anywhere: Bench) -> None:
    """A writer that drops its torn last line: what was seen and is gone is counted, the rest is sealed once."""
    writer = anywhere.writer().write(big(0, 30))
    anywhere.rotate()
    writer.write(big(30, 40) + b'{"torn')
    anywhere.look()
    writer.cut(40_000)
    writer.write(big(40, 41))
    writer.cut(40_000)
    anywhere.look()
    writer.write(big(41, 50))
    anywhere.rotate()

    assert big(0, 40) + big(41, 50) == anywhere.whole()
    assert anywhere.lost().get("truncated", 0) <= 1006


def test_positions_stay_used_after_a_cut_above_s_and_a_start(anywhere: Bench) -> None:
    """C12: also where the life goes on, a position that was seen is never used again."""
    writer = anywhere.writer().write(big(0, 30))
    anywhere.rotate()
    writer.write(big(30, 60))
    anywhere.look()
    writer.cut(40_000)
    anywhere.look()
    position = anywhere.life().position
    anywhere.stop()
    anywhere.look()

    assert position == anywhere.life().position
    writer.write(big(60, 70))
    anywhere.rotate()
    assert big(0, 40) + big(60, 70) == anywhere.whole()


def test_unlucky_truncation_right_after_a_seal_costs_nothing(anywhere: Bench) -> None:
    """Everything was sealed: nothing is lost and nothing is counted."""
    writer = anywhere.writer("truncate").write(big(0, 30))
    anywhere.rotate()
    writer.restart()
    anywhere.look()
    writer.write(big(30, 32))
    anywhere.rotate()

    assert big(0, 32) == anywhere.whole()
    assert {} == anywhere.lost()


# -- rename and replacement


def test_a_renamed_file_is_finished_first(anywhere: Bench) -> None:
    """H6, case 6: the writer rotates by itself: unsealed bytes of the old inode come first, in the same stream."""
    writer = anywhere.writer().write(big(0, 30))
    anywhere.rotate()
    writer.write(big(30, 40)).close()
    (anywhere.path / LEAF).rename(anywhere.path / "telemetry.json.1")
    anywhere.writer().write(big(40, 50))
    for _ in range(4):
        anywhere.step()
        anywhere.seal()

    assert big(0, 50) == anywhere.whole()
    assert {} == anywhere.lost()
    assert {LEAF} == set(anywhere.engine.catalog.streams)


@pytest.mark.parametrize("when", ["copy.synced", "release.compared"])
def test_a_renamed_file_that_is_emptied_meanwhile_takes_none_along_that_waits(anywhere: Bench, when: str) -> None:
    """H6: its writer empties it while it is sealed, or released; it is finished, and then those that came after it."""
    live = anywhere.path / LEAF
    writer = anywhere.writer().write(big(0, 10))
    if when == "release.compared":
        anywhere.seal()
    anywhere.look()
    for name, first in (("old", 10), ("second", 20)):
        live.rename(anywhere.path / name)
        anywhere.writer().write(big(first, first + 10)).close()
        anywhere.look()
    assert 2 == len(anywhere.stream().successors)
    with at(when, lambda: os.ftruncate(writer.fd, 0)):
        anywhere.rotate()
    writer.close()
    for _ in range(6):
        anywhere.clock.advance(35)
        anywhere.rotate()

    assert (big(0, 30), {}) == (anywhere.whole(), anywhere.lost())


def test_a_renamed_file_whose_writer_was_not_told(anywhere: Bench) -> None:
    """Case 6: it goes on writing to the renamed file; those bytes are found, in order, and finished when it lets go."""
    writer = anywhere.writer().write(big(0, 30))
    anywhere.rotate()
    (anywhere.path / LEAF).rename(anywhere.path / "telemetry.json.1")
    for number in range(30, 35):
        writer.write(big(number, number + 1))
        anywhere.clock.advance(1)
        anywhere.step()
    writer.close()
    anywhere.writer().write(big(35, 40))
    for _ in range(4):
        anywhere.clock.advance(1)
        anywhere.step()
    anywhere.seal()

    assert big(0, 40) == anywhere.whole()
    assert {} == anywhere.lost()


def test_a_reader_of_the_renamed_file_delays_only_a_while(anywhere: Bench) -> None:
    """H6: `tail -f` holds the old file for ever; the new one is sealed all the same, though it grows meanwhile."""
    writer = anywhere.writer().write(big(0, 30))
    anywhere.rotate()
    writer.write(big(30, 35)).close()
    old = anywhere.path / "telemetry.json.1"
    (anywhere.path / LEAF).rename(old)
    reader = os.open(old, os.O_RDONLY)
    new = anywhere.writer()
    for number in range(35, 75):
        new.write(big(number, number + 1))
        anywhere.clock.advance(1)
        anywhere.step()
    os.close(reader)
    anywhere.seal()

    assert big(0, 75) == anywhere.whole()
    assert {} == anywhere.lost()
    assert anywhere.segments()[-1].end == 75_000


def test_a_renamed_file_that_is_deleted_then(anywhere: Bench) -> None:
    """Its unsealed bytes are lost and counted; the stream goes on with the new file."""
    writer = anywhere.writer().write(big(0, 30))
    anywhere.rotate()
    writer.write(big(30, 40))
    anywhere.look()
    old = anywhere.path / "telemetry.json.1"
    (anywhere.path / LEAF).rename(old)
    reader = os.open(old, os.O_RDONLY)
    anywhere.look()
    old.unlink()
    os.close(reader)
    writer.close()
    anywhere.writer().write(big(40, 50))
    for _ in range(3):
        anywhere.clock.advance(20)
        anywhere.step()
        anywhere.seal()

    assert big(0, 30) + big(40, 50) == anywhere.whole()
    assert {"deleted": 10_000} == anywhere.lost()


def test_a_deleted_file_is_counted(anywhere: Bench) -> None:
    """What was seen and lay in no segment is lost for us, reason deleted; segments and position stay."""
    writer = anywhere.writer().write(big(0, 30))
    anywhere.rotate()
    writer.write(big(30, 40))
    anywhere.look()
    writer.close()
    writer.path.unlink()
    anywhere.look()
    anywhere.writer().write(big(50, 60))
    anywhere.rotate()

    assert {"deleted": 10_000} == anywhere.lost()
    assert big(0, 30) + big(50, 60) == anywhere.whole()
    assert 40_000 == anywhere.segments()[-1].start


@pytest.mark.parametrize("gap", ["seen gone", "not seen gone"])
def test_deleted_and_made_again(anywhere: Bench, gap: str) -> None:
    """Case 17: a new file at the same path, often with the same inode number and size."""
    writer = anywhere.writer().write(big(0, 30))
    anywhere.rotate()
    writer.close()
    writer.path.unlink()
    if gap == "seen gone":
        anywhere.look()
    anywhere.writer().write(big(30, 60))
    anywhere.rotate()

    assert big(0, 60) == anywhere.whole()
    assert {} == anywhere.lost()


def test_case_7_a_writer_that_recreates_its_path_is_never_overwritten(bench: Bench) -> None:
    """Case 7, L3: a hundred renames and recreations within an hour: every file's records are there once, in order."""
    written = b""
    for number in range(100):
        writer = bench.writer().write(big(number, number + 1))
        written += big(number, number + 1)
        bench.step()
        bench.seal()
        writer.close()
        os.rename(writer.path, bench.path / f"old-{number}")
    bench.writer().write(big(100, 101))
    for _ in range(3):
        bench.step()
        bench.seal()

    assert written + big(100, 101) == bench.whole()


def test_a_footer_rewriter_is_refused_not_doubled(bench: Bench) -> None:
    """M5: a JSON array writer seeks back over its `]`: at the second time it is refused, and what is live stays."""
    writer = bench.writer("hold", leaf="array.log")
    content = b"[\n"
    for number in range(12):
        content = content.removesuffix(b"]\n") + big(number, number + 1) + b"]\n"
        writer.put(content, 0)
        bench.seal("array.log")
        bench.release()

    assert 2 == len(bench.segments("array.log"))
    refused = bench.stream("array.log").refused
    assert isinstance(refused, RefusedError)
    assert "rewritten" == refused.reason
    assert content == (bench.path / "array.log").read_bytes()


# -- survey


def test_only_matching_regular_files_are_streams(bench: Bench) -> None:
    """Case 19, 22: patterns decide; segments, parts, state, others' archives and hidden files are none."""
    for name in ("a.json", "b.log", "c.txt", ".hidden.json", "a-20241022.log", "a.json.1", "x.json.gz"):
        (bench.path / name).write_bytes(b"{}\n")
    bench.seal("a.json")
    bench.look()

    assert {"a.json", "b.log"} == set(bench.engine.catalog.streams)


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory", "socket", "hardlink"])
def test_what_is_no_regular_file_is_untouched(bench: Bench, kind: str) -> None:
    """Case 19: no hang, nothing followed, and the refusal is visible."""
    import socket

    path = bench.path / "odd.json"
    target = bench.path / "target"
    target.write_bytes(big(0, 30))
    if kind == "symlink":
        path.symlink_to(target)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            here = os.open(bench.path, os.O_RDONLY)
            one.bind(f"/proc/self/fd/{here}/odd.json")
            os.close(here)
    else:
        os.link(target, path)
    bench.seal("odd.json")

    assert "odd.json" not in bench.engine.catalog.streams
    assert big(0, 30) == target.read_bytes()
    reasons = {name: error.reason for name, error in bench.engine.survey.refused.items()}
    expected = {"symlink": "symlink", "hardlink": "hardlink"}.get(kind, "special")
    assert ({} if kind == "directory" else {"odd.json": expected}) == reasons


def test_a_terabyte_hole_costs_nothing(bench: Bench) -> None:
    """Case 19, M4: a sparse file is walked by extents, not read."""
    writer = bench.writer("hold")
    os.ftruncate(writer.fd, 1 << 40)
    outcome = bench.seal()[0]

    assert (None, None) == (outcome.segment, outcome.error)
    with Live.open(bench.stream().place.home, LEAF) as live:
        assert 0 == live.live_bytes(0)


def test_a_swapped_directory_is_never_followed(make: Make, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Case 20, M6: the managed directory is a descriptor; a symlink put in its place leads nowhere."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / LEAF).write_bytes(b"secret\n")
    bench = make()
    bench.writer().write(big(0, 30))
    bench.look()
    os.rename(bench.path, bench.path.with_name("moved"))
    bench.path.symlink_to(outside)
    bench.rotate()

    assert b"secret\n" == (outside / LEAF).read_bytes()
    assert [LEAF] == [one.name for one in outside.iterdir()]
    os.unlink(bench.path)
    os.rename(bench.path.with_name("moved"), bench.path)
    assert big(0, 30) == bench.sealed()


@pytest.mark.parametrize("leaf", ["new\nline.log", "per%cent.log", "-dash.log", "bad\udcff.log", "l" * 251 + ".log"])
def test_strange_names_are_sealed_and_found_again(bench: Bench, leaf: str) -> None:
    """Case 20, M2: newline, %, leading dash, invalid UTF-8 and 255 bytes round-trip through index and state."""
    bench.writer(leaf=leaf).write(big(0, 30))
    bench.seal(leaf)
    bench.crash()
    bench.seal(leaf)

    assert big(0, 30) == bench.sealed(leaf)
    assert 30_000 == bench.life(leaf).position


def test_streams_of_the_same_head_are_not_confused(bench: Bench) -> None:
    """Case 18: files that begin alike, as OTLP-JSON does, are told apart by inode and path."""
    for number, leaf in enumerate(("a.json", "b.json")):
        bench.writer(leaf=leaf).write(big(0, 3) + big(100 * number, 100 * number + 10))
    bench.seal("a.json", "b.json")
    os.rename(bench.path / "a.json", bench.path / "x")
    os.rename(bench.path / "b.json", bench.path / "a.json")
    os.rename(bench.path / "x", bench.path / "b.json")
    for _ in range(3):
        bench.step()

    assert big(0, 3) + big(0, 10) == bench.sealed("a.json")[:13_000]
    assert big(0, 3) + big(100, 110) == bench.sealed("b.json")[:13_000]


def test_directories_below_are_watched_when_asked(make: Make) -> None:
    """`recursive` makes streams of files below, each with its path as its name and its segments beside it."""
    bench = make(files=Files(recursive=True))
    (bench.path / "deep/er").mkdir(parents=True)
    (bench.path / "deep/er/a.json").write_bytes(big(0, 30))
    bench.look()
    bench.engine.rotator.seal([])
    from agent.streams.dues import Due

    bench.engine.rotator.seal([Due(bench.stream("deep/er/a.json"), "request")])

    assert 1 == len(list((bench.path / "deep/er").glob("*.gz")))


def test_growth_is_known_from_looks(bench: Bench) -> None:
    """Rates are bytes a second between looks, smoothed; the oldest unsealed byte's time is kept."""
    writer = bench.writer()
    bench.look()
    writer.write(big(0, 10))
    bench.clock.advance(2)
    bench.look()
    writer.write(big(10, 20))
    bench.clock.advance(2)
    bench.look()

    facts = bench.stream().facts
    assert 5000.0 == facts.rate
    assert facts.since == bench.clock.monotonic() - 2
    bench.rotate()
    bench.look()
    assert facts.since is None


def test_our_own_release_is_no_growth(bench: Bench) -> None:
    """M3: a punch changes mtime and blocks, not the size: nobody is woken by it."""
    bench.writer().write(big(0, 100))
    bench.seal()
    bench.look()
    bench.release()
    looked = bench.engine.lookout.look("", None)

    assert (set(), []) == (looked.grew, looked.touched)


# -- what the operator says and does


def test_a_file_that_is_no_longer_selected_is_left_alone(make: Make) -> None:
    """What was captured is published; nothing is sealed, punched or emptied until it is selected again."""
    bench = make(capture=Duration("1s"), max_size=None, max_age=Duration("5m"))
    (bench.path / LEAF).write_bytes(big(0, 10))
    bench.step()
    bench.stop()
    bench.files = Files(exclude=(LEAF,))
    with (bench.path / LEAF).open("ab") as file:
        file.write(big(10, 20))
    for _ in range(4):
        bench.step()
        bench.clock.advance(400)
    bench.seal()

    assert (big(0, 10), 20_000) == (bench.sealed(), (bench.path / LEAF).stat().st_size)
    assert "gone" == report.stream(bench.engine, bench.stream(), 0.0, 0.0).state
    bench.files = Files()
    bench.engine.catalog.configure(bench.config)
    for _ in range(3):
        bench.step()
        bench.clock.advance(400)
    assert (big(0, 20), {}) == (bench.sealed(), bench.lost())


@pytest.mark.parametrize("boot", ["", "another"])
def test_segments_that_somebody_moved_away_take_no_position_with_them(
    make: Make, monkeypatch: pytest.MonkeyPatch, boot: str
) -> None:
    """The newest ones, while no agent ran: the next record is sealed, not what the guard keeps of the ones before."""
    bench = make()
    writer = bench.writer()
    for first in (0, 30, 60):
        writer.write(big(first, first + 30))
        bench.rotate()
        bench.clock.advance(2)
    bench.stop()
    for name in bench.names()[1:]:
        (bench.path / name).unlink()
    writer.write(big(90, 100))
    if boot:
        monkeypatch.setattr(engine, "boot_id", lambda: boot)
    bench.rotate()

    found = bench.segments()
    assert [(0, 30_000), (90_000, 100_000)] == [(one.start, one.end) for one in found]
    assert {} == bench.lost()


def test_a_refused_file_system_is_refused_to_a_request_too(bench: Bench) -> None:
    """H10: whoever asks, nothing is sealed in place where other machines may write unseen."""
    bench.writer().write(big(0, 50))
    bench.look()
    bench.engine.catalog.places[""].filesystem = "nfs"
    outcome = bench.seal()[0]

    assert isinstance(outcome.error, RefusedError)
    assert [] == bench.names()
