"""CPU time of the whole machine, from /proc/stat.

`system_cpu_usage_percent` is the busy share of all CPUs between two passes. The first pass has no predecessor and
gives the share since boot, as vmstat does: a true number of a longer interval rather than a 0 that nobody measured.
"""

from __future__ import annotations

from agent.system import files, procstat
from agent.system.family import Column, Family, single, table
from agent.system.procstat import MODES, Stat, Times
from agent.system.reading import Reading, Scope

_IDLE = (MODES.index("idle"), MODES.index("iowait"))
_JUMP = 3.0
"""A CPU that was offline starts from smaller times; anything that goes back by less is the kernel's rounding."""


class CpuCollector:
    """CPU seconds by mode and the busy share."""

    name = "cpu"
    scope: Scope = "host"

    def __init__(self, procfs: str, *, node_names: bool = False) -> None:
        self._path = f"{procfs}/stat"
        self._node_names = node_names
        self._total: Times = ()
        self._cpus: dict[str, Times] = {}
        self._percent: float | None = None

    def collect(self) -> Reading:
        """Read /proc/stat; ReadingError where that fails."""
        stat = files.load(self._path, procstat.parse)
        total = forward(self._total, stat.total)
        measured = busy_percent(self._total, total)
        self._percent = self._percent if measured is None else measured
        self._total = total
        self._cpus = {cpu: forward(self._cpus.get(cpu, ()), times) for cpu, times in stat.cpus.items()}
        families = own_families(stat, total, self._percent)
        return Reading(self._path, families + (node_families(self._cpus) if self._node_names else ()))


def forward(old: Times, new: Times) -> Times:
    """Times that don't go back: idle and iowait may by a little (proc(5)), which would read as a counter's reset."""
    if len(old) != len(new) or any(before - after > _JUMP for before, after in zip(old, new, strict=True)):
        return new
    return tuple(map(max, old, new))


def busy_percent(old: Times, new: Times) -> float | None:
    """Share of all CPU time from `old` to `new` that was neither idle nor iowait, 0 to 100; None if none passed."""
    base = old or (0.0,) * len(new)
    spent = [max(0.0, after - before) for before, after in zip(base, new, strict=True)][: len(MODES)]
    total = sum(spent)
    if total <= 0.0:
        return None
    idle = sum(spent[mode] for mode in _IDLE)
    return 100.0 * max(0.0, 1.0 - idle / total)  # the two sums may round differently


def own_families(stat: Stat, total: Times, percent: float | None) -> tuple[Family, ...]:
    """The `system_*` families."""
    seconds: Column[float] = Column(
        "system_cpu_seconds_total", "CPU time of all CPUs together since boot, by mode.", float
    )
    rows = [((mode,), spent) for mode, spent in zip(MODES, total, strict=False)]
    families = [
        single("system_cpus", "CPUs online.", len(stat.cpus)),
        *table([seconds], rows, ("mode",)),
    ]
    if percent is not None:
        text = "Busy share of all CPUs since the previous pass (in the first pass: since boot), 0 to 100."
        families.append(single("system_cpu_usage_percent", text, percent))
    return tuple(families)


def node_families(cpus: dict[str, Times]) -> tuple[Family, ...]:
    """What node_exporter calls these numbers."""
    seconds: Column[float] = Column("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.", float)
    guest: Column[float] = Column("node_cpu_guest_seconds_total", "Seconds the CPUs spent in guests.", float)
    rows = [((cpu, mode), s) for cpu, times in cpus.items() for mode, s in zip(MODES, times, strict=False)]
    guests = [
        ((cpu, mode), s)
        for cpu, times in cpus.items()
        for mode, s in zip(("user", "nice"), times[len(MODES) :], strict=False)
    ]
    return table([seconds], rows, ("cpu", "mode")) + table([guest], guests, ("cpu", "mode"))
