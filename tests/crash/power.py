"""Power loss for real: a loop-mounted file system is cut off by its own shutdown call, mounted again and counted.

What may never be lost is told by the bytes: the child copies each segment away, to another file system, once its
name is durable. After the cut each copy must be there with the same bytes; no record may be there twice or torn, and
order is kept. What the writer had not synced may be gone, with the end of its last line.
"""

from __future__ import annotations

import gzip
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.child import Death, Order
from tests.crash.kills import captures
from tests.crash.nursery import Book, Nursery, Plug
from tests.crash.places import wanted
from tests.torture import segments
from tests.torture.chain import check_chain
from tests.torture.runs import Writers
from tests.torture.tally import Tally, Truth

STREAM = "telemetry.json"
MODES = ("append", "reopen", "append", "hold")
RATE = "12000"
RATE_OF_RESETS = "800"
"""A file that is opened for each line is rarely closed long enough when there are very many."""
MAX_SIZE = 150_000
UNREACHED = frozenset({"retain.synced", "retain.marked", "retain.removed", "recover.adopted"})
"""Places of retention, which would hide what a cut loses, and of a start; they have their own kills."""


@dataclass
class Series:
    """Cuts of one file system, one after the other, over a growing archive."""

    image: Path
    mount: Path
    album: Path
    nursery: Nursery
    chance: random.Random
    sabotage: str = ""
    book: Book = field(default_factory=Book)
    counted: int = 0
    """Cuts of lives that had released or reset something."""
    torn: int = 0
    """Lines whose end a cut took."""
    truths: list[Truth] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        """What the agent watches."""
        return self.mount / "watched"

    @property
    def live(self) -> Path:
        """What the writer writes."""
        return self.directory / STREAM

    def cut(self, step: str) -> None:
        """A writer, a life that ends in a cut at `step` (empty: at a random moment), a mount, a recovery."""
        number = len(self.truths)
        resets = step.startswith("reset.")
        mode = "reopen" if resets else MODES[number % len(MODES)]
        self._end_line()
        options = ("--writer", str(number), "--rate", RATE_OF_RESETS if resets else RATE)
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
        gave_back = death.reached.get("release.punched", 0) + death.reached.get("reset.truncated", 0)
        if gave_back and death.status != 0:
            self.counted += 1
            self.book.note(step or "random moment", death)
        self._mount_again()
        self._compare(step)
        self.book.note("", self.nursery.live(self._order(number, seconds=0.15)))

    def _order(self, number: int, **details: Any) -> Order:
        return Order(
            directory=str(self.directory), album=str(self.album), boot=str(number), max_size=MAX_SIZE,
            sabotage=self.sabotage, **details,
        )  # fmt: skip

    def _life(self, step: str, number: int) -> Death:
        if step:
            seconds = 0.4 if step.startswith("state.") else 2.0
            once = step.startswith(("state.", "reset."))
            times = 1 if once else self.chance.randint(12, 25) if step.endswith("member") else self.chance.randint(3, 6)
            order = self._order(
                number, step=step, times=times, plug=str(self.mount), seconds=seconds, capture=captures(step)
            )
            return self.nursery.live(order)
        after = self.chance.uniform(0.25, 0.5)
        order = self._order(number, capture=self.chance.random() < 0.5)
        return self.nursery.live(order, kill_after=after, plug=Plug(str(self.mount)))

    def _mount_again(self) -> None:
        _unmount(self.mount)
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.mount)], check=True)

    def _compare(self, step: str) -> None:
        """Every segment that was durable has the same bytes."""
        for copy in self.album.glob("*.gz"):
            now = self.directory / copy.name
            if not now.exists() or now.read_bytes() != copy.read_bytes():
                self.findings.append(f"after a cut at {step or 'a random moment'}: {copy.name} is gone or changed")

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
        found = [segments.load(path) for path in self.directory.glob("*.gz")]
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


def places() -> list[str]:
    """Where the plug is pulled."""
    return [step for step in wanted() if step not in UNREACHED]


def series(
    image: Path, mount: Path, album: Path, nursery: Nursery, seed: int, cuts: int, *, sabotage: str = "",
    told: Callable[[str], None] = lambda _: None,
) -> Series:  # fmt: skip
    """`cuts` cuts: at each place in turn, in an order that the seed gives, and at random moments between them."""
    run = Series(image, mount, album, nursery, random.Random(seed), sabotage=sabotage)
    run.directory.mkdir()
    order = places()
    run.chance.shuffle(order)
    for number in range(cuts):
        step = "" if number % 3 == 2 else order[number % len(order)]
        run.cut(step)
        told(step)
    return run
