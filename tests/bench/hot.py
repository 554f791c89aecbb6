"""What a hot writer costs the agent while no seal is due: watching must not grow with the write rate."""

from __future__ import annotations

import time

from tests.bench.options import Options
from tests.bench.report import Row
from tests.bench.waiting import fresh
from tests.support.procfs import cpu_seconds
from tests.support.program import AGENT, KEEP_ALL, Program
from tests.torture.runs import STREAM, Writers

_RATE = 200_000
_BAR = 0.03
_WARM = 2.0


def measure(options: Options) -> list[Row]:
    """CPU share of all the agent's threads beside a writer."""
    with fresh(options.place, "hot") as place:
        directory = place / "run"
        directory.mkdir()
        with Program(AGENT, directory, {**KEEP_ALL, "rotation.max_size": "100TB"}) as program:
            program.wait_ready()
            given = ["--rate", str(_RATE), "--seconds", str(options.seconds + _WARM + 2)]
            writers = Writers.start(directory / STREAM, "many", place, *given)
            time.sleep(_WARM)
            used, begun = cpu_seconds(program.pid), time.monotonic()
            time.sleep(options.seconds)
            share = (cpu_seconds(program.pid) - used) / (time.monotonic() - begun)
            truth = writers.wait()[0]
            program.check_alive()
    speed = truth.written / (options.seconds + _WARM + 2)
    told = f"{share:.2%} of a core at {speed:,.0f} writes/s"
    return [Row("hot writer, no seal due", f"at most {_BAR:.0%} of a core", told, "", share <= _BAR)]
