"""The writers write what they say, in the way that they say."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from pathlib import Path

import pytest

from tests.torture import record
from tests.torture.runs import STREAM, Writers
from tests.torture.tally import Tally
from tests.torture.writers import MODES


def write(place: Path, mode: str, *options: str, count: int = 1) -> Tally:
    """Let writers write into `place`; the tally of their file, without a reader's help."""
    truths = Writers.start(place / STREAM, mode, place, *options, count=count).wait()
    tally = Tally(truths)
    tally.take((place / STREAM).read_bytes())
    tally.finish()
    return tally


@pytest.mark.parametrize("mode", sorted(MODES))
def test_every_record_is_whole_and_told(mode: str, tmp_path: Path) -> None:
    """Undisturbed, each mode leaves exactly the records that the truth tells of."""
    tally = write(tmp_path, mode, "--lines", "5000")

    assert (5000, 0, 0, 0) == (tally.records, tally.twice, tally.torn, tally.disorder)
    assert (0, 0, 0) == tally.missing()


def test_many_writers_share_a_file(tmp_path: Path) -> None:
    """Several processes append to one file, each with its own ids, and tear nothing."""
    tally = write(tmp_path, "many", "--lines", "3000", count=3)

    assert (9000, 0) == (tally.records, tally.torn)


def test_records_are_lines_of_json(tmp_path: Path) -> None:
    """A record is one line of OTLP-JSON that says its writer and number."""
    write(tmp_path, "hold", "--lines", "1", "--writer", "7", "--payload", "20")
    resource = json.loads((tmp_path / STREAM).read_bytes())["resourceLogs"][0]
    entry = resource["scopeLogs"][0]["logRecords"][0]

    assert "writer-007" == resource["resource"]["attributes"][0]["value"]["stringValue"]
    assert str(record.FIRST) == entry["attributes"][0]["value"]["intValue"]
    assert 20 == len(entry["body"]["stringValue"])
    assert record.length(20) == (tmp_path / STREAM).stat().st_size


@pytest.mark.parametrize(
    ("mode", "flags", "writes"),
    [
        ("append", os.O_APPEND | os.O_WRONLY, [5, 1, 5, 1]),
        ("hold", os.O_RDWR, [5, 1, 5, 1]),
        ("buffered", os.O_APPEND | os.O_WRONLY, [12]),
        ("many", os.O_APPEND | os.O_WRONLY, [6, 6]),
    ],
)
def test_a_mode_opens_and_writes_as_it_says(
    mode: str, flags: int, writes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open mode and number of write calls for two records are those of the programs that the mode stands for."""
    seen: list[int] = []
    real = os.write

    def write_seen(fd: int, data: bytes) -> int:
        seen.append(len(data))
        return real(fd, data)

    outlet = MODES[mode](str(tmp_path / STREAM))
    monkeypatch.setattr(os, "write", write_seen)
    given = fcntl.fcntl(outlet.fd, fcntl.F_GETFL) & (os.O_APPEND | os.O_ACCMODE)
    outlet.put(b"first")
    outlet.put(b"again")
    outlet.close()

    assert flags == given
    assert writes == seen


def test_a_reopening_writer_has_nothing_open_between_lines(tmp_path: Path) -> None:
    """Mode `reopen` closes the file after each line, so that a write lease can be had."""
    outlet = MODES["reopen"](str(tmp_path / STREAM))
    outlet.put(b"first")

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(outlet.fd)
    assert b"first\n" == (tmp_path / STREAM).read_bytes()


def test_a_buffered_file_ends_in_the_middle_of_a_line(tmp_path: Path) -> None:
    """Whole blocks of 4 KiB are written, whatever line they end in."""
    outlet = MODES["buffered"](str(tmp_path / STREAM))
    for _ in range(50):
        outlet.put(b"x" * 99)

    assert 4096 == (tmp_path / STREAM).stat().st_size
    outlet.close()
    assert 5000 == (tmp_path / STREAM).stat().st_size


def test_a_rate_is_kept_and_latency_measured(tmp_path: Path) -> None:
    """A writer with a rate never exceeds it, and tells how long each record's writes took."""
    writers = Writers.start(tmp_path / STREAM, "append", tmp_path, "--seconds", "0.5", "--rate", "10000", "--latency")
    truth = writers.wait()[0]
    told = json.loads(writers.truths[0].read_text("utf-8"))

    assert 0 < truth.written <= 5000
    assert truth.written == sum(count for _, count in told["latency_us"]["first"])
    assert all(0 < latency < 100_000 for latency, _ in told["latency_us"]["first"])
    assert [] == told["latency_us"]["then"]


def test_sigterm_ends_a_writer_with_the_truth(tmp_path: Path) -> None:
    """A writer that is told to stop finishes its record and says how many there are."""
    writers = Writers.start(tmp_path / STREAM, "hold", tmp_path)
    while not (tmp_path / STREAM).exists() or not (tmp_path / STREAM).stat().st_size:
        assert writers.processes[0].poll() is None
    os.kill(writers.processes[0].pid, signal.SIGTERM)
    truth = writers.wait()[0]

    assert truth.written * truth.record_bytes == (tmp_path / STREAM).stat().st_size


def test_a_failing_write_ends_a_writer_with_an_error(tmp_path: Path) -> None:
    """A write that fails is no silent end: the harness raises, and the truth has what was complete."""
    writers = Writers.start(Path("/dev/full"), "many", tmp_path, "--lines", "5")

    with pytest.raises(RuntimeError, match="ended with"):
        writers.wait()
    assert 0 == json.loads(writers.truths[0].read_text("utf-8"))["written"]


def test_a_damaged_line_is_no_record() -> None:
    """A record parses to its writer and id, and to nothing once a byte is missing, changed or added."""
    line = record.maker(12, 30)(345)

    assert (12, 345) == record.parse(line)
    for at in range(0, len(line), 7):
        assert record.parse(line[:at] + line[at + 1 :]) is None
        assert record.parse(line[:at] + b"\0" + line[at + 1 :]) is None
    assert record.parse(line + line) is None
    assert record.parse(b"") is None
