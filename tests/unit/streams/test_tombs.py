"""Removing live files that are long empty and unopened: whoever opens one meanwhile loses nothing (attack C1)."""

from __future__ import annotations

import os
import random
import threading
import time

import pytest

from agent.kit.units import Duration
from agent.streams import tombs
from tests.support.bench import LEAF, Bench, killed, lines
from tests.unit.streams.conftest import Make, overtake

TOMB = f".{LEAF}.tomb"


def burying(make: Make, **settings: object) -> Bench:
    """A bench that removes files which were empty for a minute."""
    return make(**{"unlink_idle": Duration("60s"), **settings})


def empty(bench: Bench) -> Bench:
    """A file that was written, sealed, and set back to size 0."""
    bench.writer().write(lines(0, 10)).close()
    bench.rotate()
    bench.clock.advance(31)
    assert 1 == len(bench.engine.rounds.reset())
    bench.look()
    return bench


def tick(bench: Bench, seconds: float) -> None:
    """A keeper's pass, later."""
    bench.clock.advance(seconds)
    bench.step()
    bench.engine.rounds.bury()


def resolved(bench: Bench) -> int:
    """What a program has that looked the path up and did not open it yet."""
    return os.open(bench.path / LEAF, os.O_PATH)


def append(fd: int, data: bytes) -> int:
    """Go on with the open() that was begun by `resolved`, and write."""
    opened = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_APPEND)
    os.close(fd)
    assert len(data) == os.write(opened, data)
    return opened


def test_what_comes_to_the_path_stays_where_no_file_system_refuses_to_replace(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H7: a file that takes the empty one's place while that is renamed is sealed as any other."""
    bench = empty(burying(make))
    came = overtake(monkeypatch, bench.path / LEAF, lines(10, 20))
    for _ in range(8):
        tick(bench, 35)
    bench.rotate()

    assert [LEAF] == came
    assert (lines(0, 20), {}) == (bench.whole(), bench.lost())


def test_a_file_that_stays_empty_is_removed(make: Make) -> None:
    """Two lease tests a grace apart; the stream keeps its segments, and goes on when the file comes again."""
    bench = empty(burying(make))
    tick(bench, 20)
    assert (bench.path / LEAF).exists()
    tick(bench, 20)
    assert [TOMB] == bench.names(".*.tomb")
    for _ in range(4):
        tick(bench, tombs.GRACE)
    assert [] == bench.names(".*.tomb")
    assert not (bench.path / LEAF).exists()
    bench.writer().write(lines(10, 20)).close()
    tick(bench, 31)
    bench.rotate()

    assert lines(0, 20) == bench.sealed()
    assert {} == bench.lost()


def test_without_the_key_nothing_is_removed(make: Make) -> None:
    """It is off by default."""
    bench = empty(make())
    for _ in range(5):
        tick(bench, 3600)

    assert (bench.path / LEAF).exists()


def test_a_file_whose_writer_left_after_the_last_seal_is_emptied_and_removed(make: Make) -> None:
    """It could not be emptied while it was open, and nothing is ever written to it again."""
    bench = burying(make)
    writer = bench.writer().write(lines(0, 10))
    bench.rotate()
    tick(bench, 31)
    writer.close()
    for _ in range(6):
        tick(bench, 61)

    assert not (bench.path / LEAF).exists()
    assert [] == bench.names(".*.tomb")
    assert lines(0, 10) == bench.sealed()


def test_a_file_that_somebody_has_open_stays(make: Make) -> None:
    """Also a reader: the lease is refused."""
    bench = empty(burying(make))
    reader = os.open(bench.path / LEAF, os.O_RDONLY)
    for _ in range(5):
        tick(bench, 100)
    assert (bench.path / LEAF).exists()
    os.close(reader)
    tick(bench, 100)

    assert [TOMB] == bench.names(".*.tomb")


@pytest.mark.parametrize("keep", [True, False])
def test_a_writer_that_had_resolved_the_path_gets_its_file_back(make: Make, keep: bool) -> None:
    """C1: it opens the renamed file and writes; the file returns to its path with what was written."""
    bench = empty(burying(make))
    fd = resolved(bench)
    tick(bench, 61)
    assert [TOMB] == bench.names(".*.tomb")
    opened = append(fd, lines(10, 12))
    if not keep:
        os.close(opened)
    for _ in range(6):
        tick(bench, tombs.GRACE)
    if keep:
        assert (bench.path / LEAF).exists()
        os.write(opened, lines(12, 14))
        os.close(opened)
    for _ in range(3):
        tick(bench, 31)
        bench.rotate()

    assert lines(0, 14 if keep else 12) == bench.sealed()
    assert {} == bench.lost()


def test_a_tomb_is_finished_before_the_file_that_took_its_path(make: Make) -> None:
    """C1: one writer opened the old file, another made a new one: both are sealed, in order."""
    bench = empty(burying(make))
    fd = resolved(bench)
    tick(bench, 61)
    os.close(append(fd, lines(10, 12)))
    bench.writer().write(lines(12, 15)).close()
    for _ in range(8):
        tick(bench, tombs.GRACE)
    bench.rotate()

    assert lines(0, 15) == bench.sealed()
    assert [] == bench.names(".*.tomb")
    assert {} == bench.lost()


@pytest.mark.parametrize("step", ["tomb.renamed", "tomb.drained", "tomb.removed"])
def test_a_kill_around_a_tomb_loses_nothing(make: Make, step: str) -> None:
    """The next start finds the tomb by the inode it knows, and goes on with it."""
    bench = empty(burying(make))
    fd = resolved(bench)

    def scenario() -> None:
        for _ in range(8):
            tick(bench, 61)

    assert killed(step, scenario)
    bench.crash()
    if step == "tomb.renamed":
        os.close(append(fd, lines(10, 12)))
    else:
        os.close(fd)
        bench.writer().write(lines(10, 12)).close()
    for _ in range(8):
        tick(bench, tombs.GRACE)
    bench.rotate()

    assert lines(0, 12) == bench.sealed()
    assert [] == bench.names(".*.tomb")


def test_a_writer_that_opens_for_each_line_loses_nothing(make: Make) -> None:
    """C1 for real: a program opens, appends and closes while its file is buried again and again."""
    bench = burying(make, unlink_idle=Duration("1s"))
    path, stop = bench.path / LEAF, threading.Event()
    count = 0

    def write() -> None:
        nonlocal count
        chance = random.Random(7)
        while not stop.is_set():
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            os.write(fd, lines(count, count + 1))
            os.close(fd)
            count += 1
            time.sleep(chance.choice((0, 0.001, 0.004, 0.03)))

    writer = threading.Thread(target=write)
    writer.start()
    buried, until = 0, time.monotonic() + 1
    while time.monotonic() < until or (buried < 2 and time.monotonic() < until + 60):
        bench.clock.advance(31)
        bench.step()
        buried += len(bench.engine.rounds.bury())
    stop.set()
    writer.join()
    for _ in range(8):
        bench.clock.advance(31)
        bench.step()
    bench.rotate()

    assert lines(0, count) == bench.sealed()
    assert {} == bench.lost()
    assert buried >= 2
