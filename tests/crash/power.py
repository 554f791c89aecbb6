"""Power loss for real: a loop-mounted file system is cut off by its own shutdown call, mounted again and counted.

What may never be lost is told by the bytes: the child copies each segment away, to another file system, once its
name is durable. After the cut each copy must be there with the same bytes; no record may be there twice or torn, and
order is kept. What the writer had not synced may be gone, with the end of its last line.

A cut is made only once its life has given something back. With the archive on another file system (`apart`), which is
not cut, nothing but the agent's own syncs keeps what it deletes there behind what it punched here.
"""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tests.crash.child import GIVEN, Death, Order
from tests.crash.kills import LIMIT, ONCE, captures
from tests.crash.nursery import Book, Nursery, Plug
from tests.crash.places import wanted
from tests.torture import segments
from tests.torture.chain import check_chain
from tests.torture.runs import Writers
from tests.torture.tally import Tally, Truth

STREAM = "telemetry.json"
MODES = ("append", "reopen", "append", "hold")
RATE = "12000"
RATES = {"reset.": "100", "retain.marked": "0.8", "retain.": "800", "tomb.": "0.8"}
"""Records a second for some places: a file that is opened for each line is rarely closed long enough when there are
very many. A marker takes the newest segment's place, and a file is removed, only where nothing comes for a while."""
MAX_SIZE = 150_000


@dataclass
class Series:
    """Cuts of one file system, one after the other, over a growing archive."""

    image: Path
    mount: Path
    album: Path
    nursery: Nursery
    chance: random.Random
    sabotage: str = ""
    apart: bool = False
    """Segments lie beside the album, on a file system that is never cut off."""
    book: Book = field(default_factory=Book)
    counted: int = 0
    """Cuts of lives that had released or reset something."""
    torn: int = 0
    """Lines whose end a cut took."""
    truths: list[Truth] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    _copies: dict[str, segments.Segment] = field(default_factory=dict)
    """Every segment that was durable."""

    @property
    def directory(self) -> Path:
        """What the agent watches."""
        return self.mount / "watched"

    @property
    def archive(self) -> Path:
        """Where segments go."""
        return self.album.parent / "archive" if self.apart else self.directory

    @property
    def live(self) -> Path:
        """What the writer writes."""
        return self.directory / STREAM

    def cut(self, step: str) -> None:
        """A writer, a life that ends in a cut at `step` (empty: at a random moment), a mount, a recovery."""
        number = len(self.truths)
        rate = next((RATES[kind] for kind in RATES if step.startswith(kind)), "")
        mode = "reopen" if rate else MODES[number % len(MODES)]
        self._end_line()
        options = ("--writer", str(number), "--rate", rate or RATE)
        writers = Writers.start(self.live, mode, self.album.parent, *options)
        while not self.live.exists() or self.live.stat().st_size == 0:
            time.sleep(0.002)
        try:
            death = self._life(step, number)
        finally:
            Plug(str(self.mount))()
            writers.processes[0].terminate()
            writers.processes[0].wait(10)
        self.truths.append(Truth.load(writers.truths[0]))
        if GIVEN & death.reached.keys() and death.status != 0:
            self.counted += 1
            self.book.note(step or "random moment", death)
        self._mount_again()
        self._compare(step)
        # After a power cut the machine booted: the file may be shorter than what was sealed of it.
        self.book.note("", self.nursery.live(replace(self._order(number, seconds=0.15), boot=f"{number}-next")))

    def _order(self, number: int, **details: Any) -> Order:
        return Order(
            directory=str(self.directory), album=str(self.album), archive=str(self.archive) if self.apart else "",
            boot=str(number), max_size=MAX_SIZE, sabotage=self.sabotage, **details,
        )  # fmt: skip

    def _life(self, step: str, number: int) -> Death:
        order = partial(self._order, number, given=True)
        if not step:
            after = self.chance.uniform(0.0, 0.4)
            random_ = order(capture=self.chance.random() < 0.5, retire=self.chance.random() < 0.2)
            return self.nursery.live(random_, kill_after=after, plug=Plug(str(self.mount)))
        if step.startswith("recover."):
            captured = self.nursery.live(order(step="capture.named", times=3, seconds=LIMIT, capture=True))
            death = self.nursery.live(self._order(number, step=step, plug=str(self.mount), seconds=0.4, capture=True))
            return replace(death, reached=captured.reached | death.reached)
        seconds = 0.4 if step.startswith("state.") else LIMIT
        times = 1 if step.startswith((*ONCE, "reset.", "retain.")) else self.chance.randint(3, 6)
        times = self.chance.randint(12, 25) if step.endswith("member") else times
        return self.nursery.live(
            order(
                step=step, times=times, plug=str(self.mount), seconds=seconds, capture=captures(step),
                retire=step.startswith("retain."), bury=step.startswith("tomb."),
            )
        )  # fmt: skip

    def _mount_again(self) -> None:
        _unmount(self.mount)
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.mount)], check=True)

    def _compare(self, step: str) -> None:
        """Every segment that was durable has the same bytes; retention took the oldest, if any."""
        gone, kept = [0], [1 << 62]
        for copy in self.album.glob("*.gz"):
            if copy.name not in self._copies:
                self._copies[copy.name] = segments.load(copy)
            held, now = self._copies[copy.name], self.archive / copy.name
            if not held.index["marker"]:  # those go when something follows them
                (kept if now.exists() else gone).append(held.start)
            if now.exists() and now.read_bytes() != copy.read_bytes():
                self.findings.append(f"after a cut at {step or 'a random moment'}: {copy.name} has changed")
        if max(gone) > min(kept):
            self.findings.append(f"after a cut at {step or 'a random moment'}: segments are gone from the middle")
        ends = [one.end for one in self._segments()]
        if max(ends, default=0) < max((one.end for one in self._copies.values()), default=0):
            self.findings.append(f"after a cut at {step or 'a random moment'}: the newest segments are gone")

    def _segments(self) -> list[segments.Segment]:
        """What lies in the archive; whatever has a segment's name and is none is a finding."""
        found = []
        for path in self.archive.glob("*.gz"):
            try:
                found.append(segments.load(path))
            except segments.FormatError as error:
                self.findings.append(str(error))
        return found

    def _end_line(self) -> None:
        """A line that a cut left without its end gets one, so that the next writer's first record is whole."""
        if self.live.exists() and self.live.stat().st_size:
            with self.live.open("r+b") as file:
                file.seek(-1, 2)
                if file.read(1) != b"\n":
                    file.write(b"\n")
                    self.torn += 1

    def judge(self) -> list[str]:
        """What is wrong with everything that is sealed by now."""
        kept = [segments.load(path) for path in self.album.glob("*.gz")]  # retired ones lie there alone
        found = {one.path.name: one for one in (*kept, *self._segments())}.values()
        chain = sorted((one for one in found if not one.index["marker"]), key=lambda one: (one.start, one.end))
        findings: list[str] = []
        tally = Tally(self.truths)
        sealed: set[bytes] = set()
        for segment in chain:
            for _, plain in segments.inflate(segment.body, segment.path.name):
                tally.take(plain)
                sealed.update(plain.splitlines())
        tally.finish()
        for copy in self.album.glob("*.open"):
            gone = set(gzip.decompress(copy.read_bytes()).splitlines()) - sealed
            findings += [f"{len(gone)} captured records of {copy.name} are gone"] if gone else []
        findings += [*self.findings, *check_chain(chain, emptied=True)]
        findings += [f"{tally.twice} records twice"] if tally.twice else []
        findings += [f"{tally.torn} lines torn, {self.torn} by cuts"] if tally.torn > self.torn else []
        findings += [f"{tally.disorder} records out of order"] if tally.disorder else []
        return findings + (tally.examples if findings else [])


def _unmount(mount: Path) -> None:
    for _ in range(100):
        if subprocess.run(["umount", str(mount)], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.05)
    raise OSError(f"{mount} cannot be unmounted")


def series(
    image: Path, mount: Path, album: Path, nursery: Nursery, seed: int, cuts: int, *, sabotage: str = "",
    apart: bool = False, told: Callable[[str], None] = lambda _: None,
) -> Series:  # fmt: skip
    """`cuts` cuts: at each place in turn, in an order that the seed gives, and at random moments between them."""
    run = Series(image, mount, album, nursery, random.Random(seed), sabotage=sabotage, apart=apart)
    run.directory.mkdir()
    for path in (mount, run.directory):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)  # it was there long before
        os.close(fd)
    order = wanted()
    run.chance.shuffle(order)
    for number in range(cuts):
        step = "" if number % 3 == 2 else order[(number - number // 3) % len(order)]
        run.cut(step)
        told(step)
    return run
