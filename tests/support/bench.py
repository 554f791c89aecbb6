"""An engine over a directory, with its clock, its writers, its faults and its crashes in the test's hands.

What was sealed is read back with the format alone (`tests.torture.segments`), never with the engine's own readers.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import msgspec

from agent import audit
from agent.config import Config, Files, Retention, Rotation
from agent.kit import steps
from agent.kit.disk import Directory
from agent.metrics import Metrics
from agent.streams import dues
from agent.streams.catalog import Stream
from agent.streams.dues import Due
from agent.streams.engine import Engine
from agent.streams.incarnation import Incarnation
from agent.streams.outcome import Sealed
from tests.support.clock import ManualClock
from tests.torture import segments as format_

LEAF = "telemetry.json"
KILLED = 77
MEMORY = Path("/dev/shm")  # noqa: S108 - tests run on tmpfs too
KEEP_ALL = Retention(keep=0, max_age=None, max_total=None)


def lines(first: int, last: int, width: int = 64) -> bytes:
    """Records number `first` to `last - 1`, each `width` bytes of JSON with its line end."""
    pad = width - len('{"n":"0000000","p":""}\n')
    return b"".join(b'{"n":"%07d","p":"%s"}\n' % (number, b"x" * pad) for number in range(first, last))


class Writer:
    """Holds a file open as an exporter does."""

    def __init__(self, path: Path, mode: str = "append") -> None:
        flags = {"append": os.O_APPEND, "hold": 0, "truncate": os.O_TRUNC}[mode]
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o644)

    def write(self, data: bytes) -> Self:
        """Write at the descriptor's own place."""
        assert len(data) == os.write(self.fd, data)
        return self

    def put(self, data: bytes, at: int) -> None:
        """Write at an offset."""
        assert len(data) == os.pwrite(self.fd, data, at)

    def cut(self, size: int = 0) -> Self:
        """Truncate; an append or truncating writer goes on from there, another one from its own place."""
        os.ftruncate(self.fd, size)
        return self

    def restart(self) -> Self:
        """Open with O_TRUNC, as the Collector's file exporter does at its start."""
        self.close()
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        return self

    def close(self) -> None:
        """Let go of the file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Bench:
    """One watched directory. Settings are keys of `[rotation]`; `retention` and `files` are whole sections."""

    def __init__(
        self, path: Path, *, retention: Retention = KEEP_ALL, files: Files | None = None, **rotation: Any
    ) -> None:
        self.path = path
        self.clock = ManualClock()
        self.metrics = Metrics()
        self.retention = retention
        self.files = files or Files()
        self.rotation = rotation
        self.breathe: Callable[[], None] = lambda: None
        self._writers: list[Writer] = []
        self._engine: Engine | None = None

    @property
    def config(self) -> Config:
        """What the engine is given."""
        files = msgspec.structs.replace(self.files, directory=str(self.path))
        return Config(files=files, rotation=Rotation(**self.rotation), retention=self.retention)

    def _breathe(self) -> None:
        self.breathe()

    # -- the engine's life

    @property
    def engine(self) -> Engine:
        """The running engine, opened when it is first asked for."""
        if self._engine is None:
            self._engine = Engine(self.config, self.clock, self.metrics, self._breathe)
            self._engine.open()
        return self._engine

    def stop(self) -> None:
        """End as a stopped agent does."""
        if self._engine:
            self._engine.close()
            self._engine = None

    def crash(self) -> None:
        """End without a word: descriptors and locks go, nothing is written."""
        if self._engine:
            self._engine.hints.close()
            self._engine.audit.close()
            self._engine.grounds.leave()
            self._engine = None

    def close(self) -> None:
        """Clean up after a test."""
        steps.watch(None)
        self.crash()
        for writer in self._writers:
            writer.close()

    # -- writers and files

    def writer(self, mode: str = "append", leaf: str = LEAF) -> Writer:
        """A program that holds a file open."""
        writer = Writer(self.path / leaf, mode)
        self._writers.append(writer)
        return writer

    def archive(self) -> Path:
        """Where segments go."""
        return self.path / str(self.rotation.get("archive_directory", ""))

    def names(self, pattern: str = "*.gz") -> list[str]:
        """Files in the archive directory."""
        return sorted(one.name for one in self.archive().glob(pattern))

    def segments(self, leaf: str = LEAF) -> list[format_.Segment]:
        """A stream's segments by position, checked by format alone; markers are left out."""
        found = [format_.load(self.archive() / name) for name in self.names() if not self._marker(name)]
        return sorted((one for one in found if one.index["stream"] == leaf), key=lambda one: one.start)

    def _marker(self, name: str) -> bool:
        data = (self.archive() / name).read_bytes()
        return b'"marker":true' in data or not data

    def sealed(self, leaf: str = LEAF) -> bytes:
        """Everything that lies in segments, in order; no position is there twice, no gap is undeclared."""
        found = self.segments(leaf)
        for before, after in pairwise(found):
            assert after.start == before.end + after.gap
        pieces: list[bytes] = []
        for one in found:
            content = b"".join(plain for _, plain in format_.inflate(one.body, one.path.name))
            assert one.end - one.start == len(content)
            pieces.append(content)
        return b"".join(pieces)

    def whole(self, leaf: str = LEAF) -> bytes:
        """Segments and live file from S on: what a reader has."""
        return self.sealed(leaf) + self.live(leaf)

    def live(self, leaf: str = LEAF) -> bytes:
        """The live file's bytes from S on."""
        path, life = self.path / leaf, self.stream(leaf).incarnation
        return path.read_bytes()[life.sealed if life else 0 :] if path.exists() else b""

    def allocated(self, leaf: str = LEAF) -> int:
        """Bytes of disk the live file takes."""
        return (self.path / leaf).stat().st_blocks * 512

    # -- what a keeper does

    def stream(self, leaf: str = LEAF) -> Stream:
        """The stream of a live file."""
        return self.engine.catalog.streams[leaf]

    def life(self, leaf: str = LEAF) -> Incarnation:
        """Its present incarnation."""
        life = self.stream(leaf).incarnation
        assert life is not None
        return life

    def look(self) -> None:
        """Look at everything."""
        self.engine.lookout.look("", None)

    def seal(self, *leaves: str, reason: str = "request") -> list[Sealed]:
        """Look, then seal these files (or the usual one), whatever the rules say."""
        self.look()
        wanted = leaves or (LEAF,)
        streams = self.engine.catalog.streams
        return self.engine.rotator.seal([Due(streams[leaf], reason) for leaf in wanted if leaf in streams])

    def release(self) -> None:
        """Give back everything that is pending."""
        for _ in range(100):
            if not self.engine.rounds.release(paced=False)[1]:
                return

    def rotate(self) -> list[Sealed]:
        """Seal and release, as a keeper's step does."""
        outcomes = self.seal()
        self.release()
        return outcomes

    def retain(self, total: int = 0) -> list[str]:
        """Plan and carry out retention; the reasons."""
        plan = self.engine.shelves.surplus(total)
        self.engine.shelves.clear(plan)
        return [item.reason for _, item in plan]

    def step(self) -> None:
        """Look, seal what is due, release, reset: one pass."""
        self.look()
        ready, _ = dues.find(self.engine.tools, list(self.engine.catalog.streams.values()))
        self.engine.rotator.seal(ready)
        self.release()
        self.engine.rounds.reset()

    # -- what is told

    def events(self, event: str) -> list[dict[str, Any]]:
        """The entries of one kind in the audit trail on disk."""
        with Directory.open(str(self.path / ".telemetry-agent")) as state:
            return [entry for entry in audit.read(state) if entry["event"] == event]

    def lost(self) -> dict[str, int]:
        """Lost bytes by reason, from the audit trail."""
        found: Counter[str] = Counter()
        for entry in self.events("loss"):
            found[entry["reason"]] += entry["bytes"]
        return dict(found)


@contextmanager
def at(step: str, act: Callable[[], None], *, nth: int = 1) -> Iterator[Counter[str]]:
    """Do something when a named place is reached for the `nth` time; yields how often each was reached."""
    reached: Counter[str] = Counter()

    def hook(name: str) -> None:
        assert name in steps.STEPS
        reached[name] += 1
        if name == step and reached[name] == nth:
            act()

    steps.watch(hook)
    try:
        yield reached
    finally:
        steps.watch(None)


def fail(error: BaseException) -> Callable[[], None]:
    """An action that raises."""

    def act() -> None:
        raise error

    return act


def killed(step: str, scenario: Callable[[], None], *, nth: int = 1) -> bool:
    """Run `scenario` in a process of its own that is gone when a place is reached; False when it never was.

    Nothing is cleaned up there: it ends by `_exit` within the step, as by SIGKILL.
    """

    def dying() -> None:
        with at(step, lambda: os._exit(KILLED), nth=nth):
            scenario()

    status = apart(dying)
    assert status in (0, KILLED), f"the scenario failed by itself with {status}"
    return status == KILLED


def apart(scenario: Callable[[], None]) -> int:
    """Run `scenario` in a process of its own; its exit status: 1 where it raised, negative the signal that ended it."""
    with warnings.catch_warnings():
        # A fork beside threads of other tests is safe here: the child only makes system calls and leaves.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            scenario()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
