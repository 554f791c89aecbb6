"""/proc/stat as proc(5) describes it: CPU times, boot time, processes."""

from __future__ import annotations

import os
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
"""Units of CPU time in a second."""
MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""The columns of a cpu line that add up to all time; guest time, which follows them, is in user and nice already."""

Times = tuple[float, ...]
"""Seconds in each of MODES, then guest and guest_nice, as many as the kernel gives."""


class Stat(NamedTuple):
    """One look at /proc/stat; a number that the kernel does not give is None."""

    total: Times
    cpus: dict[str, Times]
    """By CPU number, only those that are online."""
    boot_time: float | None
    context_switches: float | None
    forks: float | None
    running: float | None
    blocked: float | None


def parse(text: str) -> Stat:
    """Parse the file; ValueError where it has no line for all CPUs."""
    times: dict[str, Times] = {}
    numbers: dict[str, float] = {}
    for line in text.splitlines():
        key, _, rest = line.partition(" ")
        if key.startswith("cpu"):
            times[key[3:]] = tuple(int(ticks) / TICKS for ticks in rest.split())
        elif key in ("btime", "ctxt", "processes", "procs_running", "procs_blocked"):
            numbers[key] = float(int(rest))
    total = times.pop("", ())
    if len(total) < len(MODES):
        raise ValueError("no cpu line with 8 columns")
    return Stat(
        total,
        times,
        numbers.get("btime"),
        numbers.get("ctxt"),
        numbers.get("processes"),
        numbers.get("procs_running"),
        numbers.get("procs_blocked"),
    )
