"""The agent's own container, under the names that cAdvisor gives these numbers.

/proc shows the machine even inside a container; these families come from the control group and never mix
with the host's. cAdvisor's labels that name a container are missing: there is only the one we live in.
"""

from __future__ import annotations

import os
import re

from agent.system import cgroup, pressure
from agent.system.cgroup import Numbers
from agent.system.family import Column, table
from agent.system.reading import Reading, Scope

_LIMIT = 16
"""Devices shown at most."""
_NO_DISK = re.compile(r"(z?ram|loop)\d+")


class ContainerCollector:
    """Memory, CPU, threads, disk bytes and pressure of the own control group."""

    name = "container"
    scope: Scope = "container"

    def __init__(self, procfs: str, sysfs: str) -> None:
        self._procfs = procfs
        self._sysfs = sysfs

    def collect(self) -> Reading:
        """Find the group and read it; no families outside a container or service. ReadingError if proc fails us."""
        group = cgroup.locate(self._procfs)
        if group is None:
            return Reading("none: this process is in no control group of its own")
        numbers = cgroup.read(group)
        families = table(_NUMBERS, [((), numbers)]) + table(_IO, self._devices(numbers), ("device",))
        if group.version == 2:
            families += pressure.families("container_pressure", pressure.container(group.directories[""]))
        places = ", ".join(sorted(set(group.directories.values())))
        return Reading(f"cgroup v{group.version} {places}", families)

    def _devices(self, numbers: Numbers) -> list[tuple[tuple[str, ...], tuple[float, float]]]:
        """Bytes by the device's name."""
        rows: list[tuple[tuple[str, ...], tuple[float, float]]] = []
        for number, found in sorted(numbers.io.items()):
            name = self._device(number)
            if not _NO_DISK.fullmatch(name):
                rows.append(((f"/dev/{name}",), found))
        return rows[:_LIMIT]

    def _device(self, number: str) -> str:
        """The name of device `major:minor`; without sysfs udev's name for it."""
        try:
            return os.path.basename(os.readlink(f"{self._sysfs}/dev/block/{number}")).replace("!", "/")
        except OSError:
            return f"block/{number}"


def working_set(numbers: Numbers) -> float | None:
    """Memory that reclaiming inactive file pages would not free: what an out-of-memory kill goes by."""
    if numbers.memory_usage is None or numbers.memory_inactive_file is None:
        return None
    return max(0.0, numbers.memory_usage - numbers.memory_inactive_file)


_NUMBERS: tuple[Column[Numbers], ...] = (
    Column("container_memory_usage_bytes", "Memory in use, page cache included.", lambda n: n.memory_usage),
    Column("container_memory_working_set_bytes", "Memory in use without inactive page cache.", working_set),
    Column("container_memory_rss", "Anonymous memory in bytes.", lambda n: n.memory_rss),
    Column("container_spec_memory_limit_bytes", "Memory limit; 0 is none.", lambda n: n.memory_limit),
    Column("container_memory_events_high_total", "Times memory.high throttled.", lambda n: n.memory_high_events),
    Column("container_memory_events_max_total", "Times memory.max was about to be hit.", lambda n: n.memory_max_events),
    Column("container_oom_events_total", "Processes killed for want of memory.", lambda n: n.oom_kills),
    Column("container_cpu_usage_seconds_total", "CPU time.", lambda n: n.cpu_usage),
    Column("container_cpu_user_seconds_total", "CPU time in programs.", lambda n: n.cpu_user),
    Column("container_cpu_system_seconds_total", "CPU time in the kernel.", lambda n: n.cpu_system),
    Column("container_cpu_cfs_periods_total", "Periods in which the CPU limit was enforced.", lambda n: n.periods),
    Column("container_cpu_cfs_throttled_periods_total", "Periods that were throttled.", lambda n: n.throttled_periods),
    Column("container_cpu_cfs_throttled_seconds_total", "Time spent throttled.", lambda n: n.throttled),
    Column("container_spec_cpu_quota", "CPU limit in microseconds a period; absent is none.", lambda n: n.quota),
    Column("container_spec_cpu_period", "Period of the CPU limit in microseconds.", lambda n: n.period),
    Column("container_threads", "Threads of all processes.", lambda n: n.threads),
    Column("container_threads_max", "Threads that may run; 0 is no limit.", lambda n: n.threads_limit),
)
_IO: tuple[Column[tuple[float, float]], ...] = (
    Column("container_fs_reads_bytes_total", "Bytes read from the device.", lambda found: found[0]),
    Column("container_fs_writes_bytes_total", "Bytes written to the device.", lambda found: found[1]),
)
