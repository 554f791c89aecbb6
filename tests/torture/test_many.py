"""Many files, many rotations, many archives, and a clock that jumps: nothing leaks, nothing goes early, order stays.

The long forms (`-m long -s`) print their figures.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from agent.config import Retention
from agent.kit.units import Duration
from agent.streams import member, names
from agent.streams.dues import Due
from tests.support.bench import KEEP_ALL, LEAF, Bench, lines
from tests.torture import segments

long = pytest.mark.long
RECORD = 100


@contextmanager
def bench_at(path: Path, retention: Retention = KEEP_ALL) -> Iterator[Bench]:
    """A bench in a directory of its own."""
    path.mkdir(exist_ok=True)
    bench = Bench(path, retention=retention)
    try:
        yield bench
    finally:
        bench.close()


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def held() -> tuple[int, int]:
    """Descriptors and threads."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def say(text: str) -> None:
    """A figure, for whoever runs with -s."""
    sys.stdout.write(f"\n{text}\n")


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=[long, pytest.mark.timeout(600)])])
def test_many_files_due_at_the_same_second(tmp_path: Path, count: int) -> None:
    """Case 27: each is sealed once in one pass, by shared syncs; nothing stays open behind it."""
    with bench_at(tmp_path / "watched") as bench:
        for number in range(count):
            (bench.path / f"{number:05}.json").write_bytes(lines(0, 10, RECORD))
        bench.look()
        before = held()
        began, worked = time.monotonic(), time.process_time()
        outcomes = bench.engine.rotator.seal(
            [Due(stream, "schedule") for stream in bench.engine.catalog.streams.values()]
        )
        seconds, worked = time.monotonic() - began, time.process_time() - worked

        assert count == sum(outcome.records == 10 for outcome in outcomes)
        assert before == held()
        assert count == len(set(bench.names()))
        say(f"{count} files due at once: sealed in {seconds:.2f} s, {worked:.2f} s of CPU")


@pytest.mark.parametrize(
    ("seed", "rotations"), [(1, 250), pytest.param(2, 10_000, marks=[long, pytest.mark.timeout(1200)])]
)
def test_rotations_under_a_clock_that_jumps(tmp_path: Path, seed: int, rotations: int) -> None:
    """Cases 21, 27: names unique, order kept, nothing deleted before its time, no descriptor, thread or memory left.

    The clock jumps by up to a day in either direction, or to 1970 and back. True ages are counted here by steady time.
    """
    chance = random.Random(seed)
    with bench_at(tmp_path / "watched", Retention(keep=0, max_age=Duration("1h"), max_total=None)) as bench:
        writer = bench.writer()
        born: dict[str, float] = {}
        stamps: list[tuple[int, int]] = []
        bench.look()
        settled, before = 0, held()
        for number in range(rotations):
            writer.write(lines(number, number + 1, RECORD))
            (outcome,) = bench.rotate()
            assert outcome.segment is not None
            name = names.parse(outcome.segment.name)
            assert name is not None
            assert outcome.segment.name not in born
            stamps.append((name.time, name.n))
            born[outcome.segment.name] = bench.clock.monotonic()
            _jump(chance, bench)
            bench.clock.advance(chance.choice((0.0, 0.2, 30.0)))
            gone = {one for one in born if born[one] > 0} - {one.name for one in bench.stream().segments}
            bench.retain()
            now = bench.clock.monotonic()
            for one in [one for one in born if born[one] > 0 and not (bench.path / one).exists()]:
                assert now - born[one] >= 3600, f"{one} went after {now - born[one]} s"
                born[one] = 0.0
            assert not gone
            if chance.random() < 0.002:
                bench.stop()
                bench.look()
            if number == rotations // 5:
                settled = resident()
        grown = resident() - settled

        assert sorted(stamps) == stamps
        assert all(now - at < 3700 for at in born.values() if at > 0)
        for earlier, later in pairwise(bench.segments()):
            assert later.start == earlier.end
        assert all(now <= then for now, then in zip(held(), before, strict=True))
        assert grown < 8 << 20
        say(f"{rotations} rotations under a jumping clock: memory grew by {grown >> 10} KiB after the first fifth")


def _jump(chance: random.Random, bench: Bench) -> None:
    way = chance.random()
    if way < 0.05:
        bench.clock.jump(chance.uniform(-86_400, 86_400))
    elif way < 0.06:
        bench.clock.wall = 0.0 if bench.clock.wall > 86_400 * 365 else 1_700_000_000.0


@pytest.mark.parametrize("count", [400, pytest.param(50_000, marks=[long, pytest.mark.timeout(1200)])])
def test_many_archives(tmp_path: Path, count: int) -> None:
    """Case 27: they are read in order at a start, none goes early, and a lowered count leaves exactly so many."""
    with bench_at(tmp_path / "watched") as bench:
        writer = bench.writer().write(lines(0, 1, RECORD))
        bench.rotate()
        writer.close()
        _copies(bench, count)
        bench.stop()
        bench.clock.advance(count)  # they came one a second
        memory, before = resident(), held()
        began = time.monotonic()
        bench.look()
        ready = time.monotonic() - began
        memory = resident() - memory
        found = bench.stream().segments

        assert count == len(found)
        assert all(later.extent.start == earlier.extent.end for earlier, later in pairwise(found))
        began = time.monotonic()
        assert [] == bench.retain()
        planned = time.monotonic() - began
        bench.release()
        bench.retention = Retention(keep=100, max_age=None, max_total=None)
        bench.engine.catalog.configure(bench.config)
        began = time.monotonic()
        bench.retain()
        cleared = time.monotonic() - began
        assert 100 == len(bench.names())
        bench.stop()
        assert before == held()
        say(
            f"{count} archives: read in {ready:.1f} s, {memory >> 20} MiB; a pass of retention {planned:.2f} s; "
            f"{count - 100} deleted in {cleared:.1f} s"
        )


def _copies(bench: Bench, count: int) -> None:
    """Segments that follow the first, each of one record; the live file is as long as they say."""
    (first,) = bench.segments()
    index, second = dict(first.index), 1_700_000_100
    identity, compress = bench.life().identity, member.compressor("fast")
    for number in range(1, count):
        at = [number * RECORD, (number + 1) * RECORD]
        _, *pieces = member.encode(
            memoryview(lines(number, number + 1, RECORD)), stream_id=bench.stream().raw_id, identity=identity,
            position=at[0], physical=at[0], seen=1.0, records=1, compress=compress, offset=0,
        )  # fmt: skip
        body = b"".join(pieces)
        index |= {
            "logical": at, "physical": at, "members": [[0, 0]], "digest": hashlib.sha256(body).hexdigest(),
            "uptime": index["uptime"] + 0.001, "sealed_at": second + number,
        }  # fmt: skip
        name = names.segment_name(LEAF, second + number, 0).format()
        (bench.path / name).write_bytes(body + segments.last_member(index))
    with open(bench.path / LEAF, "r+b") as live:
        live.truncate((count - 1) * RECORD)
        live.seek(0, os.SEEK_END)
        live.write(lines(count - 1, count, RECORD))
