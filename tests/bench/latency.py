"""What the writer feels: the latency of a record's two writes, with and without the agent, in alternating runs.

The writes of all runs are put together, for single runs differ by a half among themselves. The first second of a file
is apart: until the agent knows that the file is hot, each of its writes makes an event.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Literal, TypedDict

from tests.bench.options import Options
from tests.bench.report import Row
from tests.bench.waiting import fresh
from tests.support.program import AGENT, KEEP_ALL, Program
from tests.torture.runs import STREAM, Writers
from tests.torture.writers import FIRST

_RATE = 100_000
_MODE = "hold"
_SIZES = {"2MB": "seals some times a second", "200kB": "seals every few ms"}
"""`rotation.max_size`, far below its default of 10 MB, and what it comes to."""
_STALL = 20_000
"""Microseconds that no write may take because of the agent."""

Phase = Literal["first", "then"]


class Told(TypedDict):
    """A writer's latencies in microseconds, each with how often it was measured."""

    first: list[tuple[float, int]]
    then: list[tuple[float, int]]


def measure(options: Options) -> list[Row]:
    """At a rate and at full speed, sealed often and very often."""
    return [
        row
        for size, often in _SIZES.items()
        for name, more, bar in ((f"{_RATE:,} records/s", ["--rate", str(_RATE)], 1.1), ("full speed", [], 2.0))
        for row in _compare(options, f"{name}, {often}", more, bar, size)
    ]


def _compare(options: Options, name: str, more: Sequence[str], bar: float, size: str) -> list[Row]:
    """Alternate runs without and with the agent. The range of those without tells what a ratio is worth here."""
    alone: list[Told] = []
    beside: list[Told] = []
    for _ in range(options.runs):
        alone.append(_run(options, more, size, agent=False))
        beside.append(_run(options, more, size, agent=True))
    single = [quantile([one], "then", 0.999) for one in alone]
    rows = []
    for label, place in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
        without, with_agent = (quantile(runs, "then", place) for runs in (alone, beside))
        ratio = with_agent / without
        told, said, met = _told(with_agent, without), "", None
        if place == 0.999:
            said, met = f"at most {bar} x", ratio <= bar
            told += f" ({min(single):,.1f} to {max(single):,.1f})"
        rows.append(Row(f"write latency {label}, {name}", said, told, f"{ratio:.2f}", met))
    without, with_agent = (quantile(runs, "first", 0.999) for runs in (alone, beside))
    told = _told(with_agent, without)
    rows.append(Row(f"write latency p99.9, {name}, a file's first second", "", told, f"{with_agent / without:.2f}"))
    without, with_agent = (max(quantile(runs, "first", 1), quantile(runs, "then", 1)) for runs in (alone, beside))
    said = f"no stall above {_STALL / 1000:.0f} ms"
    told, ratio = _told(with_agent, without), with_agent / without
    rows.append(Row(f"write latency max, {name}", said, told, f"{ratio:.2f}", with_agent <= _STALL))
    return rows


def _told(with_agent: float, without: float) -> str:
    return f"{with_agent:,.1f} us with, {without:,.1f} us without"


def quantile(runs: Iterable[Told], phase: Phase, place: float) -> float:
    """Up to how many microseconds this share of all writes of a phase took."""
    counts: Counter[float] = Counter()
    for run in runs:
        for latency, count in run[phase]:
            counts[latency] += count
    wanted = place * counts.total()
    for latency in sorted(counts):
        wanted -= counts[latency]
        if wanted <= 0:
            return latency
    raise ValueError("nothing was measured")


def _run(options: Options, more: Sequence[str], size: str, *, agent: bool) -> Told:
    """One writer's latencies."""
    with fresh(options.place, "latency") as place:
        directory = place / "run"
        directory.mkdir()
        settings = {**KEEP_ALL, "rotation.max_size": size}
        with Program(AGENT, directory, settings) if agent else nullcontext() as program:
            if program:
                program.wait_ready()
            given = ["--seconds", str(options.seconds + FIRST), "--latency", *more]
            writers = Writers.start(directory / STREAM, _MODE, place, *given)
            writers.wait()
            if program:
                program.check_alive()
        told: Told = json.loads(writers.truths[0].read_text("utf-8"))["latency_us"]
        return told
