"""What a writer at full speed loses: to logrotate's copytruncate, and to the agent, one after the other."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.bench import logrotate
from tests.bench.options import Options
from tests.bench.report import Row
from tests.bench.waiting import fresh
from tests.torture.runs import STREAM, Writers, run
from tests.torture.tally import Tally, Truth

_MODES = ("append", "hold")
_MAX_SIZE = 200_000


def measure(options: Options) -> list[Row]:
    """Lose, or lose nothing, in two modes of writing."""
    rows = []
    for mode in _MODES:
        lost, written, times = _logrotate(options, mode)
        share = f"{lost / written:.2%}"
        told = f"{lost:,} of {written:,} records lost in {times} rotations"
        rows.append(Row(f"logrotate copytruncate beside a full-speed writer, {mode}", "", told, share))
        rows.append(_agent(options, mode))
    return rows


def _agent(options: Options, mode: str) -> Row:
    """The same beside the agent."""
    with fresh(options.place, "loss") as place:
        directory = place / "run"
        directory.mkdir()
        result = run(mode, place, directory, options.seconds, _MAX_SIZE)
    verdict = result.verdict
    told = (
        f"{verdict.lost:,} of {verdict.written:,} lost, {verdict.twice} twice, {verdict.torn} torn, "
        f"{verdict.disorder} out of order in {result.seals} seals, {result.releases} releases"
    )
    return Row(f"the agent beside the same writer, {mode}", "0 lost, 0 twice, 0 torn, in order", told, "", verdict.good)


def _logrotate(options: Options, mode: str) -> tuple[int, int, int]:
    """Rotate as often as it goes while a writer writes: records lost, records written, rotations."""
    with fresh(options.place, "loss") as place:
        directory = place / "run"
        directory.mkdir()
        writers = Writers.start(directory / STREAM, mode, place, "--seconds", str(options.seconds))
        times = 0
        try:
            while writers.processes[0].poll() is None:
                if (directory / STREAM).exists():
                    logrotate.rotate(directory, ["nocompress"])
                    times += 1
                time.sleep(0.02)
        finally:
            truths = writers.wait()
        return count_lost(directory, truths), truths[0].written, times


def count_lost(directory: Path, truths: list[Truth]) -> int:
    """Records of `truths` that are in none of logrotate's plain files; NULs that a writer's offset left are skipped."""
    tally = Tally(truths)
    for name in os.listdir(directory):
        with (directory / name).open("rb") as file:
            while data := file.read(1 << 22):
                tally.take(data.replace(b"\0", b""))
        tally.finish()
    return tally.missing()[0]
