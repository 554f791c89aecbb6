"""The agent's keeper in a process that dies where it is told to: `python -m tests.crash.child`.

As a nursery it reads one order a line (JSON) from stdin, forks a child for each, waits for its end and answers with
a line: how it ended and how often each place was reached. Forking spares the start of an interpreter, so that
hundreds of deaths take a minute. With `--order JSON` the process itself is the child, as strace wants it.

The child has no web and no event loop: it calls `Keeper.step` as the loop would, on a clock that runs fifty times as
fast, so that pauses of seconds come in milliseconds. At the chosen place it kills itself, or pulls the plug first:
the file system's own shutdown call, without flushing its log.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import mmap
import os
import shutil
import signal
import struct
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from agent.components import Components
from agent.config import AgentSection, Config, Files, Retention, Rotation
from agent.duties.keeper import Keeper
from agent.kit import log, steps
from agent.kit.clock import boot_id
from agent.kit.units import Duration, Size
from agent.metrics import Metrics
from agent.streams import engine as engines
from tests.crash import sabotage

SPEED = 50.0
SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are the same number."""
NO_FLUSH = 2
MEMBER = 32 << 10
GIVEN = frozenset({"release.punched", "reset.truncated"})
"""Places behind which disk space was given back: from there on a death proves something."""
PATIENCE = 20.0
"""Seconds beyond its own that a life waits for something to be given back, on however busy a machine."""
_SLOTS = struct.Struct(f"<{len(steps.STEPS)}I")


@dataclass(kw_only=True)
class Order:
    """One life of the agent."""

    directory: str
    album: str
    """Where segments are copied before they are retired, and once they are published: never in `directory`."""
    archive: str = ""
    """Where segments go; empty: into `directory`."""
    step: str = ""
    """Die here ..."""
    times: int = 1
    """... when it is reached for this time."""
    given: bool = False
    """Count `times`, and stop, only once something was given back; say on stdout when it was."""
    plug: str = ""
    """Shut down the file system mounted here before dying."""
    boot: str = ""
    """Pretend that this is the id of the boot."""
    seconds: float = 5.0
    """Stop in an orderly way after so long."""
    max_size: int = 200_000
    retire: bool = False
    """Delete segments after 20 of the child's seconds."""
    capture: bool = False
    """Capture between rotations."""
    bury: bool = False
    """Remove files that are empty for 2 of the child's seconds."""
    sabotage: str = ""


@dataclass
class Death:
    """How a life ended."""

    status: int
    """0: in an orderly way, -9: killed; anything else is a fault of the agent."""
    reached: dict[str, int] = field(default_factory=dict)


class Fast:
    """Clocks that run SPEED times as fast."""

    def now(self) -> float:
        """Wall time."""
        return time.time()

    def monotonic(self) -> float:
        """Fast time."""
        return time.monotonic() * SPEED

    def sleep(self, seconds: float) -> None:
        """Fast sleep."""
        time.sleep(seconds / SPEED)


class Child:
    """One agent."""

    def __init__(self, order: Order, counts: mmap.mmap) -> None:
        self.order = order
        self._counts = counts
        self._left = order.times
        self._stop = False
        self._gave = not order.given

    def live(self) -> None:
        """Work until the place of death, a signal, or the time is up."""
        signal.signal(signal.SIGTERM, self._asked)
        order = self.order
        if order.boot:
            engines.boot_id = lambda: f"{boot_id()}-{order.boot}"  # type: ignore[attr-defined]  # the engine's own name
        steps.watch(self._reached)
        sabotage.commit(order.sabotage)
        clock = Fast()
        keeper = Keeper(_config(order), clock, Metrics(), Components(clock))
        keeper.open(watch=False)
        keeper.engine.sealer.copier.member_size = MEMBER
        until = time.monotonic() + order.seconds
        while not self._stop and time.monotonic() < (until if self._gave else until + PATIENCE):
            keeper.step(clock.monotonic())
            time.sleep(0.002)
        keeper.close()

    def _asked(self, *_: object) -> None:
        self._stop = True

    def _reached(self, name: str) -> None:
        number = steps.STEPS.index(name)
        count = struct.unpack_from("<I", self._counts, 4 * number)[0]
        struct.pack_into("<I", self._counts, 4 * number, count + 1)
        if name in ("publish.synced", "merge.named", "retain.synced"):
            self._keep()
        if name == "capture.named" and self.order.plug:
            self._keep_open()
        if name in GIVEN and not self._gave:
            self._gave = True
            os.write(sys.stdout.fileno(), b'{"gave": true}\n')
        if name == self.order.step and self._gave:
            self._left -= 1
            if self._left == 0:
                self._die()

    @property
    def _archive(self) -> Path:
        return Path(self.order.archive or self.order.directory)

    def _keep(self) -> None:
        """Copy the segments: what is here now is published for ever."""
        album = Path(self.order.album)
        for path in self._archive.glob("*.gz"):
            copy = album / path.name
            if not copy.exists():
                shutil.copyfile(path, album / "unfinished")
                (album / "unfinished").rename(copy)

    def _keep_open(self) -> None:
        """Copy the open parts: what they hold now is durable."""
        for path in self._archive.glob(".*.open"):
            copy = f"{self.order.boot}-{path.stat().st_ino}{path.name}"
            shutil.copyfile(path, Path(self.order.album) / copy)

    def _die(self) -> None:
        if self.order.plug:
            pull(self.order.plug)
        os.kill(os.getpid(), signal.SIGKILL)


def pull(mount: str) -> None:
    """Cut a file system off from its medium, without a flush; everything on it fails from now on."""
    try:
        fd = os.open(mount, os.O_RDONLY)
    except OSError:
        return  # it is cut off already
    try:
        fcntl.ioctl(fd, SHUTDOWN, struct.pack("=I", NO_FLUSH))
    finally:
        os.close(fd)


def _config(order: Order) -> Config:
    return Config(
        files=Files(directory=order.directory),
        rotation=Rotation(
            max_size=Size(order.max_size),
            max_age=Duration("5s"),
            capture=Duration("1s") if order.capture else None,
            unlink_idle=Duration("2s") if order.bury else None,
            archive_directory=order.archive,
        ),
        retention=Retention(keep=0, max_age=Duration("20s") if order.retire else None, max_total=None),
        agent=AgentSection(state_directory=".telemetry-agent"),
    )


def run(order: Order) -> Death:
    """Fork a child and wait for its end."""
    counts = mmap.mmap(-1, mmap.PAGESIZE)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            Child(order, counts).live()
            status = 0
        except Exception as error:  # noqa: BLE001 - the parent sees the status, the reason goes to stderr
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        finally:
            os._exit(status)
    sys.stdout.write(json.dumps({"pid": pid}) + "\n")
    sys.stdout.flush()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    reached = dict(zip(steps.STEPS, _SLOTS.unpack_from(counts), strict=True))
    return Death(status, {name: count for name, count in reached.items() if count})


def main() -> None:
    """Be a nursery, or the one child."""
    parser = argparse.ArgumentParser(prog="tests.crash.child", description=__doc__)
    parser.add_argument("--order", help="be this child, without forking")
    options = parser.parse_args()
    log.setup("error", "json", stream=Path(os.devnull).open("w"))  # noqa: SIM115 - for the life of the process
    if options.order:
        Child(Order(**json.loads(options.order)), mmap.mmap(-1, mmap.PAGESIZE)).live()
        return
    for line in sys.stdin:
        death = run(Order(**json.loads(line)))
        sys.stdout.write(json.dumps(asdict(death)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
