"""The benchmarks' own tools: the data, the counting, the table. No measurement is asserted."""

from __future__ import annotations

import json
import os
import shutil
import time
import zlib
from pathlib import Path

import pytest

from tests.bench import corpus, logrotate
from tests.bench.__main__ import BENCHES, arguments
from tests.bench.latency import Told, quantile
from tests.bench.loops import at, beating, spread, told
from tests.bench.loss import count_lost
from tests.bench.report import Row, markdown
from tests.bench.waiting import until
from tests.support.program import Program
from tests.torture import record
from tests.torture.tally import Truth


def test_the_corpus_is_the_same_each_time(tmp_path: Path) -> None:
    """Two corpora of a size are equal, whole lines, and as large as was asked for but for one line."""
    for name in ("one", "two"):
        corpus.write(tmp_path / name, 3_000_000)
    data = (tmp_path / "one").read_bytes()

    assert data == (tmp_path / "two").read_bytes()
    assert data.endswith(b"\n")
    assert 2_900_000 < len(data) <= 3_000_000


def test_the_corpus_is_otlp_json_as_compressible_as_telemetry() -> None:
    """Each line is one export request of a signal; gzip -6 makes it about eight times smaller."""
    data = corpus.Corpus().block(4 << 20)
    keys = {key for line in data.splitlines() for key in json.loads(line)}

    assert {"resourceSpans", "resourceLogs", "resourceMetrics"} == keys
    assert 7.5 < len(data) / len(zlib.compress(data, 6)) < 8.5


def test_a_corpus_larger_than_its_block_repeats_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a block the same lines come again, none of them cut."""
    monkeypatch.setattr(corpus, "_BLOCK", 100_000)
    size = corpus.write(tmp_path / "data", 350_000)
    lines = (tmp_path / "data").read_bytes().splitlines()

    assert size == (tmp_path / "data").stat().st_size
    assert len(set(lines)) < len(lines)
    assert all(json.loads(line) for line in lines)


def test_lost_records_are_counted_over_plain_files(tmp_path: Path) -> None:
    """Records are found in any of the files, behind NULs too; the others are lost."""
    line = record.maker(0, 8)
    (tmp_path / "a.1").write_bytes(b"".join(line(n) + b"\n" for n in range(10)) + line(10)[:50])
    (tmp_path / "a").write_bytes(bytes(5000) + b"".join(line(n) + b"\n" for n in range(13, 20)))

    assert 3 == count_lost(tmp_path, [Truth("a", 0, 20, record.length(8))])


def test_a_quantile_is_that_of_all_runs_together() -> None:
    """One slow run among several counts by its writes, not as a run."""
    quick, slow = Told(first=[(1.0, 4)], then=[(2.0, 98), (9.0, 1)]), Told(first=[(3.0, 4)], then=[(50.0, 1)])

    assert [2.0, 9.0, 50.0] == [quantile([quick, slow], "then", place) for place in (0.5, 0.99, 1)]
    assert 3.0 == quantile([quick, slow], "first", 0.999)


def test_a_late_beat_stands_for_those_that_it_kept_from_coming() -> None:
    """A loop that stood for 35 ms was as late for the beats that were due then: one of many would hide it."""
    assert [35, 25, 15, 5, 0, 8] == [round(1000 * lag) for lag in spread([0.035, 0.0, 0.008])]


def test_the_agent_tells_of_each_beat(tmp_path: Path) -> None:
    """The agent that the bench starts is the real one, and its beats can be read while it runs."""
    with open(os.memfd_create("beats"), "rb") as beats, Program(beating(beats), tmp_path, {}) as program:
        program.wait_ready()
        found: list[tuple[float, float]] = []
        until(lambda: bool(found.extend(told(beats)) or len(found) > 10), program, 60)
    whens = [when for when, _ in found]

    assert sorted(whens) == whens
    assert min(lag for _, lag in found) >= 0
    assert whens[-1] <= time.monotonic()


def test_a_share_of_the_seconds_took_so_long() -> None:
    """Of a hundred the 99th from below is p99, and the last is the longest; a single one is all of them."""
    assert (50, 99, 100) == tuple(at(range(100, 0, -1), share) for share in (0.5, 0.99, 1))
    assert 7.0 == at([7.0], 0.5)


@pytest.mark.skipif(not shutil.which("logrotate"), reason="logrotate is not installed")
def test_logrotate_is_the_real_one(tmp_path: Path) -> None:
    """It copies, compresses and truncates, and its time and its children's is counted."""
    directory = tmp_path / "logs"
    directory.mkdir()
    corpus.write(directory / "a.json", 5_000_000)
    seconds = logrotate.rotate(directory, ["compress"])

    assert ["a.json", "a.json.1.gz"] == sorted(path.name for path in directory.iterdir())
    assert 0 == (directory / "a.json").stat().st_size
    assert seconds > 0
    assert [directory] == list(tmp_path.iterdir())


def test_the_table_says_what_missed_its_bar() -> None:
    """A row is a line of Markdown; a missed bar stands out, a measurement without one says nothing."""
    rows = [Row("a", "1", "2", "2.0", met=False), Row("b", "", "3")]

    assert ["| a | 1 | 2 | 2.0 | **no** |", "| b |  | 3 |  |  |"] == markdown(rows).splitlines()[2:]


def test_every_bench_can_be_asked_for() -> None:
    """The command line takes each bench by name, and all of them without one."""
    assert "all" in arguments([]).bench
    assert list(BENCHES) == arguments(list(BENCHES)).bench
