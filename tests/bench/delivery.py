"""Delivery: CPU and memory for a live file and a backlog, against the floor; latency from write to receipt."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.bench.corpus import Corpus
from tests.bench.options import Options
from tests.bench.report import Row
from tests.support import procfs
from tests.support.hostile import Heard, Hostile, Say, serving
from tests.support.program import AGENT, KEEP_ALL, ROOT, Program, free_port

_BLOCK = 16 << 20


def measure(options: Options) -> list[Row]:
    """All of it."""
    home = options.place / "delivery"
    home.mkdir()
    source = home / "source.json"
    size = _fill(source, options.size)
    with _blackhole(home) as url:
        floor = _floor(source, url)
        rows = [Row("delivery: the floor", "", f"{size / floor / 1e6:.0f} MB/s of a core")]
        live = home / "live"
        live.mkdir()
        source.rename(live / "telemetry.json")
        rows.append(_row("live file", size, floor, *_ship(home, live, url, size)))
        state = live / ".telemetry-agent"
        subprocess.run([*AGENT[:-1], "rotate", "-d", str(live)], cwd=ROOT, check=True, capture_output=True)
        for cursor in state.glob("cursor-*"):
            cursor.unlink()
        rows.append(_row(f"backlog of {size / 1e9:.1f} GB", size, floor, *_ship(home, live, url, size)))
    return [*rows, _latency(home, options.seconds)]


def _fill(path: Path, size: int) -> int:
    # One signal, as the file format has it (OpenTelemetry specification, file exporter).
    lines = Corpus().block(min(_BLOCK, size)).splitlines(keepends=True)
    block = b"".join(line for line in lines if line.startswith(b'{"resourceSpans"'))
    with path.open("wb") as file:
        while file.tell() < size:
            file.write(block)
        return file.tell()


def _row(what: str, size: int, floor: float, cpu: float, peak: int) -> Row:
    speed, ratio = size / cpu / 1e6, floor / cpu
    return Row(
        f"delivery: {what}", ">= 80 MB/s of a core, >= 0.6 of the floor, RSS <= 90 MiB",
        f"{speed:.0f} MB/s, {peak >> 20} MiB", f"{ratio:.2f}", speed >= 80 and ratio >= 0.6 and peak <= 90 << 20,
    )  # fmt: skip


def _floor(source: Path, url: str) -> float:
    command = [sys.executable, "-m", "tests.bench.floor", str(source), url]
    return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def _config(home: Path, url: str, more: str = "") -> str:
    path = home / "agent.toml"
    path.write_text(f'[[forward]]\nname = "bench"\nendpoints = ["{url}"]\n{more}', "utf-8")
    return str(path)


def _ship(home: Path, directory: Path, url: str, size: int) -> tuple[float, int]:
    """CPU seconds and peak memory of an agent that delivers everything in the directory."""
    never = {"rotation.max_size": "", "rotation.max_age": "", **KEEP_ALL}
    program = Program((*AGENT, "--config", _config(home, url)), directory, never)
    while _delivered(program) < size:
        program.check_alive()
        time.sleep(0.25)
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
def _blackhole(home: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.blackhole", str(port)]
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
        program = Program((*AGENT, "--config", _config(home, server.url)), directory, {})
        program.wait_ready()
        with (directory / "telemetry.json").open("ab", buffering=0) as file:
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
