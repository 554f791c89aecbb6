"""Lives and deaths of the agent, ordered from outside."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from tests.crash.child import Death, Order
from tests.support.program import ROOT

INJECTED = ("renameat2", "fsync", "syncfs", "fallocate", "ftruncate", "unlinkat", "writev", "rename,renameat")
"""System calls at which strace kills. The last is what os.rename makes of itself."""


class Nursery:
    """A process that forks a child for each order."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.child"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer = json.loads(self._process.stdout.readline())
        assert isinstance(answer, dict)
        return answer

    def live(self, order: Order, kill_after: float | None = None, plug: Plug | None = None) -> Death:
        """One life; killed from outside after so many seconds, its file system cut off first where that is asked.

        Where the order waits for something to be given back, the seconds are counted from there.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        told: dict[str, Any] = {}
        if kill_after is not None:
            awaited = {"pid", "gave"} if order.given else {"pid"}
            while not awaited <= told.keys() and "status" not in told:
                told |= self._read()
            time.sleep(kill_after)
            if plug:
                plug()
            if "status" not in told:
                with suppress(ProcessLookupError):  # it may have ended by itself when its disk was gone
                    os.kill(told["pid"], signal.SIGKILL)
        while "status" not in told:
            told |= self._read()
        death = Death(told["status"], told["reached"])
        return replace(death, status=-signal.SIGKILL) if plug else death

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


class Plug:
    """Shuts a mounted file system down when called."""

    def __init__(self, mount: str) -> None:
        self._mount = mount

    def __call__(self) -> None:
        """Cut it off."""
        from tests.crash.child import pull

        pull(self._mount)


@dataclass
class Book:
    """What happened in a series of lives."""

    kills: dict[str, int] = field(default_factory=dict)
    """Deaths by place, system call or moment."""
    reached: dict[str, int] = field(default_factory=dict)
    lives: int = 0
    faults: list[str] = field(default_factory=list)
    """Lives that ended in another way than they were told to."""

    def note(self, what: str, death: Death) -> None:
        """Enter one life; `what` is how it was to end, empty for an orderly end."""
        self.lives += 1
        for name, count in death.reached.items():
            self.reached[name] = self.reached.get(name, 0) + count
        if what and death.status == -signal.SIGKILL:
            self.kills[what] = self.kills.get(what, 0) + 1
        elif death.status != 0:
            self.faults.append(f"{what or 'orderly'}: status {death.status}")

    def add(self, other: Book) -> None:
        """Take in another book."""
        self.lives += other.lives
        self.faults += other.faults
        for mine, theirs in ((self.kills, other.kills), (self.reached, other.reached)):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count


def strace(order: Order, call: str, when: int) -> Death:
    """A life that strace ends when it enters `call` for the `when`-th time."""
    line = [
        "strace",
        "-f",
        "-qq",
        "-o",
        os.devnull,
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:signal=KILL:when={when}",
    ]
    line += [sys.executable, "-m", "tests.crash.child", "--order", json.dumps(asdict(order))]
    done = subprocess.run(line, cwd=ROOT, check=False, capture_output=True)
    return Death(done.returncode)


def give_back(album: Path, directory: Path) -> None:
    """Put retired segments back, so that a judge sees every record."""
    for path in album.glob("*.gz"):
        if not (directory / path.name).exists():
            shutil.copyfile(path, directory / path.name)
