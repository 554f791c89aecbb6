"""What the agent costs when there is nothing to do, with every default; beside a node_exporter, too."""

from __future__ import annotations

import time
from statistics import median

from tests.bench import beside
from tests.bench.options import Options
from tests.bench.report import Row
from tests.bench.waiting import fresh
from tests.support.procfs import cpu_seconds, memory
from tests.support.program import AGENT, Program

_SETTLE = 3.0
"""Seconds after it is ready before its CPU time counts."""
_CPU, _MEMORY, _READY = 0.003, 50 << 20, 1.0


def measure(options: Options) -> list[Row]:
    """Time to readiness, CPU share, peak memory."""
    ready = [_ready(options) for _ in range(options.runs)]
    with fresh(options.place, "idle") as directory:
        (directory / "telemetry.json").write_text('{"resourceLogs":[]}\n', "utf-8")
        with Program(AGENT, directory, {}) as program:
            program.wait_ready()
            time.sleep(_SETTLE)
            share = cpu_share(program, options.idle_seconds)
            peak = memory(program.pid, "VmHWM")
    spread = f"{median(ready):.2f} s (longest of {len(ready)}: {max(ready):.2f} s)"
    return [
        Row(
            "idle", f"at most {_CPU:.1%} of a core", f"{share:.2%} over {options.idle_seconds:.0f} s", "", share <= _CPU
        ),
        Row("idle, VmHWM", "at most 50 MiB", f"{peak / 2**20:.1f} MiB", f"{peak / _MEMORY:.2f}", peak <= _MEMORY),
        Row("ready after exec", "within 1 s", spread, "", max(ready) <= _READY),
        *beside.measure(options),
    ]


def _ready(options: Options) -> float:
    """Seconds from exec to readiness in an empty directory."""
    with fresh(options.place, "ready") as directory, Program(AGENT, directory, {}) as program:
        return program.wait_ready()


def cpu_share(program: Program, seconds: float) -> float:
    """Share of a core that a program uses in the next `seconds`."""
    used, begun = cpu_seconds(program.pid), time.monotonic()
    time.sleep(seconds)
    program.check_alive()
    return (cpu_seconds(program.pid) - used) / (time.monotonic() - begun)
