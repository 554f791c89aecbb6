"""Random lives of a writer beside an engine that fails and dies: a seed is a list of actions, and is printed.

The model is what the writer wrote. Where nobody truncated, every record is there exactly once and in order. What a
truncation may cost is what was in no segment; what is counted as lost is never more than what is missing.
"""

from __future__ import annotations

import errno
import os
import random
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.streams import release
from tests.support.bench import LEAF, Bench, Writer, at, fail, lines

WIDTH = 600
FAULTS = ["copy.member", "copy.written", "verify.member", "release.compared", "release.punched", "reset.leased",
          "reset.sealed", "reset.hinted", "reset.punched"]  # fmt: skip
NUMBER = re.compile(rb'"n":"(\d{7})"')


class Life:
    """One run."""

    def __init__(self, seed: int, home: Path, *, truncates: bool) -> None:
        self.dice = random.Random(seed)
        self.bench = Bench(home)
        self.mode = self.dice.choice(["append", "hold"])
        self.truncates = truncates
        self.writer: Writer = self.bench.writer(self.mode)
        self.written = 0
        self.rest = b""
        self.renames = 0
        self.log: list[str] = []

    def run(self, steps: int) -> None:
        """So many actions, then everything is brought to rest."""
        acts: list[Callable[[], None]] = [
            *([self.write] * 4), self.half, self.seal, self.rotate, self.step, self.fault, self.stop, self.crash,
            self.reopen, self.let_go, self.rename, self.wait, self.forget,
        ]  # fmt: skip
        if self.truncates:
            acts.append(self.truncate)
        for _ in range(steps):
            act = self.dice.choice(acts)
            self.log.append(act.__name__)
            act()
        self.end_line()
        for _ in range(6):
            self.bench.clock.advance(60)
            self.bench.step()
            self.bench.rotate()

    # -- the writer

    def place(self) -> None:
        """A held file is written at its end, as its holder would."""
        if self.writer.fd < 0:
            self.writer = self.bench.writer(self.mode)
            os.lseek(self.writer.fd, 0, os.SEEK_END)

    def write(self) -> None:
        """Some whole records."""
        self.end_line()
        self.place()
        count = self.dice.randint(1, 40)
        self.writer.write(lines(self.written, self.written + count, WIDTH))
        self.written += count

    def half(self) -> None:
        """A record whose rest comes later."""
        self.end_line()
        self.place()
        record = lines(self.written, self.written + 1, WIDTH)
        cut = self.dice.randint(1, WIDTH - 1)
        self.writer.write(record[:cut])
        self.rest, self.written = record[cut:], self.written + 1

    def end_line(self) -> None:
        """The rest of a half record."""
        if self.rest:
            self.place()
            self.writer.write(self.rest)
            self.rest = b""

    def let_go(self) -> None:
        """Close the file."""
        self.end_line()
        self.writer.close()

    def reopen(self) -> None:
        """Close and open it."""
        self.let_go()
        self.place()

    def rename(self) -> None:
        """The writer rotates by itself, and the agent gets its passes."""
        self.let_go()
        path = self.bench.path / LEAF
        if path.exists():
            self.bench.look()  # a file that comes and goes between two looks was never seen
            self.renames += 1
            path.rename(self.bench.path / f"old.{self.renames}")
            self.bench.step()
            self.bench.rotate()
            self.bench.clock.advance(20)
            self.bench.step()
            self.bench.rotate()

    def truncate(self) -> None:
        """The writer starts anew, as a Collector does."""
        self.let_go()
        self.writer = self.bench.writer("truncate")
        self.mode = "append"

    # -- the engine

    def seal(self) -> None:
        """Seal and release nothing."""
        self.bench.seal()

    def rotate(self) -> None:
        """Seal and release."""
        self.bench.rotate()

    def step(self) -> None:
        """One pass by the rules, with resets."""
        self.bench.step()

    def wait(self) -> None:
        """Time passes."""
        self.bench.clock.advance(self.dice.choice([0.1, 1, 30]))

    def fault(self) -> None:
        """An error somewhere in sealing, releasing or resetting."""
        error = OSError(self.dice.choice([errno.ENOSPC, errno.EIO]), "fault")
        with at(self.dice.choice(FAULTS), fail(error), nth=self.dice.randint(1, 3)):
            self.bench.rotate()
            self.bench.engine.rounds.reset()

    def stop(self) -> None:
        """The agent ends."""
        self.bench.stop()

    def crash(self) -> None:
        """The agent is gone, without a word."""
        self.bench.crash()

    def forget(self) -> None:
        """It is gone, and its hints with it."""
        self.bench.crash()
        for one in (self.bench.path / ".telemetry-agent").glob("streams*"):
            one.unlink()

    def numbers(self) -> list[int]:
        """The ids of every record that can be read, in order."""
        return [int(number) for number in NUMBER.findall(self.bench.whole())]


@pytest.mark.parametrize("truncates", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_a_random_life(seed: int, *, truncates: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 29: writes, half lines, renames, reopenings, faults, stops and crashes in any order."""
    monkeypatch.setattr(release, "PIECE", 16 << 10)
    with tempfile.TemporaryDirectory() as home:
        life = Life(seed, Path(home), truncates=truncates)
        try:
            life.run(40)
            found = life.numbers()
            lost = sum(life.bench.lost().values())
        finally:
            life.bench.close()

    story = f"seed {seed}: {' '.join(life.log)}"
    assert sorted(set(found)) == found, story
    missing = (life.written - len(found)) * WIDTH
    assert lost <= missing, story
    if not truncates:
        assert list(range(life.written)) == found, story
