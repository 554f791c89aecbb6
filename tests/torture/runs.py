"""One torture run: writers at full speed, a rotator beside them, and afterwards the judge.

A run counts only if it rotated: seals are segments on disk, releases are the times at which somebody looking from
outside saw the live file give blocks back (or begin anew), and the live file's allocated bytes stay bounded.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.program import AGENT, KEEP_ALL, ROOT, Ended, Program
from tests.torture.judge import Verdict, judge, table
from tests.torture.tally import Truth

STREAM = "telemetry.json"
MANY = max(2, min(4, os.cpu_count() or 2))
"""Processes that share one file in mode `many`: with more than there are cores, who rotates hardly gets a turn."""
_LOOK = 0.002
"""Seconds between two looks at the live file."""


@dataclass(frozen=True)
class Run:
    """What happened in a run."""

    verdict: Verdict
    ended: Ended
    asked: float
    """Seconds that the writers were told to write."""
    seconds: float
    bytes_written: int
    seals: int
    releases: int
    peak: int
    """Most bytes that the live file had allocated at once."""

    def counts(self, seals: float, releases: float, most: float) -> bool:
        """True when so many seals and releases a second were seen, and never more than `most` allocated bytes.

        One release may show as several falls of the block count, so no more are believed than there are seals.
        """
        seen = min(self.releases, self.seals)
        return self.seals >= seals * self.asked and seen >= releases * self.asked and self.peak <= most

    def report(self) -> str:
        """All of it as text, for a failing test and for the curious."""
        rate = self.verdict.written / self.seconds
        return (
            f"{table([self.verdict])}\n{self.seconds:.1f} s, {rate:,.0f} records/s, {self.bytes_written:,} bytes, "
            f"{self.seals} seals, {self.releases} releases, peak {self.peak:,} bytes, "
            f"exit {self.ended.status}, CPU {self.ended.cpu:.2f} s\n{self.ended.output}"
        )


@dataclass
class Watcher:
    """Looks at a file's blocks from outside until stopped, by stat alone: an open file would forbid leases."""

    path: Path
    peak: int = 0
    releases: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        before = 0
        while not self._stop.wait(_LOOK):
            try:
                blocks = os.stat(self.path).st_blocks
            except FileNotFoundError:
                continue
            self.peak = max(self.peak, blocks * 512)
            self.releases += blocks < before
            before = blocks

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()


@dataclass
class Writers:
    """Writer processes on one file; ids of their own each."""

    processes: list[subprocess.Popen[bytes]]
    truths: list[Path]

    @classmethod
    def start(cls, file: Path, mode: str, place: Path, *options: str, count: int = 1) -> Writers:
        """Start `count` writers; their truth files go to `place`. `options` as tests.torture.writers has them."""
        processes, truths = [], []
        for writer in range(count):
            truth = place / f"{file.name}.{writer}.truth"
            line = [sys.executable, "-m", "tests.torture.writers", str(file), "--mode", mode]
            line += ["--writer", str(writer), "--truth", str(truth), *options]
            processes.append(subprocess.Popen(line, cwd=ROOT))
            truths.append(truth)
        return cls(processes, truths)

    def wait(self, limit: float = 600) -> list[Truth]:
        """Wait for their end; what they wrote. RuntimeError when one failed."""
        try:
            statuses = [process.wait(limit) for process in self.processes]
        finally:
            self.kill()
        if any(statuses):
            raise RuntimeError(f"writers ended with {statuses}")
        return [Truth.load(path) for path in self.truths]

    def kill(self) -> None:
        """End those that still run."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def run(
    mode: str,
    place: Path,
    directory: Path,
    seconds: float,
    max_size: int,
    *,
    command: Sequence[str] = AGENT,
    settings: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> Run:
    """Let writers in `mode` and `command` work on `directory` for `seconds`; then stop the rotator and judge.

    Truth files go to `place`, which must be another directory.
    """
    given = {**KEEP_ALL, "rotation.max_size": f"{max_size}B", "agent.log_level": "warning", **(settings or {})}
    with Program(command, directory, given) as program:
        if tuple(command[-len(AGENT) :]) == AGENT:  # it may run under a tracer
            program.wait_ready()
        begun = time.monotonic()
        count = MANY if mode == "many" else 1
        watcher = Watcher(directory / STREAM)
        writers = Writers.start(directory / STREAM, mode, place, "--seconds", str(seconds), *options, count=count)
        try:
            truths = writers.wait(seconds + 60)
        finally:
            writers.kill()
            watcher.stop()
        elapsed = time.monotonic() - begun
        program.check_alive()
        ended = program.stop()
    verdict = judge(directory, truths)[0]
    size = sum(truth.written * truth.record_bytes for truth in truths)
    return Run(verdict, ended, seconds, elapsed, size, verdict.segments, watcher.releases, watcher.peak)
