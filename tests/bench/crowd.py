"""Ten thousand files: watched, one of them due, all of them due at once; and a restart among ten thousand segments."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from statistics import median

from tests.bench.idle import cpu_share
from tests.bench.options import Options
from tests.bench.report import Row
from tests.bench.waiting import archives, fresh, until
from tests.support.procfs import memory
from tests.support.program import AGENT, KEEP_ALL, Program
from tests.torture import record

_DUE = 200_000
_SETTINGS = {**KEEP_ALL, "rotation.max_size": "100kB"}
_SETTLE = 5.0
_STREAMS = 100
"""Streams among which a restart's segments are shared."""
_WATCHED, _MORE, _ONE, _ALL, _RESTART = 0.01, 16 << 20, 1.0, 5.0, 2.0


def measure(options: Options) -> list[Row]:
    """Watch many files, let one come due, then all."""
    with fresh(options.place, "few") as directory, Program(AGENT, directory, _SETTINGS) as program:
        program.wait_ready()
        time.sleep(_SETTLE)
        few = memory(program.pid, "VmRSS")
    with fresh(options.place, "crowd") as directory:
        files = _make(directory, options.files)
        with Program(AGENT, directory, _SETTINGS) as program:
            program.wait_ready(120)
            time.sleep(_SETTLE)
            share = cpu_share(program, options.idle_seconds)
            more = memory(program.pid, "VmRSS") - few
            one = max(_one_due(program, file) for file in files[:3])
            everything = _all_due(program, directory, len(files))
        name = f"{len(files):,} files"
        again = _restart(directory, name, options.runs)
    return [
        Row(f"{name} watched", "at most 1 % of a core", f"{share:.2%}", "", share <= _WATCHED),
        Row(f"{name} watched, RSS", "+16 MiB", f"+{more / 2**20:.1f} MiB", "", more <= _MORE),
        Row(f"one of {name} comes due", "sealed within 1 s", f"{one:.2f} s (longest of 3)", "", one <= _ONE),
        Row(f"{name} due at once", "all sealed within 5 s", f"{everything:.2f} s", "", everything <= _ALL),
        again,
    ]


def measure_restart(options: Options) -> list[Row]:
    """Restart where some streams have many segments each."""
    rounds = options.files // _STREAMS
    with fresh(options.place, "restart") as directory:
        files = _make(directory, _STREAMS)
        with Program(AGENT, directory, _SETTINGS) as program:
            program.wait_ready()
            for n in range(rounds):
                _append(files, n)
                os.kill(program.pid, signal.SIGUSR1)
                until(partial(_sealed, directory, (n + 1) * _STREAMS), program, 60)
        return [_restart(directory, f"{_STREAMS} streams", options.runs)]


def _sealed(directory: Path, count: int) -> bool:
    """True when there are so many archives."""
    return archives(directory) >= count


def _make(directory: Path, count: int) -> list[Path]:
    """Files of one record each, none of them due."""
    files = [directory / f"telemetry-{n:05}.json" for n in range(count)]
    _append(files, 0)
    return files


def _append(files: list[Path], n: int) -> None:
    line = record.maker(0, 64)(n) + b"\n"
    for file in files:
        with file.open("ab") as live:
            live.write(line)


def _one_due(program: Program, file: Path) -> float:
    """Seconds until a file that grew is sealed."""
    line = record.maker(0, 64)(1) + b"\n"
    with file.open("ab") as live:
        live.write(line * (_DUE // len(line)))
    return until(lambda: any(file.parent.glob(f"{file.stem}_*.gz")), program, 60)


def _all_due(program: Program, directory: Path, count: int) -> float:
    """Seconds from the signal that rotates everything until each file has an archive of it."""
    _append(sorted(directory.glob("*.json")), 2)
    before = archives(directory)
    os.kill(program.pid, signal.SIGUSR1)
    return until(partial(_sealed, directory, before + count), program, 300, 0.1)


def _restart(directory: Path, whose: str, runs: int) -> Row:
    """Seconds from exec to readiness, where segments are."""
    times = []
    for _ in range(runs):
        with Program(AGENT, directory, _SETTINGS) as program:
            times.append(program.wait_ready(120))
    name = f"restart with {archives(directory):,} segments of {whose}"
    told = f"ready in {median(times):.2f} s (longest of {runs}: {max(times):.2f} s)"
    return Row(name, "within 2 s", told, "", max(times) <= _RESTART)
