"""Pressure stall information: how long tasks waited for CPU, memory and I/O (Documentation/accounting/psi.rst).

`some` (at least one task waited) is shown as waiting, `full` (all did) as stalled, the words that node_exporter and
cAdvisor use. A kernel that has no PSI, or has it switched off, gives no families and no failure.
"""

from __future__ import annotations

from typing import NamedTuple

from agent.system import files
from agent.system.family import Family, single
from agent.system.reading import Reading, Scope

RESOURCES = ("cpu", "memory", "io", "irq")
_MICROSECONDS = 1_000_000
_WORDS = {"some": "waiting", "full": "stalled"}
_HELP = {
    "waiting": "Time in which at least one task waited for {}.",
    "stalled": "Time in which all tasks that wanted to run waited for {}.",
}


class Stall(NamedTuple):
    """One line: shares of wall time in percent over 10, 60 and 300 s, and seconds since boot."""

    avg10: float
    avg60: float
    avg300: float
    total: float


Pressure = dict[str, dict[str, Stall]]
"""By resource, then by `some` and `full`."""


def parse(text: str) -> dict[str, Stall]:
    """Parse one pressure file: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, then `full`."""
    stalls = {}
    for line in text.splitlines():
        kind, *fields = line.split()
        numbers = dict(field.split("=", 1) for field in fields)
        avg10, avg60, avg300 = (float(numbers[key]) for key in ("avg10", "avg60", "avg300"))
        stalls[kind] = Stall(avg10, avg60, avg300, int(numbers["total"]) / _MICROSECONDS)
    return stalls


def host(procfs: str) -> Pressure:
    """The machine's pressure. At this level the kernel defines no `full` for cpu; newer ones print zeros for it."""
    pressure = _pressure(f"{procfs}/pressure/{{}}")
    pressure.get("cpu", {}).pop("full", None)
    return pressure


def container(cgroup: str) -> Pressure:
    """A control group's pressure (cgroup v2 alone has it)."""
    return _pressure(f"{cgroup}/{{}}.pressure")


def _pressure(template: str) -> Pressure:
    found = {}
    for resource in RESOURCES:
        # PSI switched off is EOPNOTSUPP at the read, a kernel without it ENOENT at the open: both mean "none".
        stalls = files.load_optional(template.format(resource), parse)
        if stalls:
            found[resource] = stalls
    return found


def families(prefix: str, pressure: Pressure) -> tuple[Family, ...]:
    """`<prefix>_<resource>_waiting_seconds_total` and `_stalled_`, as far as the kernel gives them."""
    return tuple(
        single(f"{prefix}_{resource}_{word}_seconds_total", _HELP[word].format(resource), stalls[kind].total)
        for resource, stalls in pressure.items()
        for kind, word in _WORDS.items()
        if kind in stalls
    )


class PressureCollector:
    """The machine's pressure."""

    name = "pressure"
    scope: Scope = "host"

    def __init__(self, procfs: str, *, node_names: bool = False) -> None:
        self._procfs = procfs
        self._node_names = node_names

    def collect(self) -> Reading:
        """Read /proc/pressure; ReadingError for content that psi.rst does not describe."""
        found = host(self._procfs)
        if not found:
            return Reading("none: this kernel has pressure stall information switched off")
        prefixes = ("system_pressure", "node_pressure") if self._node_names else ("system_pressure",)
        return Reading(
            f"{self._procfs}/pressure", tuple(family for prefix in prefixes for family in families(prefix, found))
        )
