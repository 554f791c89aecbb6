"""The judge itself: it calls a good run good, and every damage by its name."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.program import REFERENCE, ROOT, Program
from tests.torture import record, segments, tamper
from tests.torture.judge import Verdict, judge
from tests.torture.reference import Rotator
from tests.torture.runs import STREAM, Writers
from tests.torture.tally import Tally, Truth
from tests.torture.writers import MODES

LINES = 30_000
REST = 100
"""Of those: written after the rotator's last look, so that some are live."""
MAX_SIZE = 400_000
TURN = 1_500
"""Records between two looks of the rotator."""


@dataclasses.dataclass(frozen=True)
class Finished:
    """A stopped directory and what was written into it."""

    directory: Path
    truth: Truth

    def verdict(self) -> Verdict:
        """What the judge says of it."""
        return judge(self.directory, [self.truth])[0]

    def newest(self) -> Path:
        """The newest segment."""
        return max(self.directory.glob("*.gz"), key=lambda path: segments.load(path).start)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A good run, with segments and a live rest: writer and rotator take turns, so that no load changes it."""
    directory = tmp_path_factory.mktemp("original") / "run"
    directory.mkdir()
    writer, rotator = MODES["hold"](str(directory / STREAM)), Rotator(directory, MAX_SIZE, "")
    make_line = record.maker(0, 64)
    for n in range(LINES):
        if n <= LINES - REST and n % TURN == 0:
            rotator.look(directory / STREAM)
        writer.put(make_line(n))
    writer.close()
    return Finished(directory, Truth(STREAM, 0, LINES, record.length(64), ()))


@pytest.fixture
def run(original: Finished, tmp_path: Path) -> Finished:
    """A copy of a good run, to be damaged."""
    return Finished(tamper.copy_run(original.directory, tmp_path / "run"), original.truth)


def test_a_good_run_is_good(run: Finished) -> None:
    """Every record is found once, some sealed and some live."""
    verdict = run.verdict()

    assert [] == verdict.findings
    assert verdict.good
    assert (LINES, LINES) == (verdict.written, verdict.sealed + verdict.live)
    assert verdict.segments > 5
    assert verdict.live > 0


@pytest.mark.parametrize(
    ("how", "field", "each"),
    [
        (tamper.drop, "lost", 1),
        (tamper.double, "twice", 1),
        (tamper.tear, "torn", 1),
        (tamper.glue, "torn", 1),
        (tamper.swap, "disorder", 1),
    ],
    ids=["drop", "double", "tear", "glue", "swap"],
)
def test_one_damaged_record_in_ten_thousand_is_found(run: Finished, how: tamper.Damage, field: str, each: int) -> None:
    """Negative control: valid segments whose records were tampered with are counted by the kind of damage."""
    count = tamper.damage(run.directory, STREAM, how)

    verdict = run.verdict()

    assert LINES // tamper.EVERY <= count + 1
    assert count * each == getattr(verdict, field)
    assert not verdict.good
    assert [] == [one for one in verdict.findings if not one.startswith(("no whole record", "record "))]


def test_undamaged_but_rewritten_segments_are_good(run: Finished) -> None:
    """The controls fail for their damage, not for being rewritten."""
    count = tamper.damage(run.directory, STREAM, _leave)

    assert count > 0
    assert [] == run.verdict().findings


@pytest.mark.parametrize("claim", [tamper.claim_loss, tamper.claim_gap])
def test_a_loss_that_never_was_is_found(run: Finished, claim: Callable[[Path, str, int], None]) -> None:
    """Negative control: a loss is audited, or a gap stands in an index, though no writer truncated."""
    claim(run.directory, STREAM, 363)

    verdict = run.verdict()

    assert 363 == verdict.claimed
    assert any("truly 0" in finding for finding in verdict.findings)


def test_a_bit_that_flipped_is_found(run: Finished) -> None:
    """The digest in the index is checked, and a member's CRC also when the digest was made to fit."""
    path = run.newest()
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)

    verdict = run.verdict()

    assert any("digest" in finding for finding in verdict.findings)


def test_a_member_with_a_wrong_crc_is_found(run: Finished) -> None:
    """What `gzip -t` refuses, the judge refuses, even with a digest that fits."""
    segment = segments.load(run.newest())
    body = bytearray(segment.body)
    body[-6] ^= 1
    index = segment.index | {"digest": hashlib.sha256(body).hexdigest()}
    segment.path.write_bytes(body + segments.last_member(index))

    verdict = run.verdict()

    assert 0 != subprocess.run(["gzip", "-t", str(segment.path)], check=False, capture_output=True).returncode
    assert any("bad member" in finding for finding in verdict.findings)


def test_a_missing_segment_is_found(run: Finished) -> None:
    """A hole in the chain of positions is found, and its records are lost."""
    path = sorted(run.directory.glob("*.gz"), key=lambda one: segments.load(one).start)[2]
    records = segments.load(path).index["records"]
    path.unlink()

    verdict = run.verdict()

    assert records == verdict.lost
    assert any("starts at" in finding for finding in verdict.findings)


def test_a_segment_sealed_twice_is_found(run: Finished) -> None:
    """The same range under two names is two copies of its records."""
    path = run.newest()
    records = segments.load(path).index["records"]
    path.with_name("telemetry_20991231_235959.json.gz").write_bytes(path.read_bytes())

    verdict = run.verdict()

    assert records == verdict.twice


@pytest.mark.parametrize("name", ["telemetry_1.json.gz", "telemetry_19700101_000000.json.gz"])
def test_a_wrong_name_is_found(run: Finished, name: str) -> None:
    """A segment's name has its time, which is never before its predecessor's."""
    path = run.newest()
    path.rename(path.with_name(name))

    verdict = run.verdict()

    assert 0 == verdict.lost
    assert any(name in finding for finding in verdict.findings)


@pytest.mark.parametrize("key", ["records", "members", "logical", "physical"])
def test_an_index_that_lies_is_found(run: Finished, key: str) -> None:
    """The index is compared with the content."""
    segment = segments.load(run.newest())
    value = segment.index[key]
    lies = {"records": 1, "members": [[0, 1]]}
    lie = lies.get(key, [0, segment.end + 1])
    segment.path.write_bytes(segment.body + segments.last_member(segment.index | {key: lie}))

    assert value != lie
    assert run.verdict().findings


def test_bytes_below_s_are_not_judged(run: Finished) -> None:
    """What stands before S in the live file, the guard, is sealed already."""
    end = segments.load(run.newest()).index["physical"][1]
    with (run.directory / STREAM).open("rb") as live:
        live.seek(end - 256)

        assert live.read(256).strip(b"\0")
    assert run.verdict().good


def test_nuls_behind_s_are_found(run: Finished) -> None:
    """A hole punched too far costs records, and shows as NULs."""
    end = segments.load(run.newest()).index["physical"][1]
    with (run.directory / STREAM).open("r+b") as live:
        live.seek(end)
        live.write(bytes(362))

    verdict = run.verdict()

    assert 1 == verdict.lost
    assert any("NULs" in finding for finding in verdict.findings)


def test_a_live_file_that_began_anew_is_read_from_its_start(run: Finished) -> None:
    """After a reset of the live file, S is 0: its first bytes are records."""
    path = run.directory / STREAM
    end = segments.load(run.newest()).index["physical"][1]
    rest = path.read_bytes()[end:]
    with path.open("r+b") as live:
        live.truncate(0)
        live.write(rest)

    assert run.verdict().good


@pytest.mark.parametrize("ending", ["open", "part"])
def test_a_part_that_holds_what_live_gave_back_counts(run: Finished, ending: str) -> None:
    """The newest segment as an unpublished part, its range already punched, still has its records once."""
    path = run.newest()
    segment = segments.load(path)
    start, end = segment.index["physical"]
    (run.directory / f".{STREAM}.{ending}").write_bytes(segment.body + b"\x1f\x8b\x08half a member")
    path.unlink()
    _blank(run.directory / STREAM, start, end)

    assert [] == run.verdict().findings


@pytest.mark.parametrize("ending", ["open", "part"])
def test_a_part_whose_range_is_still_live_counts_once(run: Finished, ending: str) -> None:
    """A part that repeats what live still has is a copy on its way, not a second record."""
    path = run.newest()
    segment = segments.load(path)
    start, _ = segment.index["physical"]
    (run.directory / f".{STREAM}.{ending}").write_bytes(segment.body)
    content = b"".join(plain for _, plain in segments.inflate(segment.body, ""))
    with (run.directory / STREAM).open("r+b") as live:
        live.seek(start)
        live.write(content)
    before = sorted(run.directory.glob("*.gz"), key=lambda one: segments.load(one).start)[-2]
    _write_guard(run.directory / STREAM, before)
    path.unlink()

    assert [] == run.verdict().findings


def test_an_unknown_part_and_a_foreign_archive_are_found(run: Finished) -> None:
    """Leftovers are no part of a clean stop."""
    (run.directory / ".other.json.part").write_bytes(b"")
    (run.directory / ".another.json.open").write_bytes(b"")
    (run.directory / "other.gz").write_bytes(b"")

    findings = run.verdict().findings

    assert 3 == len([one for one in findings if "unknown part" in one or "not empty" in one])


@pytest.mark.parametrize(
    ("truncations", "lost", "cut"),
    [((), 30, 0), ((60,), 0, 30), ((40,), 20, 10), ((40, 60), 0, 30), ((65,), 30, 0), ((30,), 30, 0)],
)
def test_only_what_a_truncation_took_is_excused(truncations: tuple[int, ...], lost: int, cut: int) -> None:
    """Of the missing ids 30 to 59 only those directly before a truncation are cut; the rest is lost."""
    tally = Tally([Truth(STREAM, 0, 100, record.length(8), truncations)])
    make_line = record.maker(0, 8)
    for n in [*range(30), *range(60, 100)]:
        tally.take(make_line(n) + b"\n")

    assert (lost, cut, cut * record.length(8)) == tally.missing()


def test_the_loss_of_copy_and_truncate_is_found(tmp_path: Path) -> None:
    """A real loss: the reference rotator made to truncate after its copy loses records, and the judge counts them."""
    directory = tmp_path / "run"
    directory.mkdir()
    writers = Writers.start(directory / STREAM, "append", tmp_path)
    try:
        settings = {"rotation.max_size": f"{MAX_SIZE}B"}
        with Program([*REFERENCE, "--fault", "copytruncate"], directory, settings) as program:
            while len(list(directory.glob("*.gz"))) < 2:  # the file was truncated before the second one was made
                program.check_alive()
                time.sleep(0.01)
            writers.processes[0].terminate()
            truths = writers.wait()
    finally:
        writers.kill()

    assert judge(directory, truths)[0].lost > 0


@pytest.mark.parametrize("mode", ["hold", "append"])
def test_a_restarting_writer_is_told_from_a_loss(tmp_path: Path, mode: str) -> None:
    """Only a writer that truncates when it restarts loses by itself; every other record is found."""
    options = ("--lines", "20000", "--rate", "20000", "--restart-every", "0.4")
    truth_place = tmp_path / "w"
    truth_place.mkdir()
    truths = Writers.start(truth_place / STREAM, mode, tmp_path, *options).wait()

    verdict = judge(truth_place, truths)[0]

    assert (mode == "hold") == bool(truths[0].truncations)
    assert (mode == "hold") == bool(verdict.cut)
    assert (0, 20_000) == (verdict.lost, verdict.live + verdict.cut)


def test_the_command_prints_a_table(run: Finished, tmp_path: Path) -> None:
    """`python -m tests.torture.judge DIR TRUTH` exits 0 for a good directory and 1 for a bad one."""
    truth = tmp_path / "t"
    truth.write_text(
        f'{{"stream":"{STREAM}","writer":0,"written":{LINES},"record_bytes":363,"truncations":[]}}', "utf-8"
    )
    line = [sys.executable, "-m", "tests.torture.judge", str(run.directory), str(truth)]
    good = subprocess.run(line, check=False, capture_output=True, text=True, cwd=ROOT)
    run.newest().unlink()
    bad = subprocess.run(line, check=False, capture_output=True, text=True, cwd=ROOT)

    assert (0, 1) == (good.returncode, bad.returncode)
    assert good.stdout.endswith("good" + os.linesep)
    assert bad.stdout.endswith("BAD" + os.linesep)


def _leave(lines: list[bytes], at: int) -> None:
    """No damage: the line stays a line."""
    assert lines[at].endswith(b"\n")


def _blank(path: Path, start: int, end: int) -> None:
    """Overwrite a range with NULs."""
    with path.open("r+b") as live:
        live.seek(start)
        live.write(bytes(end - start))


def _write_guard(path: Path, segment: Path) -> None:
    """Put the last sealed bytes back before the end of a segment."""
    loaded = segments.load(segment)
    content = b"".join(plain for _, plain in segments.inflate(loaded.body, ""))[-256:]
    with path.open("r+b") as live:
        live.seek(loaded.index["physical"][1] - len(content))
        live.write(content)
