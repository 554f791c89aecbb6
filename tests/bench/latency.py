"""What the writer feels: the latency of a record's two writes, with and without the agent, in alternating runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from statistics import median

from tests.bench.options import Options
from tests.bench.report import Row
from tests.bench.waiting import fresh
from tests.support.program import AGENT, KEEP_ALL, Program
from tests.torture.runs import STREAM, Writers

_RATE = 100_000
_MODE = "hold"
_SIZES = {"2MB": "seals some times a second", "200kB": "seals every few ms"}
"""`rotation.max_size`, far below its default of 10 MB, and what it comes to."""
_STALL = 20_000
"""Microseconds that no write may take because of the agent."""
_NAMES = {"p50": "p50", "p99": "p99", "p999": "p99.9", "max": "max"}

Quantiles = dict[str, float]


def measure(options: Options) -> list[Row]:
    """At a rate and at full speed, sealed often and very often."""
    return [
        row
        for size, often in _SIZES.items()
        for name, more, bar in ((f"{_RATE:,} records/s", ["--rate", str(_RATE)], 1.1), ("full speed", [], 2.0))
        for row in _compare(options, f"{name}, {often}", more, bar, size)
    ]


def _compare(options: Options, name: str, more: Sequence[str], bar: float, size: str) -> list[Row]:
    """Alternate runs without and with the agent; the median of each quantile, and the longest write of all runs.

    The range of the runs without tells what a ratio is worth on this machine.
    """
    alone: list[Quantiles] = []
    beside: list[Quantiles] = []
    for _ in range(options.runs):
        alone.append(_run(options, more, size, agent=False))
        beside.append(_run(options, more, size, agent=True))
    rows = []
    for key, label in _NAMES.items():
        middle = max if key == "max" else median
        without, with_agent = (middle(one[key] for one in runs) for runs in (alone, beside))
        ratio = with_agent / without
        said, met, noise = "", None, ""
        if key == "p999":
            said, met = f"at most {bar} x", ratio <= bar
            noise = f" ({min(one[key] for one in alone):,.1f} to {max(one[key] for one in alone):,.1f})"
        elif key == "max":
            said, met = f"no stall above {_STALL / 1000:.0f} ms", with_agent <= _STALL
        told = f"{with_agent:,.1f} us with, {without:,.1f} us without{noise}"
        rows.append(Row(f"write latency {label}, {name}", said, told, f"{ratio:.2f}", met))
    return rows


def _run(options: Options, more: Sequence[str], size: str, *, agent: bool) -> Quantiles:
    """One writer's latencies."""
    with fresh(options.place, "latency") as place:
        directory = place / "run"
        directory.mkdir()
        settings = {**KEEP_ALL, "rotation.max_size": size}
        with Program(AGENT, directory, settings) if agent else nullcontext() as program:
            if program:
                program.wait_ready()
            given = ["--seconds", str(options.seconds), "--latency", *more]
            writers = Writers.start(directory / STREAM, _MODE, place, *given)
            writers.wait()
            if program:
                program.check_alive()
        told: Quantiles = json.loads(writers.truths[0].read_text("utf-8"))["latency_us"]
        return told
