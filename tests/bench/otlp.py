"""Throughput of checking, joining and generating OTLP-JSON lines on one core: `python -m tests.bench.otlp`.

Each figure is the best of several rounds of CPU time; the subjects take turns, so that a noisy machine disturbs all of
them alike. The ratio is to the bare typed decode of the same lines, the least that any check of all fields could cost.
"""

import re
import time
from collections.abc import Callable, Iterable

from agent.otlp import records
from agent.otlp.envelope import Checked, Signal, check, join
from tests.support.signals import Signals

LINES = 1000
ROUNDS = 15
_TIMES = re.compile(rb'(UnixNano":)"(\d+)"')


def each(act: Callable[[bytes], object], lines: Iterable[bytes]) -> Callable[[], None]:
    """`act` on all lines, one by one."""

    def run() -> None:
        for line in lines:
            act(line)

    return run


def subjects(signal: Signal, lines: list[bytes], make: Callable[[], bytes]) -> dict[str, Callable[[], object]]:
    """What is measured; all of it goes through about the same number of bytes."""
    # Times as numbers, as some encoders write them: legal, but to be spelled anew.
    other = [_TIMES.sub(rb"\1\2", line) for line in lines]
    for line, expected in ((lines[0], True), (other[0], False)):
        found = check(line)
        if not isinstance(found, Checked) or found.canonical != expected:
            raise SystemExit("the benchmark's own lines are not what it says they are")

    def generate() -> None:
        for _ in lines:
            make()

    return {
        "decode, the floor": each(records.decode, lines),
        "check, canonical": each(check, lines),
        "check, spelled anew": each(check, other),
        "join": lambda: join(lines, signal),
        "generate": generate,
    }


def measure(actions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of CPU of each action's best round."""
    best = dict.fromkeys(actions, float("inf"))
    for _ in range(ROUNDS):
        for name, action in actions.items():
            start = time.process_time()
            action()
            best[name] = min(best[name], time.process_time() - start)
    return best


def main() -> None:
    """Print a table."""
    print("| lines of | bytes a line | what | MB/s per core | lines/s | x floor |")
    print("|---|---|---|---|---|---|")
    for signal, kind in ((Signal.TRACES, "trace_line"), (Signal.LOGS, "log_line"), (Signal.METRICS, "metric_line")):
        make = getattr(Signals(1), kind)
        lines = [make() for _ in range(LINES)]
        length = sum(map(len, lines))
        times = measure(subjects(signal, lines, make))
        floor = times["decode, the floor"]
        for name, seconds in times.items():
            speed, ratio = length / seconds / 1e6, floor / seconds
            print(f"| {signal} | {length // LINES} | {name} | {speed:.0f} | {LINES / seconds:,.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
