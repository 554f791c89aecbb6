"""Case 15: a writer that truncates its file when it restarts, as the Collector does, beside an agent that captures.

The long form (`-m long -s`) prints how old the oldest lost record was, and how much of the loss was counted.
"""

from __future__ import annotations

import gzip
import json
import re
import time
import zlib
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.bench import LEAF, Writer, lines
from tests.support.program import AGENT, KEEP_ALL, Program
from tests.torture import segments
from tests.torture.judge import judge
from tests.torture.runs import STREAM, run
from tests.torture.tally import Tally, Truth

LIMIT = 60.0
WIDTH = 200
SETTINGS = {**KEEP_ALL, "rotation.capture": "1s", "rotation.max_size": "1GB"}
_NUMBER = re.compile(rb'"n":"(\d{7})"')


def captured(directory: Path) -> bytes:
    """What lies in the open part and in segments; nothing while a member is being written."""
    try:
        found = [path.read_bytes() for path in (*directory.glob("*.gz"), *directory.glob(".*.open"))]
        return b"".join(gzip.decompress(data) for data in found)
    except (OSError, EOFError, zlib.error):
        return b""


def counted(program: Program) -> int:
    """Bytes lost to truncations, as the metrics have them."""
    told = program.get("/metrics")[1].splitlines()
    rows = [line for line in told if line.startswith("telemetry_agent_lost_bytes_total{") and '"truncated"' in line]
    return int(sum(float(line.rpartition(" ")[2]) for line in rows))


def test_what_was_captured_survives_a_writer_that_truncates(tmp_path: Path) -> None:
    """Case 15: each restart takes what came after the last capture, and nothing else; no more than that is counted."""
    after_capture: set[int] = set()
    written = 0
    with Program(AGENT, tmp_path, SETTINGS) as program:
        program.wait_ready()
        writer = Writer(tmp_path / LEAF, "truncate")
        for _ in range(3):
            writer.write(lines(written, written + 50, WIDTH))
            written += 50
            last, end = lines(written - 1, written, WIDTH), time.monotonic() + LIMIT
            while last not in captured(tmp_path):
                program.check_alive()
                assert time.monotonic() < end, program.output()
                time.sleep(0.01)
            writer.write(lines(written, written + 5, WIDTH))
            after_capture |= set(range(written, written + 5))
            written += 5
            writer.restart()
        writer.write(lines(written, written + 1, WIDTH))
        last, end = lines(written, written + 1, WIDTH), time.monotonic() + LIMIT
        while last not in captured(tmp_path):
            assert time.monotonic() < end, program.output()
            time.sleep(0.01)
        told = counted(program)
        shown = sum(one["lost_bytes"] for one in json.loads(program.get("/api/v1/status")[1])["streams"])
        writer.close()
        assert 0 == program.stop().status
    found = [int(number) for number in _NUMBER.findall(captured(tmp_path) + (tmp_path / LEAF).read_bytes())]
    lost = set(range(written + 1)) - set(found)

    assert lost <= after_capture
    assert shown == told <= len(lost) * WIDTH


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_restart_costs_about_the_last_second(tmp_path: Path) -> None:
    """Case 15: eight restarts of a writer with 500 records a second; what is lost is younger than two seconds."""
    rate, watched = 500, tmp_path / "watched"
    watched.mkdir()
    options = ("--rate", str(rate), "--restart-every", "4.7")
    result = run("hold", tmp_path, watched, 42, 1 << 30, settings={"rotation.capture": "1s"}, options=options)
    truth = Truth.load(tmp_path / f"{STREAM}.0.truth")
    tally = Tally([truth])
    for path in sorted(watched.glob("*.gz"), key=lambda one: segments.load(one).start):
        for _, plain in segments.inflate(segments.load(path).body, path.name):
            tally.take(plain)
    counts = tally._seen[0].counts
    ends = [0, *truth.truncations]
    runs = [end - start - len(counts[start:end].rstrip(b"\0")) for start, end in pairwise(ends)]
    verdict = judge(watched, [truth])[0]
    print(
        f"{len(runs)} restarts: the oldest record lost was {max(runs) / rate:.2f} s old; "
        f"{verdict.claimed / 1e6:.2f} of {verdict.cut * truth.record_bytes / 1e6:.2f} MB lost were counted"
    )

    assert result.verdict.good, result.report()
    assert 8 == len(runs)
    assert max(runs) < 2 * rate
