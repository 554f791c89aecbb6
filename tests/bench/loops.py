"""How soon the agent's two loops answer while it seals 1 GiB: the main one by its heartbeat, the web's by scrapes.

Sixteen threads ask for /metrics over connections that they keep, each again as soon as it has its answer. What the
threads wait for each other, and for the core that sealing leaves to them, is in their times: no answer is faster than
told. The main loop's beats are 10 ms apart, in place of the agent's own second; a beat that was late by more stands
for those that it kept from coming, too, so that one long stall is not one beat among hundreds.
"""

from __future__ import annotations

import http.client
import math
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tests.bench import corpus
from tests.bench.beating import EVERY
from tests.bench.options import Options
from tests.bench.report import Row
from tests.bench.waiting import archives, fresh, until
from tests.support.program import KEEP_ALL, Program

_SIZE = 1 << 30
_SCRAPERS = 16
_LAG, _SCRAPE = 0.05, 0.1
_WARM = 2.0
"""Seconds of scrapes before the file comes."""


@dataclass
class Times:
    """Seconds, of all runs."""

    lags: list[float] = field(default_factory=list)
    scrapes: list[float] = field(default_factory=list)
    sealing: list[float] = field(default_factory=list)


def measure(options: Options) -> list[Row]:
    """The measurements of all runs together: one lasts a few seconds."""
    times = Times()
    with fresh(options.place, "loops") as place:
        source = place / "source"
        for _ in range(options.runs):
            _write(source)
            _run(place, source, times)
    sealed = f"{_SIZE >> 30} GiB sealed and given back in {min(times.sealing):.1f} to {max(times.sealing):.1f} s"
    return [
        _row(f"main loop's lag, {sealed}", "beats", list(spread(times.lags)), _LAG),
        _row(f"{_SCRAPERS} scrapes at a time meanwhile", "answers", times.scrapes, _SCRAPE),
    ]


def _row(what: str, of: str, seconds: Sequence[float], bar: float) -> Row:
    p50, p99, most = (1000 * at(seconds, share) for share in (0.5, 0.99, 1))
    told = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {most:.1f} ms of {len(seconds):,} {of}"
    return Row(what, f"p99 at most {1000 * bar:.0f} ms", told, "", p99 <= 1000 * bar)


def at(seconds: Sequence[float], share: float) -> float:
    """Up to how many seconds this share of them took."""
    return sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]


def spread(lags: Iterable[float]) -> Iterator[float]:
    """Each lag, and those of the beats that were due meanwhile."""
    for lag in lags:
        yield lag
        for missed in range(1, math.ceil(lag / EVERY)):
            yield lag - missed * EVERY


def _run(place: Path, source: Path, times: Times) -> None:
    """Seal a file that comes while everybody scrapes."""
    with fresh(place, "watched") as directory, open(os.memfd_create("beats"), "rb") as beats:
        with Program(beating(beats), directory, KEEP_ALL) as program:
            program.wait_ready()
            over = threading.Event()
            with ThreadPoolExecutor(_SCRAPERS) as pool:
                scrapers = [pool.submit(_scrape, program.port, over) for _ in range(_SCRAPERS)]
                try:
                    time.sleep(_WARM)
                    begun, ended = _seal(program, source, directory / "telemetry.json")
                finally:
                    over.set()
            answers = [answer for scraper in scrapers for answer in scraper.result()]
        times.lags += [lag for when, lag in told(beats) if begun <= when <= ended]
    times.scrapes += [took for asked, took in answers if begun <= asked <= ended]
    times.sealing.append(ended - begun)


def _write(source: Path) -> None:
    """Make the file, and have it written back before anybody's time is taken."""
    corpus.write(source, _SIZE)
    with source.open("rb") as file:
        os.fsync(file.fileno())


def _seal(program: Program, source: Path, live: Path) -> tuple[float, float]:
    """Put the file where the agent finds it; when that was, and when all of it was sealed and given back."""
    begun = time.monotonic()
    source.rename(live)
    until(lambda: archives(live.parent) > 0 and live.stat().st_blocks * 512 < 1 << 20, program, 600)
    return begun, time.monotonic()


def _scrape(port: int, over: threading.Event) -> list[tuple[float, float]]:
    """Ask again and again; when each time, and how many seconds the answer took."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    found = []
    try:
        connection.connect()
        while not over.is_set():
            begun = time.monotonic()
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"a scrape was answered with {answer.status}")
            found.append((begun, time.monotonic() - begun))
    finally:
        connection.close()
    return found


def beating(beats: BinaryIO) -> tuple[str, ...]:
    """The command of an agent that writes its beats there: a file in memory, so that no disk makes them late."""
    return (sys.executable, "-m", "tests.bench.beating", f"/proc/{os.getpid()}/fd/{beats.fileno()}", "run")


def told(beats: BinaryIO) -> Iterator[tuple[float, float]]:
    """When each beat was, and how late."""
    for line in beats:
        when, lag = map(float, line.split())
        yield when, lag
