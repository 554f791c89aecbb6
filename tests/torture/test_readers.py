"""Case 26: what programs that read the same live file see of each step, caught up and lagging.

`tail -F` is the real one. The other reader keeps its descriptor and starts again when the file is shorter than its
offset, and skips NULs, as Fluent Bit's tail input does; the third opens the file anew for each read.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.kit.units import Duration
from tests.support.bench import LEAF, Bench, lines

LIMIT = 60.0
WIDTH = 1000
_ID = re.compile(rb'\{"n":"(\d{7})","p":"x+"\}')


class Tail:
    """`tail -F` from the first line on."""

    def __init__(self, path: Path, output: Path) -> None:
        self._output = output
        with output.open("wb") as out:
            self._process = subprocess.Popen(
                ["tail", "-F", "-n", "+1", "-s", "0.05", str(path)], stdout=out, stderr=subprocess.DEVNULL
            )

    def pause(self) -> None:
        """Stopped by a signal."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continued."""
        self._process.send_signal(signal.SIGCONT)

    def catch_up(self, last: int) -> bytes:
        """Wait for its output."""
        end = time.monotonic() + LIMIT
        wanted = lines(last, last + 1, WIDTH)
        while wanted not in (seen := self._output.read_bytes()):
            assert time.monotonic() < end, f"record {last} was not seen"
            time.sleep(0.01)
        return seen

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class Restarter:
    """Reads from its offset; starts again at 0 when the file is shorter."""

    def __init__(self, path: Path, *, holds: bool) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDONLY) if holds else -1
        self._offset = 0
        self._seen = b""
        self._paused = False

    def pause(self) -> None:
        """Read nothing."""
        self._paused = True

    def resume(self) -> None:
        """Read again."""
        self._paused = False

    def poll(self) -> None:
        """One look: what is new, also in a file that came to the path."""
        if self._paused:
            return
        if self._fd < 0:
            with self._path.open("rb") as file:
                self._read(file.fileno())
            return
        self._read(self._fd)
        try:
            replaced = os.stat(self._path).st_ino != os.fstat(self._fd).st_ino
        except FileNotFoundError:
            return
        if replaced:
            os.close(self._fd)
            self._fd, self._offset = os.open(self._path, os.O_RDONLY), 0
            self._read(self._fd)

    def _read(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        if size < self._offset:
            self._offset = 0
        data = os.pread(fd, size - self._offset, self._offset)
        self._offset += len(data)
        self._seen += data

    def catch_up(self, last: int) -> bytes:
        """One look is enough."""
        self.poll()
        assert lines(last, last + 1, WIDTH) in self._seen
        return self._seen

    def close(self) -> None:
        """Let go."""
        if self._fd >= 0:
            os.close(self._fd)


@contextmanager
def reading(kind: str, path: Path, output: Path) -> Iterator[Tail | Restarter]:
    """One of the readers at work."""
    reader = Tail(path, output) if kind == "tail -F" else Restarter(path, holds=kind == "holds")
    try:
        yield reader
    finally:
        reader.close()


def seal(bench: Bench) -> None:
    """Seal, and give the space back."""
    bench.rotate()


def reset(bench: Bench) -> None:
    """Seal, let the writer go, and try to set the file back to nothing."""
    bench.rotate()
    bench._writers[-1].close()
    bench.clock.advance(100)
    bench.look()
    bench.engine.rounds.reset()


def rename(bench: Bench) -> None:
    """Method `rename`: moved aside, the writer opens it again, what was moved is sealed and removed."""
    bench.seal()
    bench._writers[-1].close()
    bench.writer()
    for _ in range(3):
        bench.clock.advance(20)
        bench.step()


def capture(bench: Bench) -> None:
    """Compress what is live into the open part, and give the space back."""
    bench.clock.advance(1)
    bench.step()
    assert bench.names(".*.open")


STEPS = {"seal": seal, "capture": capture, "reset": reset, "copytruncate": seal, "rename": rename}

EXPECTED = {
    # reader, step: records missed and NULs seen when caught up, and when 50 records behind
    ("tail -F", "seal"): ((0, False), (49, True)),
    ("tail -F", "capture"): ((0, False), (49, True)),
    ("tail -F", "reset"): ((0, False), (49, True)),
    ("tail -F", "copytruncate"): ((0, False), (50, False)),
    ("tail -F", "rename"): ((0, False), (0, False)),
    ("holds", "seal"): ((0, False), (49, True)),
    ("holds", "capture"): ((0, False), (49, True)),
    ("holds", "reset"): ((0, False), (49, True)),
    ("holds", "copytruncate"): ((0, False), (50, False)),
    ("holds", "rename"): ((0, False), (0, False)),
    ("opens", "seal"): ((0, False), (49, True)),
    ("opens", "capture"): ((0, False), (49, True)),
    ("opens", "reset"): ((0, False), (50, False)),
    ("opens", "copytruncate"): ((0, False), (50, False)),
    ("opens", "rename"): ((0, False), (50, False)),
}


@pytest.mark.parametrize("lagging", [False, True], ids=["caught up", "lagging"])
@pytest.mark.parametrize(("kind", "step"), list(EXPECTED))
def test_what_a_reader_sees(tmp_path: Path, kind: str, step: str, *, lagging: bool) -> None:
    """Case 26: caught up, every record once, whatever we do. Behind, what was sealed unread is in segments only."""
    home = tmp_path / "watched"
    home.mkdir()
    method = step if step in ("copytruncate", "rename") else "auto"
    bench = Bench(home, method=method, capture=Duration("1s") if step == "capture" else None)
    try:
        writer = bench.writer().write(lines(0, 50, WIDTH))
        with reading(kind, home / LEAF, tmp_path / "seen") as reader:
            reader.catch_up(49)
            if lagging:
                reader.pause()
            writer.write(lines(50, 100, WIDTH))
            if not lagging:
                reader.catch_up(99)
            STEPS[step](bench)
            writer = bench._writers[-1] if bench._writers[-1].fd >= 0 else bench.writer()
            writer.write(lines(100, 103, WIDTH))
            reader.resume()
            seen = reader.catch_up(102)
            found = Counter(int(number) for number in _ID.findall(seen))

        missed = set(range(103)) - set(found)
        assert not missed or min(missed) >= 50
        assert EXPECTED[kind, step][lagging] == (len(missed), b"\0" in seen)
        assert {1} == set(found.values())
        bench.rotate()
        assert lines(0, 103, WIDTH) == bench.whole()
    finally:
        bench.close()
