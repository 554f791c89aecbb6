"""Case 30 of delivery: 10,000 spans a second to a receiver that counts them, and all again as a backlog meanwhile."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.bench.corpus import Corpus
from tests.bench.delivery import LEAF, blackhole, config
from tests.bench.options import Options
from tests.bench.report import Row
from tests.support import procfs
from tests.support.program import AGENT, KEEP_ALL, ROOT, Program

RATE = 10_000
"""Spans written each second."""
_CAUGHT_UP = 16 << 20
"""Bytes of backlog, less than two seconds' worth."""


def measure(options: Options) -> list[Row]:
    """Everything at its default but what would delete; then the cursor is put back to the beginning."""
    home = options.place / "steady"
    home.mkdir()
    directory = home / "live"
    directory.mkdir()
    with blackhole(home, "spans") as url:
        path = config(home, url)
        with Program((*AGENT, "--config", path), directory, KEEP_ALL) as program:
            program.wait_ready()
            with Writer(directory / LEAF) as writer:
                row = _live(program, writer, url, options.seconds)
                reset = ("cursors", "reset", "bench", "--to", "earliest", "--yes", "--config", path)
                return [row, _again(program, writer, url, (*AGENT[:-1], *reset, "-d", str(directory)))]


class Writer(threading.Thread):
    """Appends at the rate, and knows what it wrote, until it is left."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._over = threading.Event()
        block = Corpus().block(16 << 20)
        self._lines = [line for line in block.splitlines(keepends=True) if line.startswith(b'{"resourceSpans"')]
        self.spans = self.bytes = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Write what is due each 20 ms."""
        began, endless = time.monotonic(), itertools.cycle(self._lines)
        with self._path.open("ab", buffering=0) as file:
            while not self._over.wait(0.02):
                while self.spans < (time.monotonic() - began) * RATE:
                    line = next(endless)
                    self.bytes += file.write(line)
                    self.spans += line.count(b'"spanId"')


def _live(program: Program, writer: Writer, url: str, seconds: float) -> Row:
    """What keeping up costs, and whether all that was written came; the receiver says what came."""
    began, before = time.monotonic(), procfs.cpu_seconds(program.pid)
    time.sleep(seconds)
    written = writer.spans
    while (came := _came(url)) < written and time.monotonic() - began < seconds + 60:
        program.check_alive()
        time.sleep(0.05)
    share = (procfs.cpu_seconds(program.pid) - before) / (time.monotonic() - began)
    peak, lost = procfs.memory(program.pid, "VmHWM"), max(0, written - came)
    return Row(
        f"steady: {RATE:,} spans/s for {seconds:.0f} s", "< 1 core, RSS < 100 MB, 0 lost",
        f"{written:,} spans, {share:.0%} of a core, {peak >> 20} MiB, {lost} lost", "",
        share < 1 and peak < 100e6 and not lost,
    )  # fmt: skip


def _again(program: Program, writer: Writer, url: str, reset: Sequence[str]) -> Row:
    """All of it is sent again while the writer goes on, until the agent has caught up."""
    before, backlog, began = _came(url), writer.spans, time.monotonic()
    subprocess.run(reset, cwd=ROOT, check=True, capture_output=True)
    while _backlog(program) > _CAUGHT_UP:
        program.check_alive()
        time.sleep(0.2)
    took = time.monotonic() - began
    rate = (_came(url) - before) / took
    hour = 3600 * RATE / (rate - RATE) / 60 if rate > RATE else float("inf")
    return Row(
        f"steady: {backlog:,} spans again, meanwhile", f"> {RATE:,} spans/s",
        f"{rate:,.0f} spans/s; so an hour's backlog is caught up with in {hour:.0f} min", "", rate > RATE,
    )  # fmt: skip


def _backlog(program: Program) -> int:
    """Bytes that are not delivered yet, as the agent has it."""
    code, text = program.get("/api/v1/status")
    return int(json.loads(text)["forwards"][0]["backlog_bytes"]) if code == 200 else sys.maxsize


def _came(url: str) -> int:
    """Spans that the receiver has."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own receiver
        return int(json.load(answer)["spans"])
