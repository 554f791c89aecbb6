"""Delivery: CPU and memory for a live file and a backlog, against the floor; latency from write to receipt."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.bench.corpus import Corpus
from tests.bench.options import Options
from tests.bench.report import Row
from tests.support import procfs
from tests.support.hostile import Heard, Hostile, Say, serving
from tests.support.program import AGENT, KEEP_ALL, ROOT, Program, free_port

_BLOCK = 16 << 20
LEAF = "telemetry.json"
NEVER = {"rotation.max_size": "", "rotation.max_age": "", **KEEP_ALL}
"""Settings with which nothing is sealed or deleted meanwhile."""


def measure(options: Options) -> list[Row]:
    """All of it. What it costs to start is measured beside it, and not counted as delivery."""
    home = options.place / "delivery"
    home.mkdir()
    source = home / "source.json"
    data = _fill(source, options.size)
    with blackhole(home) as url:
        start = _start(home, url)
        live = home / "live"
        live.mkdir()
        shutil.copyfile(source, live / LEAF)
        turns = Turns(options.runs, home, source, data, url, start)
        rows = turns.rows("live file", live, data)
        backlog = _backlog(live, data, options.backlog)
        rows += turns.rows(f"backlog of {backlog.bytes / 1e9:.3g} GB", live, backlog)
    return [*rows, _latency(home, options.seconds)]


class Data(NamedTuple):
    """How much there is to deliver."""

    bytes: int
    records: int


def _fill(path: Path, size: int) -> Data:
    # One signal, as the file format has it (OpenTelemetry specification, file exporter).
    lines = Corpus().block(min(_BLOCK, size)).splitlines(keepends=True)
    spans = [line for line in lines if line.startswith(b'{"resourceSpans"')]
    block = b"".join(spans)
    blocks = -(-size // len(block))
    with path.open("ab") as file:
        for _ in range(blocks):
            file.write(block)
    return Data(blocks * len(block), blocks * len(spans))


def _backlog(directory: Path, data: Data, size: int) -> Data:
    """Seal what is there, write and seal as much again until it is `size`."""
    rounds = max(1, round(size / data.bytes))
    never = [word for key, value in NEVER.items() for word in ("--set", f"{key}={value}")]
    for number in range(rounds):
        if number:
            _fill(directory / LEAF, data.bytes)
        command = [*AGENT[:-1], "rotate", "-d", str(directory), *never]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return Data(rounds * data.bytes, rounds * data.records)


def _forget(directory: Path) -> None:
    """Let nothing be delivered yet."""
    for cursor in (directory / ".telemetry-agent").glob("cursor-*"):
        cursor.unlink()


def _floor(source: Path, url: str) -> float:
    command = [sys.executable, "-m", "tests.bench.floor", str(source), url]
    return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def config(home: Path, url: str) -> str:
    """A configuration file with one forward, everything at its default."""
    path = home / "agent.toml"
    path.write_text(f'[[forward]]\nname = "bench"\nendpoints = ["{url}"]\n', "utf-8")
    return str(path)


def _start(home: Path, url: str) -> float:
    """CPU seconds of an agent that has started, and delivered one record, so that everything is imported."""
    directory = home / "empty"
    directory.mkdir()
    (directory / LEAF).write_bytes(b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"eventName":"n"}]}]}]}\n')
    return _ship(home, directory, url, 1)[0]


@dataclass(frozen=True)
class Turns:
    """The floor and the agent take turns: each turn of the agent is held against the floor just before and after it.

    The median of those ratios counts. What the machine's other guests do slows down both, by a half within a second,
    so the least of each would be a matter of luck: the shorter measurement meets a quiet moment more easily.
    """

    runs: int
    home: Path
    source: Path
    data: Data
    """What is in `source`, which the floor sends."""
    url: str
    start: float
    """CPU seconds that are not for the data."""

    def rows(self, what: str, directory: Path, there: Data) -> list[Row]:
        """What it costs to deliver all that is in the directory; memory is the most of all turns."""
        floors, costs, peaks = [self._floors(there)], [], []
        for _ in range(self.runs):
            cpu, peak = _ship(self.home, directory, self.url, there.bytes)
            costs.append((cpu - self.start) / there.bytes)
            peaks.append(peak)
            floors.append(self._floors(there))
            _forget(directory)
        ratio = median(
            (before + after) / 2 / cost for (before, after), cost in zip(pairwise(floors), costs, strict=True)
        )
        floor, speed, peak = 1 / median(floors), 1 / median(costs), max(peaks)
        told = f"{speed / 1e6:.0f} MB/s, {speed / there.bytes * there.records:,.0f} records/s, {peak >> 20} MiB"
        met = speed >= 80e6 and ratio >= 0.6 and peak <= 90 << 20
        bar = ">= 80 MB/s of a core, >= 0.6 of the floor, RSS <= 90 MiB"
        return [
            Row(f"delivery: the floor, beside the {what}", "", f"{floor / 1e6:.0f} MB/s of a core"),
            Row(f"delivery: {what}", bar, told, f"{ratio:.2f}", met),
        ]

    def _floors(self, there: Data) -> float:
        """CPU seconds a byte of the floor, for about half as long as the agent takes for all that is there."""
        times = max(1, there.bytes // self.data.bytes // 4)
        return sum(_floor(self.source, self.url) for _ in range(times)) / times / self.data.bytes


def _ship(home: Path, directory: Path, url: str, size: int) -> tuple[float, int]:
    """CPU seconds and peak memory of an agent that delivers everything in the directory."""
    program = Program((*AGENT, "--config", config(home, url)), directory, NEVER)
    while _delivered(program) < size:
        program.check_alive()
        time.sleep(0.5)
    cpu, peak = procfs.cpu_seconds(program.pid), procfs.memory(program.pid, "VmHWM")
    program.stop()
    return cpu, peak


def _delivered(program: Program) -> int:
    """Bytes before the cursor; -1 while there is no answer."""
    code, text = program.get("/api/v1/status")
    if code != 200:
        return -1
    status = json.loads(text)
    (one,) = status["forwards"]
    if not status["ready"] or not one["read"] or one["unsettled"]:
        return -1
    return sum(int(stream["position"]) for stream in status["streams"]) - int(one["backlog_bytes"])


@contextlib.contextmanager
def blackhole(home: Path, *more: str) -> Iterator[str]:
    """A receiver that only counts; its URL."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.blackhole", str(port), *more]
    with (home / "blackhole.log").open("wb") as log, subprocess.Popen(command, cwd=ROOT, stderr=log) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            while True:
                with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):
                    break
                time.sleep(0.02)
            yield url
        finally:
            process.terminate()


class _Stamped(Hostile):
    """Notes when each number came."""

    came: dict[int, float]

    def next(self, heard: Heard) -> Say:
        """Take it."""
        now = time.monotonic()
        for number in re.findall(rb'"n(\d+)"', heard.body):
            self.came.setdefault(int(number), now)
        return Say()


def _latency(home: Path, seconds: float) -> Row:
    """From the write of a line to the arrival of its request, a line each 20 ms, with everything at its default."""
    directory = home / "latency"
    directory.mkdir()
    written: dict[int, float] = {}
    with serving() as server:
        server.__class__ = _Stamped
        server.came = {}  # type: ignore[attr-defined]  # it is one now
        program = Program((*AGENT, "--config", config(home, server.url)), directory, {})
        program.wait_ready()
        with (directory / LEAF).open("ab", buffering=0) as file:
            while len(written) < seconds * 50:
                number = len(written)
                file.write(b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"eventName":"n%d"}]}]}]}\n' % number)
                written[number] = time.monotonic()
                time.sleep(0.02)
        came: dict[int, float] = server.came  # type: ignore[attr-defined]  # as above
        while len(came) < len(written):
            program.check_alive()
            time.sleep(0.02)
        program.stop()
    late = sorted(came[number] - written[number] for number in written)
    p50, p99 = late[len(late) // 2], late[len(late) * 99 // 100]
    return Row("delivery: from write to receipt", "p99 <= 2 s", f"p50 {p50:.2f} s, p99 {p99:.2f} s", "", p99 <= 2)
