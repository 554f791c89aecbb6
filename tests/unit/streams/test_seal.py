"""Sealing: whole records, compared before they are published; the live file is never touched."""

from __future__ import annotations

import errno
import gzip
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from agent.kit import disk
from agent.kit.errors import CorruptError, RefusedError, StoppingError
from agent.streams import copying, part, position
from agent.streams import index as indexes
from agent.streams.dues import Due
from agent.streams.live import Live
from agent.streams.outcome import FULL
from tests.support.bench import LEAF, MEMORY, Bench, Writer, at, fail, lines
from tests.unit.streams.conftest import Make

MIB = 1 << 20


def no_part(bench: Bench) -> bool:
    """Nothing half-made is left."""
    return not list(bench.archive().glob(".*.part"))


def write(writer: Writer, data: bytes) -> None:
    """Write, as an action."""
    writer.write(data)


# -- what is sealed


def test_whole_lines_are_sealed_and_the_rest_stays_live(anywhere: Bench) -> None:
    """Case 3: everything up to the last line end goes into a segment; the half line stays until it is whole."""
    anywhere.writer().write(lines(0, 100) + b'{"half')

    outcome = anywhere.seal()[0]

    assert lines(0, 100) == anywhere.sealed()
    assert b'{"half' == anywhere.live()
    assert (100, 6400, None) == (outcome.records, outcome.bytes, outcome.error)
    assert lines(0, 100) + b'{"half' == (anywhere.path / LEAF).read_bytes()


def test_any_gzip_reads_a_segment(bench: Bench) -> None:
    """Python's gzip and the gzip program read and test it, several members and the index included."""
    bench.engine.sealer.copier.member_size = 4096
    bench.writer().write(lines(0, 1000))
    bench.seal()
    path = bench.path / bench.names()[0]

    assert lines(0, 1000) == gzip.decompress(path.read_bytes())
    assert lines(0, 1000) == subprocess.run(["gzip", "-dc", str(path)], check=True, capture_output=True).stdout
    subprocess.run(["gzip", "-t", str(path)], check=True)


def test_a_segment_goes_on_where_the_one_before_ended(bench: Bench) -> None:
    """Positions and physical offsets join without a gap."""
    writer = bench.writer()
    for number in range(5):
        writer.write(lines(number * 10, number * 10 + 10))
        bench.seal()

    assert lines(0, 50) == bench.sealed()
    assert [(n * 640, n * 640 + 640) for n in range(5)] == [(one.start, one.end) for one in bench.segments()]


def test_nothing_whole_seals_nothing(bench: Bench) -> None:
    """A half line alone makes no segment, and no part stays."""
    bench.writer().write(b'{"half')

    outcome = bench.seal()[0]

    assert (None, None) == (outcome.segment, outcome.error)
    assert [] == bench.names()
    assert no_part(bench)


def test_an_empty_file_seals_nothing(bench: Bench) -> None:
    """There is no record in it."""
    bench.writer()

    assert bench.seal()[0].segment is None


def test_a_record_longer_than_a_member_stays_one_piece(bench: Bench) -> None:
    """Case 4: a line of 3 MiB runs over several members and is one record."""
    record = b'{"big":"' + b"y" * (3 * MIB) + b'"}\n'
    bench.writer().write(lines(0, 3) + record + lines(3, 5))

    outcome = bench.seal()[0]

    assert lines(0, 3) + record + lines(3, 5) == bench.sealed()
    assert 6 == outcome.records


def test_a_record_of_100_mb_stays_one_piece(bench: Bench) -> None:
    """Case 4: also a line a hundred times as long as a member, ten times as long as a file may be: one segment."""
    record = b'{"big":"' + b"0123456789" * 10_000_000 + b'"}\n'
    bench.writer().write(lines(0, 3) + record + lines(3, 5))

    outcomes = bench.rotate()

    whole = lines(0, 3) + record + lines(3, 5) == bench.sealed()
    assert whole  # alone, for nobody wants to read the difference
    assert [6] == [outcome.records for outcome in outcomes]
    assert bench.allocated() < MIB


def test_a_long_record_without_its_end_is_not_sealed(bench: Bench) -> None:
    """What of it was copied into the part is given up again."""
    bench.writer().write(lines(0, 3) + b'{"big":"' + b"y" * (3 * MIB))

    bench.seal()

    assert lines(0, 3) == bench.sealed()
    assert 1 == len(list(bench.segments()[0].index["members"]))


def test_a_long_record_is_sealed_once_it_ends(bench: Bench) -> None:
    """The same record, whole at the second try, is whole in the segment."""
    start, end = b'{"big":"' + b"y" * (2 * MIB), b'"}\n'
    writer = bench.writer().write(start)
    assert bench.seal()[0].segment is None
    writer.write(end)

    bench.seal()

    assert start + end == bench.sealed()


def test_a_segment_ends_at_its_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A larger rest gives several segments, each of whole records; the outcome says that more is left."""
    monkeypatch.setattr(copying, "SEGMENT_LIMIT", 1000)
    bench.writer().write(lines(0, 40))

    more = []
    while (outcome := bench.seal()[0]).segment:
        more.append(outcome.more)

    assert lines(0, 40) == bench.sealed()
    assert [True, True, False] == more


def test_a_segment_ends_when_its_index_is_full(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """H11: the member table must fit the index; the rest goes into the next segment."""
    monkeypatch.setattr(part, "MAX_MEMBERS", 4)
    bench.engine.sealer.copier.member_size = 1024
    bench.writer().write(lines(0, 200))

    while bench.seal()[0].segment:
        pass

    assert lines(0, 200) == bench.sealed()
    assert [4, 4, 4, 1] == [len(one.index["members"]) for one in bench.segments()]


def test_the_largest_index_fits_its_field() -> None:
    """H11: a full member table of 1 GiB and a long name with invalid UTF-8 fit the 60 KiB an index may have."""
    table = tuple(((1 << 30) + n, (1 << 30) + n) for n in range(part.MAX_MEMBERS))
    worst = indexes.Index(
        stream="\udcff" * 255,
        stream_id="f" * 32,
        incarnation=indexes.IncarnationKey(2**64 - 1, 2**63 - 1),
        physical=(2**63, 2**63),
        logical=(2**63, 2**63),
        records=2**40,
        seen=(1e9 / 3, 1e9 / 3),
        digest="f" * 64,
        reason="incarnation",
        agent="10.10.10",
        gap_before=2**63,
        boot="00000000-0000-0000-0000-000000000000",
        uptime=1e9 / 3,
        members=table,
    )

    assert indexes.MAX_JSON + 64 > len(indexes.encode(worst))


def test_no_line_end_in_a_whole_segment_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """C9: a file without line ends is no line log; it says so instead of growing silently."""
    monkeypatch.setattr(copying, "SEGMENT_LIMIT", 10_000)
    bench.writer(leaf="a.log").write(b"x" * 20_000)

    outcome = bench.seal("a.log")[0]

    assert isinstance(outcome.error, RefusedError)
    assert "no_newline" == outcome.error.reason
    assert no_part(bench)


def test_the_copy_is_bounded_by_what_was_there_at_its_start(bench: Bench) -> None:
    """A writer that goes on while we copy is not chased."""
    writer = bench.writer().write(lines(0, 10))
    bench.engine.sealer.copier.member_size = 256
    with at("copy.member", lambda: write(writer, lines(10, 20))):
        bench.seal()

    assert lines(0, 10) == bench.sealed()
    assert lines(10, 20) == bench.live()


def test_sampled_verification_seals_the_same(make: Make) -> None:
    """`verify = "sample"` compares checksums where it does not inflate."""
    bench = make(verify="sample")
    bench.engine.sealer.copier.member_size = 1024
    bench.writer().write(lines(0, 300))
    bench.seal()

    assert lines(0, 300) == bench.sealed()


def test_small_compression_is_gzip_too(make: Make) -> None:
    """`level = "small"` gives the same records in fewer bytes."""
    pytest.importorskip("deflate")
    small, fast = make("small", level="small"), make("fast")
    for one in (small, fast):
        one.writer().write(lines(0, 5000))
        one.seal()

    assert small.sealed() == fast.sealed()
    assert (small.path / small.names()[0]).stat().st_size < (fast.path / fast.names()[0]).stat().st_size


def test_names_follow_the_clock_and_never_go_back(bench: Bench) -> None:
    """M1, case 21: two seals of a second are numbered, and a clock that goes back does not make an older name."""
    writer = bench.writer()
    stamps = []
    for number, jump in enumerate((0, 0, 5, -3600, 0, 7200)):
        bench.clock.jump(jump)
        writer.write(lines(number, number + 1))
        segment = bench.seal()[0].segment
        assert segment
        stamps.append(segment.name.removeprefix("telemetry_20231114_").removesuffix(".json.gz"))

    assert ["221320", "221320_1", "221325", "221325_1", "221325_2", "231325"] == stamps


def test_a_thousand_seals_in_one_second_have_different_names(bench: Bench) -> None:
    """Case 21: numbers tell them apart, and the order is that of the positions."""
    writer = bench.writer()
    for number in range(300):
        writer.write(lines(number, number + 1))
        bench.seal()

    assert lines(0, 300) == bench.sealed()
    assert 300 == len(bench.names())


def test_a_name_that_is_taken_is_never_overwritten(bench: Bench) -> None:
    """C7, H7, case 12: somebody else's file of the wanted name stays, and the segment takes the next number."""
    taken = bench.path / "telemetry_20231114_221320.json.gz"
    taken.write_bytes(b"not ours")
    bench.writer().write(lines(0, 10))

    segment = bench.seal()[0].segment

    assert segment
    assert "telemetry_20231114_221320_1.json.gz" == segment.name
    assert b"not ours" == taken.read_bytes()


def test_owner_and_mode_follow_the_live_file(bench: Bench) -> None:
    """The default: who may read the live file may read its segments, and nobody else."""
    bench.writer().write(lines(0, 1))
    os.chmod(bench.path / LEAF, 0o640)
    bench.seal()

    assert 0o640 == (bench.path / bench.names()[0]).stat().st_mode & 0o7777


def test_the_configured_mode_goes_before(make: Make) -> None:
    """`mode` in the configuration wins, set-id bits are never copied."""
    bench = make(mode="0604")
    bench.writer().write(lines(0, 1))
    bench.seal()

    assert 0o604 == (bench.path / bench.names()[0]).stat().st_mode & 0o7777


def test_many_streams_share_their_sync(bench: Bench) -> None:
    """A batch of streams is synced by one syncfs, and each gets its own segment."""
    leaves = [f"s{number}.json" for number in range(20)]
    for leaf in leaves:
        bench.writer(leaf=leaf).write(lines(0, 10))

    outcomes = bench.seal(*leaves)

    assert [None] * 20 == [outcome.error for outcome in outcomes]
    assert [lines(0, 10)] * 20 == [bench.sealed(leaf) for leaf in leaves]


def test_one_bad_stream_of_a_batch_is_alone_in_its_failure(bench: Bench) -> None:
    """A refused file does not keep the others from being sealed."""
    bench.writer(leaf="a.json").write(lines(0, 10))
    bench.writer(leaf="b.json").write(b"{\n")
    bench.writer(leaf="c.json").write(lines(0, 10))

    outcomes = bench.seal("a.json", "b.json", "c.json")

    assert [True, False, True] == [outcome.segment is not None for outcome in outcomes]
    assert isinstance(outcomes[1].error, RefusedError)


# -- NULs


def test_a_run_of_nuls_at_s_waits_for_its_grace(bench: Bench) -> None:
    """C9: a slot that was reserved may still be filled; nothing behind it is sealed meanwhile."""
    writer = bench.writer("hold").write(lines(0, 1))
    bench.seal()
    writer.put(lines(2, 3), 128)

    assert bench.seal()[0].segment is None
    bench.clock.advance(5)
    writer.put(lines(1, 2), 64)
    assert bench.seal()[0].segment

    assert lines(0, 3) == bench.sealed()
    assert {} == bench.lost()


def test_a_run_of_nuls_that_stays_is_a_counted_gap(anywhere: Bench) -> None:
    """C8, C9: after ten seconds what is behind the run is sealed, and the gap is declared, counted and audited."""
    writer = anywhere.writer("hold").write(lines(0, 1))
    anywhere.seal()
    writer.put(lines(2, 4), 64 + 5000)
    anywhere.seal()
    anywhere.clock.advance(copying.NUL_GRACE)
    anywhere.seal()

    assert lines(0, 1) + lines(2, 4) == anywhere.sealed()
    assert [0, 5000] == [one.gap for one in anywhere.segments()]
    assert {"gap": 5000} == anywhere.lost()


def test_records_are_never_glued_to_nuls(bench: Bench) -> None:
    """C9: the cut is the last line end before the first NUL, so a half record before a slot stays live."""
    writer = bench.writer("hold").write(lines(0, 2) + b'{"half')
    writer.put(lines(5, 6), 1000)
    bench.seal()

    assert lines(0, 2) == bench.sealed()


def test_a_half_record_before_nuls_does_not_block_for_ever(bench: Bench) -> None:
    """C9, power loss: a fragment that a run of NULs cuts short is part of the gap once the grace is over."""
    writer = bench.writer("hold").write(lines(0, 2) + b'{"half')
    writer.put(lines(5, 7), 1000)
    bench.seal()
    bench.seal()
    bench.clock.advance(copying.NUL_GRACE)
    bench.seal()

    assert lines(0, 2) + lines(5, 7) == bench.sealed()
    assert {"gap": 1000 - 128} == bench.lost()


def test_a_writer_that_fills_up_after_an_outside_truncation(bench: Bench) -> None:
    """C8: `: > file` under a non-append writer leaves a hole, and perhaps a fragment; the log goes on behind it."""
    writer = bench.writer("hold").write(lines(0, 100))
    bench.rotate()
    writer.write(lines(100, 103)[:-10])
    os.truncate(writer.path, 0)
    writer.write(lines(100, 103)[-10:] + lines(103, 110))
    bench.seal()
    bench.clock.advance(copying.NUL_GRACE)

    outcome = bench.seal()[0]

    assert outcome.error is None
    assert bench.sealed().endswith(lines(103, 110))
    assert lines(0, 100) == bench.sealed()[:6400]
    assert bench.segments()[1].gap > 0


def test_preallocated_space_is_not_data(bench: Bench) -> None:
    """M4: NULs behind the data, allocated or not, are not sealed."""
    writer = bench.writer("hold").write(lines(0, 10))
    os.posix_fallocate(writer.fd, 0, 1 << 20)
    bench.seal()

    assert lines(0, 10) == bench.sealed()


# -- what is refused


@pytest.mark.parametrize("first", [b"\n", b"\r\n \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_blank_lines_and_a_byte_order_mark_make_no_document(bench: Bench, first: bytes) -> None:
    """They come before the first record, and tell nothing of it."""
    (bench.path / LEAF).write_bytes(first + lines(0, 3))

    assert bench.seal()[0].error is None
    assert first + lines(0, 3) == bench.sealed()


@pytest.mark.parametrize(
    "content", [b'{\n "name": "x"\n}\n', b"[\n{},\n{}\n]\n", b"plain text\n", b'\n{\n "a": 1\n}\n']
)
def test_a_document_is_refused(bench: Bench, content: bytes) -> None:
    """A JSON-named file whose first line is no JSON value is somebody's document, not a log."""
    (bench.path / "package.json").write_bytes(content)

    outcome = bench.seal("package.json")[0]

    assert isinstance(outcome.error, RefusedError)
    assert "not_json_lines" == outcome.error.reason
    assert outcome.error.hint
    assert content == (bench.path / "package.json").read_bytes()
    assert "refused" == bench.events("refuse")[0]["event"] + "d"


def test_the_first_line_decides_only_when_it_is_whole(bench: Bench) -> None:
    """A first line that is still being written is neither refused nor accepted."""
    writer = bench.writer().write(b'{"n":')
    assert bench.seal()[0].error is None
    writer.write(b"1}\n")

    assert bench.seal()[0].segment


def test_plain_text_logs_need_not_be_json(bench: Bench) -> None:
    """Only names that promise JSON are held to it."""
    bench.writer(leaf="app.log").write(b"hello\nworld\n")
    bench.seal("app.log")

    assert b"hello\nworld\n" == bench.sealed("app.log")


@pytest.mark.parametrize("prefix", [b"\x00\x00\x00\x0a", b"\x00\x00\x01\x00"])
def test_length_prefixed_messages_are_refused(bench: Bench, prefix: bytes) -> None:
    """C9, E5: a Collector's `proto` or zstd file is no line log; nothing of it is dropped."""
    content = (prefix + b"ab\ncd\nef\ngh" + prefix) * 10
    bench.writer(leaf="proto.json").write(content)
    bench.seal("proto.json")
    bench.clock.advance(copying.NUL_GRACE)

    outcome = bench.seal("proto.json")[0]

    assert isinstance(outcome.error, RefusedError)
    assert "not_a_log" == outcome.error.reason
    assert content == (bench.path / "proto.json").read_bytes()


@pytest.mark.parametrize("offset", [1, 2, 3, 4])
def test_a_few_nuls_before_json_lines_are_no_length(bench: Bench, offset: int) -> None:
    """C9: a writer that keeps an offset of a few bytes when its file is emptied goes on with lines."""
    bench.writer().write(b"\0" * offset + b'{"a":1}\n' * 3)
    bench.seal()
    bench.clock.advance(copying.NUL_GRACE)
    bench.seal()

    assert b'{"a":1}\n' * 3 == bench.sealed()


@pytest.mark.parametrize("low", [0x35, 0x7B, 0x5B])
def test_a_length_that_looks_like_text_is_one(bench: Bench, low: int) -> None:
    """C9: a message of 53, 91 or 123 bytes whose first byte is a line end, as a Collector's are, is no JSON line."""
    bench.writer(leaf="proto.json").write((bytes([0, 0, 0, low, 10]) + b"x" * (low - 1)) * 2)
    bench.seal("proto.json")
    bench.clock.advance(copying.NUL_GRACE)

    outcome = bench.seal("proto.json")[0]

    assert isinstance(outcome.error, RefusedError)
    assert "not_a_log" == outcome.error.reason


def test_many_nul_runs_are_no_log(bench: Bench) -> None:
    """C9: binary data is refused, not cut to pieces."""
    bench.writer(leaf="core.log").write(b"ab\0cd\0ef\0gh\0ij\0kl\0\n" * 100)
    bench.seal("core.log")
    bench.clock.advance(copying.NUL_GRACE)

    outcome = bench.seal("core.log")[0]

    assert isinstance(outcome.error, RefusedError)
    assert "not_a_log" == outcome.error.reason


def test_a_hard_link_is_refused(bench: Bench) -> None:
    """Case 19: a second name could be somebody else's file."""
    bench.writer().write(lines(0, 10))
    bench.look()
    os.link(bench.path / LEAF, bench.path / "other.name")

    outcome = bench.engine.rotator.seal([usual(bench)])[0]

    assert isinstance(outcome.error, RefusedError)
    assert "hardlink" == outcome.error.reason


def usual(bench: Bench) -> Due:
    """The usual stream, due."""
    return Due(bench.stream(), "request")


# -- faults


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize(
    ("step", "nth"), [("copy.member", 1), ("copy.member", 3), ("copy.written", 1), ("verify.member", 2)]
)
def test_an_error_at_any_step_keeps_the_data_and_heals(bench: Bench, step: str, nth: int, number: int) -> None:
    """Case 10, 11, H8: after ENOSPC, EDQUOT or EIO nothing is lost, nothing is twice, and the next try works."""
    bench.engine.sealer.copier.member_size = 1024
    writer = bench.writer().write(lines(0, 100))
    with at(step, fail(OSError(number, os.strerror(number))), nth=nth):
        error = bench.seal()[0].error
    # Want of room that passes is got over at once, in small pieces.
    assert isinstance(error, OSError) or (error is None and number in FULL)
    writer.write(lines(100, 120))
    assert no_part(bench)

    bench.rotate()

    assert lines(0, 120) == bench.sealed()
    assert {} == bench.lost()


def test_three_cycles_of_a_full_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 10, L1: however often it fails, no earlier segment is overwritten and the source stays."""
    writer = bench.writer().write(lines(0, 10))
    bench.rotate()
    for number in range(1, 4):
        writer.write(lines(number * 10, number * 10 + 10))
        with monkeypatch.context() as patch:
            patch.setattr(disk, "write_all", fail_with(errno.ENOSPC))
            assert bench.seal()[0].error
        assert lines(0, 10) == bench.sealed()
    bench.rotate()

    assert lines(0, 40) == bench.sealed()


def fail_with(number: int) -> Callable[..., int]:
    """A function of any arguments that fails."""

    def act(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return act


def test_short_writes_go_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 10: a write that takes only some bytes is continued, not repeated."""
    writev = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, pieces: writev(fd, [bytes(pieces[0])[:7]]))
    bench.writer().write(lines(0, 100))
    bench.seal()
    monkeypatch.undo()

    assert lines(0, 100) == bench.sealed()


def test_a_failed_fsync_discards_the_part(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """H8: the same file is never synced twice; a new part is written."""
    bench.writer().write(lines(0, 10))
    with monkeypatch.context() as patch:
        patch.setattr(disk, "sync_file", fail_with(errno.EIO))
        assert bench.seal()[0].segment is None
    assert no_part(bench)

    assert bench.seal()[0].segment


def test_a_failed_sync_of_a_batch_discards_every_part(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """H8: also where one syncfs serves many streams."""
    leaves = [f"s{number}.json" for number in range(5)]
    for leaf in leaves:
        bench.writer(leaf=leaf).write(lines(0, 10))
    with monkeypatch.context() as patch:
        patch.setattr(disk, "sync_filesystem", fail_with(errno.EIO))
        assert [None] * 5 == [outcome.segment for outcome in bench.seal(*leaves)]
    assert no_part(bench)

    bench.seal(*leaves)

    assert [lines(0, 10)] * 5 == [bench.sealed(leaf) for leaf in leaves]


def test_a_failed_sync_of_the_directory_takes_the_name_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """H8: a name that is not durable is no publication; S stays and the records are not sealed twice."""
    bench.writer().write(lines(0, 10))
    bench.look()
    with monkeypatch.context() as patch:
        patch.setattr(disk.Directory, "sync", fail_with(errno.EIO))
        outcome = bench.seal()[0]
    assert (True, None) == (isinstance(outcome.error, OSError), outcome.segment)

    bench.rotate()

    assert lines(0, 10) == bench.sealed()


def test_a_stop_between_two_members_leaves_everything_live(bench: Bench) -> None:
    """Case 30: a stop ends a long copy early; the next start seals it."""
    bench.engine.sealer.copier.member_size = 1024
    bench.writer().write(lines(0, 100))
    bench.look()
    breaths = iter(range(1000))

    def breathe() -> None:
        if next(breaths) == 3:
            raise StoppingError("stop")

    bench.breathe = breathe
    with pytest.raises(StoppingError):
        bench.engine.rotator.seal([usual(bench)])
    bench.breathe = lambda: None
    bench.stop()

    bench.rotate()

    assert lines(0, 100) == bench.sealed()


def test_a_part_that_does_not_read_back_is_thrown_away(bench: Bench) -> None:
    """What was written is inflated before anything relies on it; damage on the way to the disk shows."""
    bench.writer().write(lines(0, 100))
    bench.look()

    def damage() -> None:
        path = next(bench.path.glob(".*.part"))
        with path.open("r+b") as file:
            file.seek(120)
            file.write(b"\xff\xff\xff")

    with at("copy.synced", damage):
        outcome = bench.seal()[0]
    assert isinstance(outcome.error, CorruptError)
    assert no_part(bench)

    bench.rotate()

    assert lines(0, 100) == bench.sealed()


def test_a_part_in_the_way_is_set_aside(bench: Bench) -> None:
    """Whatever lies under the part's name is not overwritten; it is examined at once, and the next seal goes on."""
    bench.writer().write(lines(0, 1))
    bench.look()
    (bench.path / f".{LEAF}.part").write_bytes(b"?")

    assert isinstance(bench.seal()[0].error, FileExistsError)
    bench.rotate()

    assert lines(0, 1) == bench.whole()
    assert [b"?"] == [one.read_bytes() for one in (bench.path / ".telemetry-agent/quarantine").iterdir()]


# -- truncation while it is sealed


def test_truncation_while_copying_keeps_what_was_whole(anywhere: Bench) -> None:
    """C6: the writer truncates in the middle of the copy; only records read before it are published, none torn."""
    anywhere.engine.sealer.copier.member_size = 1024
    writer = anywhere.writer().write(lines(0, 100))
    with at("copy.member", lambda: write(writer.cut(), lines(200, 210)), nth=2):
        anywhere.seal()
    anywhere.rotate()

    kept = anywhere.sealed()
    assert lines(0, 32) + lines(200, 210) == kept
    assert anywhere.lost() in ({"truncated": 6400 - 2048}, {"truncated": 6400 - 2048 - 640})


def test_truncation_between_copy_and_comparison_keeps_the_only_copy(anywhere: Bench) -> None:
    """C6: the part is the only copy of what the writer threw away, so it is published; new records once."""
    anywhere.engine.sealer.copier.member_size = 1024
    writer = anywhere.writer().write(lines(0, 100) + b'{"half')
    with at("copy.synced", lambda: write(writer.cut(), lines(200, 400))):
        anywhere.seal()
    anywhere.rotate()

    assert lines(0, 100) + lines(200, 400) == anywhere.sealed()
    assert {"truncated": 6} == anywhere.lost()


@pytest.mark.parametrize("before", [0, 100])
@pytest.mark.parametrize("nth", [1, 2, 5])
def test_truncation_between_two_members_mixes_no_incarnations(bench: Bench, nth: int, before: int) -> None:
    """C6: refilled at once past where the copy is, what is new begins the next incarnation and is sealed once."""
    bench.engine.sealer.copier.member_size = 1024
    writer = bench.writer().write(lines(0, before))
    bench.rotate()
    writer.write(lines(before, 100 + before))
    with at("copy.member", lambda: write(writer.cut(), lines(500, 1500)), nth=nth):
        bench.seal()
    bench.rotate()

    whole = before + 16 * nth
    assert lines(0, whole) + lines(500, 1500) == bench.sealed()
    assert {"truncated": (100 + before - whole) * 64} == bench.lost()


def test_truncation_before_the_copy_begins_nothing_in_the_middle(bench: Bench) -> None:
    """C6: refilled past S between recognition and copy, the file is a new incarnation from its first byte."""
    writer = bench.writer().write(lines(0, 100))
    bench.rotate()
    writer.write(lines(100, 200))
    with at("copy.created", lambda: write(writer.cut(), lines(500, 1500))):
        bench.seal()
    bench.rotate()

    assert lines(0, 100) + lines(500, 1500) == bench.sealed()
    assert {"truncated": 6400} == bench.lost()


def test_truncation_to_a_larger_file_is_seen_too(bench: Bench) -> None:
    """C6: refilled past its old size, it differs at its head."""
    writer = bench.writer().write(lines(0, 100))
    with at("copy.written", lambda: write(writer.cut(), lines(500, 700))):
        bench.seal()
    bench.rotate()

    assert lines(0, 100) + lines(500, 700) == bench.sealed()
    assert {} == bench.lost()


def test_truncation_after_the_first_segment_is_seen_by_the_guard(bench: Bench) -> None:
    """C6 with S > 0: head of the range and guard say what happened."""
    writer = bench.writer().write(lines(0, 200))
    bench.rotate()
    writer.write(lines(200, 300))
    with at("copy.synced", lambda: write(writer.cut(), lines(300, 900))):
        bench.seal()
    bench.rotate()

    assert lines(0, 900) == bench.sealed()
    assert {} == bench.lost()


def test_bytes_rewritten_while_sealing_are_not_sealed_twice(bench: Bench) -> None:
    """A writer that changes the end of the range is no truncation: what is unchanged is sealed once."""
    bench.engine.sealer.copier.member_size = 1024
    writer = bench.writer("hold").write(lines(0, 100))
    with at("copy.synced", lambda: writer.put(b"#", 6300)):
        bench.seal()
    bench.rotate()

    assert writer.path.stat().st_size == len(bench.whole())
    assert lines(0, 96) == bench.whole()[: 96 * 64]


def test_a_tail_that_changes_under_the_read_is_no_truncation(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last bytes of a member change between its read and its check: what came before is sealed once, not twice."""
    bench.engine.sealer.copier.member_size = 1024
    writer = bench.writer("hold").write(lines(0, 100))
    read_into = Live.read_into

    def meddling(live: Live, buffer: memoryview, start: int) -> int:
        count = read_into(live, buffer, start)
        if start == 3072:
            writer.put(b"#", start + count - 2)
        return count

    with monkeypatch.context() as patch:
        patch.setattr(Live, "read_into", meddling)
        bench.seal()
    bench.rotate()

    assert writer.path.stat().st_size == len(bench.whole())


def test_a_writer_that_rewrites_again_and_again_is_refused(bench: Bench) -> None:
    """M5: bytes that change while they are sealed, twice over, make a file that is no log."""
    writer = bench.writer("hold").write(lines(0, 100))
    errors = []
    for mark in (b"#", b"%"):
        with at("copy.synced", partial(writer.put, mark, 5000)):
            errors.append(bench.seal()[0].error)

    assert isinstance(errors[0], CorruptError)
    assert isinstance(errors[1], RefusedError)


def test_the_archive_directory_is_used(make: Make, tmp_path: Path) -> None:
    """H7: parts and segments lie in the configured directory, made where it is missing."""
    bench = make(archive_directory="kept/here")
    bench.writer().write(lines(0, 10))
    bench.rotate()

    assert 1 == len(list((tmp_path / "watched/kept/here").glob("*.gz")))
    assert lines(0, 10) == bench.sealed()


def test_an_archive_on_another_file_system(make: Make) -> None:
    """H7: no link and no rename crosses file systems, so segments may live on another one."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as other:
        bench = make(archive_directory=other)
        bench.writer().write(lines(0, 500))
        bench.rotate()
        bench.stop()

        assert lines(0, 500) == bench.whole()


def test_a_large_file_that_is_truncated_while_it_is_read_is_not_called_one_without_lines(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left has its lines: it is sealed at the next look, and nobody is told to exclude it."""
    monkeypatch.setattr(copying, "SEGMENT_LIMIT", 10_000)
    bench = make()
    writer = bench.writer().write(lines(0, 1000))
    bench.look()
    with at("seal.opened", lambda: setattr(bench, "breathe", writer.cut)):
        bench.seal()
    bench.breathe = lambda: None
    writer.write(lines(1000, 1010))
    bench.clock.advance(40)
    bench.seal()

    assert [] == bench.events("refuse")
    assert lines(1000, 1010) == bench.sealed()


def test_a_compressor_that_is_gone_is_one_streams_failure(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other stream is sealed, it is told once with the remedy, nothing is lost, and it ends with the cause."""
    bench.writer().write(lines(0, 10))
    bench.writer(leaf="other.json").write(lines(0, 10))
    bench.look()
    bench.stream().rotation = msgspec.structs.replace(bench.stream().rotation, level="small")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "deflate", None)
        for _ in range(2):
            outcomes = bench.seal(LEAF, "other.json")
            assert outcomes[0].error is not None

    (told,) = bench.events("error")
    assert LEAF == told["stream"]
    assert told["reason"].endswith("needs the package deflate; pip install 'telemetry-agent[small]'")
    assert lines(0, 10) == bench.sealed("other.json")
    assert (b"", lines(0, 10), True) == (bench.sealed(), bench.live(), no_part(bench))
    bench.seal()
    assert lines(0, 10) == bench.sealed()
    assert [LEAF] == [one["stream"] for one in bench.events("recovered")]


def test_a_segment_by_name_with_an_index_of_somebody_else_stops_nothing(bench: Bench) -> None:
    """Nested ever deeper, it is a damaged segment like any other: the agent starts, and seals."""
    bench.writer().write(lines(0, 100))
    bench.rotate()
    bench.stop()
    text = b'{"a":' + b"[" * 50_000
    foreign = indexes._HEAD.pack(0x1F, 0x8B, 8, 4, 0, 0, 255, len(text) + 12, b"TI", len(text) + 8)
    foreign += text + indexes._CHECK.pack(zlib.crc32(text), len(text)) + indexes._TAIL
    (bench.path / "x_20240101_000000.json.gz").write_bytes(foreign)
    bench.writer().write(lines(100, 200))
    outcome = bench.seal()[0]

    assert outcome.segment is not None
    assert outcome.error is None
    assert ["damaged segment"] == [one["reason"] for one in bench.events("error")]


def test_an_index_that_has_no_room_costs_its_own_stream_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """H11: a path of thousands of bytes that need escapes; what is sealed together with it is sealed."""
    real = indexes.encode

    def long(index: indexes.Index) -> bytes:
        return real(msgspec.structs.replace(index, stream="\x01" * 12_000) if index.stream == LEAF else index)

    for leaf in (LEAF, "other.json"):
        bench.writer(leaf=leaf).write(lines(0, 100))
    monkeypatch.setattr(indexes, "encode", long)
    outcomes = bench.seal(LEAF, "other.json")

    assert [False, True] == [one.segment is not None for one in outcomes]
    assert "no room" in bench.stream().failure
    assert lines(0, 100) == bench.sealed("other.json")
    assert no_part(bench)


def test_a_stream_without_positions_costs_no_other(bench: Bench) -> None:
    """A hostile writer that truncated gigantic sparse files: the other file of the batch is sealed."""
    for leaf in (LEAF, "other.json"):
        bench.writer(leaf=leaf).write(lines(0, 100))
    bench.look()
    bench.life().base = position.LAST - 6399
    outcomes = bench.seal(LEAF, "other.json")

    assert "used up" in str(outcomes[0].error)
    assert lines(0, 100) == bench.sealed("other.json")
    bench.life().base -= 1
    assert bench.seal()[0].error is None
    bench.stop()
    bench.look()
    assert position.LAST == bench.life().position


@pytest.mark.parametrize("years", [8000, 30_000])
def test_a_clock_beyond_the_calendar_stops_no_sealing(bench: Bench, years: int) -> None:
    """Past the year 9999 the names stay those of its last second, and count on."""
    writer = bench.writer()
    bench.look()
    bench.clock.jump(years * 366 * 86_400.0)
    for number in range(2):
        writer.write(lines(number * 10, number * 10 + 10))
        bench.rotate()
    bench.clock.jump(-years * 366 * 86_400.0)
    writer.write(lines(20, 30))
    bench.rotate()
    bench.stop()

    assert lines(0, 30) == bench.sealed()
    assert [f"telemetry_99991231_235959{n}.json.gz" for n in ("", "_1", "_2")] == bench.names()


@pytest.mark.parametrize("changed", [-1e14, -62_135_596_900.0, -5.0, 1e14])
def test_a_schedule_takes_whatever_time_a_file_bears(make: Make, changed: float) -> None:
    """Before the year 1, before 1970 or far ahead: it comes due, and so does every other stream."""
    bench = make(schedule="@hourly", max_size=None, max_age=None)
    for leaf in (LEAF, "other.json"):
        bench.writer(leaf=leaf).write(lines(0, 100))
    bench.look()
    bench.stream().facts.since_wall = changed
    bench.step()
    bench.clock.advance(3601)
    bench.step()

    assert lines(0, 100) == bench.sealed() == bench.sealed("other.json")


def test_a_search_through_written_zeros_breathes(bench: Bench) -> None:
    """A file that somebody filled with zeros is read to its end at each try: an agent that has to leave can, there."""
    bench.writer().write(bytes(4 * MIB) + lines(0, 10)).close()
    bench.look()
    breaths: list[int] = []
    bench.breathe = lambda: breaths.append(1)
    bench.seal()
    assert len(breaths) >= 16
    bench.breathe = fail(StoppingError("the agent is stopping"))
    with pytest.raises(StoppingError):
        bench.seal()
    bench.breathe = lambda: None
    bench.clock.advance(60)
    bench.seal()

    assert lines(0, 10) == bench.sealed()


@pytest.mark.parametrize("zeros", [1, 4096, MIB - 1, MIB, MIB + 1])
def test_the_first_byte_behind_zeros_is_found_where_it_is(tmp_path: Path, zeros: int) -> None:
    """Whatever the pieces in which they are read; none where nothing follows."""
    (tmp_path / LEAF).write_bytes(bytes(zeros) + b"x" + bytes(5))
    with disk.Directory.open(str(tmp_path)) as home, Live.open(home, LEAF) as live:
        assert [zeros, None] == [live.first_byte(0), live.first_byte(zeros + 1)]
