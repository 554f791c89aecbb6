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
_MAX_SIZE = "200kB"
"""Small, so that there is a seal every few milliseconds."""
_STALL = 20_000
"""Microseconds that no write may take because of the agent."""
_NAMES = {"p50": "p50", "p99": "p99", "p999": "p99.9", "max": "max"}

Quantiles = dict[str, float]


def measure(options: Options) -> list[Row]:
    """At a rate and at full speed."""
    return [
        *_compare(options, f"{_RATE:,} records/s", ["--rate", str(_RATE)], 1.1),
        *_compare(options, "full speed", [], 2.0),
    ]


def _compare(options: Options, name: str, more: Sequence[str], bar: float) -> list[Row]:
    """Alternate runs without and with the agent; the median of each quantile, and the longest write of all runs."""
    alone: list[Quantiles] = []
    beside: list[Quantiles] = []
    for _ in range(options.runs):
        alone.append(_run(options, more, agent=False))
        beside.append(_run(options, more, agent=True))
    rows = []
    for key, label in _NAMES.items():
        middle = max if key == "max" else median
        without, with_agent = (middle(one[key] for one in runs) for runs in (alone, beside))
        ratio = with_agent / without
        said, met = "", None
        if key == "p999":
            said, met = f"at most {bar} x", ratio <= bar
        elif key == "max":
            said, met = f"no stall above {_STALL / 1000:.0f} ms", with_agent <= _STALL
        told = f"{with_agent:,.1f} us with, {without:,.1f} us without"
        rows.append(Row(f"write latency {label}, {name}", said, told, f"{ratio:.2f}", met))
    return rows


def _run(options: Options, more: Sequence[str], *, agent: bool) -> Quantiles:
    """One writer's latencies."""
    with fresh(options.place, "latency") as place:
        directory = place / "run"
        directory.mkdir()
        settings = {**KEEP_ALL, "rotation.max_size": _MAX_SIZE}
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
