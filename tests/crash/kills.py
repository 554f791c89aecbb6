"""kill -9 for real: an agent beside writers that live on, killed at each place, at system calls, at random moments."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.crash.child import Order
from tests.crash.nursery import INJECTED, Book, Nursery, give_back, strace
from tests.crash.places import wanted
from tests.torture.judge import Verdict, judge
from tests.torture.runs import Writers

STREAMS = {
    "telemetry.json": ("append", "--rate", "15000"),
    "held.json": ("hold", "--rate", "5000"),
    "calls.json": ("reopen", "--rate", "2500"),
    "rare.json": ("reopen", "--rate", "1"),
}
"""File: how it is written. The last two are closed between lines, so they are reset; the rare one leaves a marker, and
is removed while it is empty."""


ONCE = ("state.", "recover.", "tomb.")
"""Places of which a life reaches few."""

LIMIT = 20.0
"""Seconds in which a life reaches its place, on however busy a machine."""


def captures(step: str) -> bool:
    """True for a place that only an agent reaches which captures."""
    return step.startswith(("capture.", "merge.", "recover."))


class Killing:
    """Writers on a directory, and an agent that is killed again and again."""

    def __init__(self, place: Path, nursery: Nursery, seed: int, *, sabotage: str = "", limit: float = LIMIT) -> None:
        self.directory, self.album = place / "watched", place / "album"
        self.directory.mkdir()
        self.album.mkdir()
        self.book = Book()
        self._place, self._nursery, self._sabotage, self._limit = place, nursery, sabotage, limit
        self._chance = random.Random(seed)
        self._writers: list[Writers] = []

    def start(self, streams: dict[str, tuple[str, ...]] | None = None) -> None:
        """Let the writers begin."""
        for number, (name, (mode, *rate)) in enumerate((streams or STREAMS).items()):
            options = (*rate, "--writer", str(number))
            self._writers.append(Writers.start(self.directory / name, mode, self._place, *options))
        while not all((self.directory / name).exists() for name in streams or STREAMS):
            time.sleep(0.01)

    def _order(self, **details: Any) -> Order:
        return Order(
            directory=str(self.directory), album=str(self.album), retire=True, bury=True, sabotage=self._sabotage,
            **details,
        )  # fmt: skip

    def at(self, step: str, times: int = 0) -> None:
        """One life that ends at a place, reached for the `times`-th time; 0: by chance one of the first.

        What only an orderly stop reaches is reached by one.
        """
        times = times or (1 if step.startswith(ONCE) else self._chance.choice((1, 1, 2, 3)))
        seconds = 0.2 if step.startswith("state.") else self._limit
        if step == "recover.adopted":  # there has to be an open part
            self.book.note(
                "capture.named", self._nursery.live(self._order(step="capture.named", times=3, capture=True))
            )
        order = self._order(step=step, times=times, seconds=seconds, capture=captures(step))
        self.book.note(step, self._nursery.live(order))

    def random(self) -> None:
        """One life that ends at a random moment."""
        after = self._chance.uniform(0.01, 0.4)
        order = self._order(capture=self._chance.random() < 0.5)
        self.book.note("random moment", self._nursery.live(order, kill_after=after))

    def traced(self, call: str) -> None:
        """One life that ends as it enters a system call."""
        death = strace(self._order(seconds=2.0, capture=self._chance.random() < 0.5), call, self._chance.randint(1, 4))
        self.book.note(f"strace {call.partition(',')[0]}", death)

    def end(self) -> list[Verdict]:
        """Stop the writers, let the agent live once in peace, and judge. A broken one is mended for that."""
        for writers in self._writers:
            for process in writers.processes:
                process.terminate()
        truths = [truth for writers in self._writers for truth in writers.wait()]
        self._sabotage = ""
        self.book.note("", self._nursery.live(self._order(seconds=1.0)))
        give_back(self.album, self.directory)
        return judge(self.directory, truths)

    def kill_writers(self) -> None:
        """End what still runs."""
        for writers in self._writers:
            writers.kill()


def session(
    place: Path, nursery: Nursery, seed: int, rounds: int, *, moments: int, calls: int, sabotage: str = ""
) -> tuple[Book, list[Verdict]]:
    """Each place `rounds` times, random moments, and system calls where strace is installed."""
    killing = Killing(place, nursery, seed, sabotage=sabotage)
    try:
        killing.start()
        for step in _shuffled(wanted() * rounds, seed):
            killing.at(step)
        for _ in range(moments):
            killing.random()
        if shutil.which("strace"):
            for call in INJECTED * calls:
                killing.traced(call)
        return killing.book, killing.end()
    finally:
        killing.kill_writers()


def _shuffled(steps: Iterable[str], seed: int) -> list[str]:
    order = list(steps)
    random.Random(seed).shuffle(order)
    return order
