"""`python -m tests.bench [BENCH ...]`: the bars, as ratios in one run; without a name all of them."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench import cost, crowd, delivery, hot, idle, latency, loops, loss, processing, steady
from tests.bench.options import Options
from tests.bench.report import Row, markdown

BENCHES: dict[str, Callable[[Options], list[Row]]] = {
    "cost": cost.measure,
    "latency": latency.measure,
    "hot": hot.measure,
    "idle": idle.measure,
    "crowd": crowd.measure,
    "restart": crowd.measure_restart,
    "loops": loops.measure,
    "loss": loss.measure,
    "delivery": delivery.measure,
    "steady": steady.measure,
    "processing": processing.measure,
}


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("bench", nargs="*", choices=[*BENCHES, "all"], default="all", metavar="BENCH")
    parser.add_argument("--place", type=Path, help="an existing directory to work in (default: the temporary one)")
    parser.add_argument("--size", type=float, default=1.0, help="GB to seal in `cost`")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement beside a writer")
    parser.add_argument("--idle-seconds", type=float, default=60)
    parser.add_argument("--runs", type=int, default=3, help="alternating runs, starts")
    parser.add_argument("--files", type=int, default=10_000, help="in `crowd`; segments in `restart`")
    parser.add_argument("--backlog", type=float, default=10.0, help="GB to deliver from segments in `delivery`")
    return parser.parse_args(given)


def _load() -> str:
    """How busy the machine is: other work makes every number worse than it is."""
    return f"load average {os.getloadavg()[0]:.2f}"


def main() -> int:
    """Measure what was asked for and print the table; 1 when a bar is missed."""
    given = arguments()
    names = list(BENCHES) if "all" in given.bench else given.bench
    rows: list[Row] = []
    machine = f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, {_load()}"
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.place) as place:
        options = Options(
            Path(place), int(given.size * 1e9), given.seconds, given.idle_seconds, given.runs, given.files,
            int(given.backlog * 1e9),
        )  # fmt: skip
        for name in names:
            sys.stderr.write(f"{name} ..." + os.linesep)
            rows += BENCHES[name](options)
    sys.stdout.write(f"{machine}; at its end {_load()}\n\n{markdown(rows)}\n")
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
