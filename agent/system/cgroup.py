"""The control group that this process lives in, which inside a container is the container.

Version 2 has one hierarchy, version 1 one for each controller; on a machine with both, version 1 counts where a
controller is in use there. The root of a hierarchy is the whole machine and never taken for a container: in version 2
it has no `cgroup.type`, in version 1 it alone has `release_agent` (cgroups(7), kernel Documentation/admin-guide).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, NamedTuple

from agent.system import files, mounts, procstat
from agent.system.mounts import Mount

_CONTROLLERS = ("memory", "cpu", "cpuacct", "pids", "blkio")
_UNLIMITED = float(1 << 62)
"""From here on a version 1 limit means none: the kernel rounds the largest number to pages."""
_MICRO = 1_000_000
_NANO = 1_000_000_000


class Cgroup(NamedTuple):
    """Where the group's files are."""

    version: Literal[1, 2]
    directories: Mapping[str, str]
    """By controller; version 2 has its one directory under the empty name."""


class Numbers(NamedTuple):
    """What the group's files say, in bytes and seconds; None for what they don't."""

    memory_usage: float | None = None
    memory_inactive_file: float | None = None
    memory_rss: float | None = None
    memory_limit: float | None = None
    """0 is no limit, as in cAdvisor."""
    memory_high_events: float | None = None
    memory_max_events: float | None = None
    oom_kills: float | None = None
    cpu_usage: float | None = None
    cpu_user: float | None = None
    cpu_system: float | None = None
    periods: float | None = None
    throttled_periods: float | None = None
    throttled: float | None = None
    quota: float | None = None
    """Microseconds of CPU time a period; None without a limit."""
    period: float | None = None
    threads: float | None = None
    threads_limit: float | None = None
    """0 is no limit, as in cAdvisor."""
    io: Mapping[str, tuple[float, float]] = {}
    """Bytes read and written, by `major:minor` of the device."""


def locate(procfs: str) -> Cgroup | None:
    """The group of this process; None where it lives in the root. ReadingError where proc does not tell."""
    table = files.load(f"{procfs}/self/mountinfo", mounts.parse)
    paths = files.load(f"{procfs}/self/cgroup", parse_membership)
    found = {}
    for controller in _CONTROLLERS:
        directory = _directory(table, "cgroup", controller, paths.get(controller))
        if directory and not os.path.exists(f"{directory}/release_agent"):
            found[controller] = directory
    if found:
        return Cgroup(1, found)
    directory = _directory(table, "cgroup2", "", paths.get(""))
    if directory and os.path.exists(f"{directory}/cgroup.type"):
        return Cgroup(2, {"": directory})
    return None


def parse_membership(text: str) -> dict[str, str]:
    """Parse /proc/self/cgroup, `4:cpu,cpuacct:/path`: the path by controller, version 2's under the empty name."""
    paths = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def _directory(table: list[Mount], fstype: str, controller: str, path: str | None) -> str | None:
    """Where `path` of a hierarchy is mounted: a mount shows what lies below its root (in a container: the group)."""
    if path is None:
        return None
    for mount in table:
        if mount.fstype == fstype and (not controller or controller in mount.super_options):
            root = mount.root.rstrip("/")
            if path == root or path.startswith(f"{root}/"):
                directory = (mount.point + path[len(root) :]).rstrip("/")
                if os.path.isdir(directory):
                    return directory
    return None


def read(cgroup: Cgroup) -> Numbers:
    """Read the group's files; one that is missing (its controller is off) leaves its numbers None."""
    return _read_2(cgroup.directories[""]) if cgroup.version == 2 else _read_1(cgroup.directories)


def _read_2(directory: str) -> Numbers:
    memory = files.read_keyed(f"{directory}/memory.stat")
    events = files.read_keyed(f"{directory}/memory.events")
    cpu = files.read_keyed(f"{directory}/cpu.stat")
    quota, period = files.load_optional(f"{directory}/cpu.max", parse_cpu_max) or (None, None)
    return Numbers(
        memory_usage=files.read_number(f"{directory}/memory.current"),
        memory_inactive_file=memory.get("inactive_file"),
        memory_rss=memory.get("anon"),
        memory_limit=_limit(f"{directory}/memory.max"),
        memory_high_events=events.get("high"),
        memory_max_events=events.get("max"),
        oom_kills=events.get("oom_kill"),
        cpu_usage=_seconds(cpu.get("usage_usec"), _MICRO),
        cpu_user=_seconds(cpu.get("user_usec"), _MICRO),
        cpu_system=_seconds(cpu.get("system_usec"), _MICRO),
        periods=cpu.get("nr_periods"),
        throttled_periods=cpu.get("nr_throttled"),
        throttled=_seconds(cpu.get("throttled_usec"), _MICRO),
        quota=quota,
        period=period,
        threads=files.read_number(f"{directory}/pids.current"),
        threads_limit=_limit(f"{directory}/pids.max"),
        io=files.load_optional(f"{directory}/io.stat", parse_io_stat) or {},
    )


def _read_1(directories: Mapping[str, str]) -> Numbers:
    # Nothing can be opened below /dev/null, so a controller that is not here leaves its numbers None.
    memory, cpu, account, pids, block = (directories.get(name, os.devnull) for name in _CONTROLLERS)
    stat = files.read_keyed(f"{memory}/memory.stat")
    throttling = files.read_keyed(f"{cpu}/cpu.stat")
    times = files.read_keyed(f"{account}/cpuacct.stat")
    quota = files.read_number(f"{cpu}/cpu.cfs_quota_us")
    return Numbers(
        memory_usage=files.read_number(f"{memory}/memory.usage_in_bytes"),
        memory_inactive_file=stat.get("total_inactive_file"),
        memory_rss=stat.get("total_rss"),
        memory_limit=_limit(f"{memory}/memory.limit_in_bytes"),
        oom_kills=files.read_keyed(f"{memory}/memory.oom_control").get("oom_kill"),
        cpu_usage=_seconds(files.read_number(f"{account}/cpuacct.usage"), _NANO),
        cpu_user=_seconds(times.get("user"), procstat.TICKS),
        cpu_system=_seconds(times.get("system"), procstat.TICKS),
        periods=throttling.get("nr_periods"),
        throttled_periods=throttling.get("nr_throttled"),
        throttled=_seconds(throttling.get("throttled_time"), _NANO),
        quota=quota if quota is not None and quota > 0 else None,
        period=files.read_number(f"{cpu}/cpu.cfs_period_us"),
        threads=files.read_number(f"{pids}/pids.current"),
        threads_limit=_limit(f"{pids}/pids.max"),
        io=files.load_optional(f"{block}/blkio.throttle.io_service_bytes_recursive", parse_blkio) or {},
    )


def parse_io_stat(text: str) -> dict[str, tuple[float, float]]:
    """Parse version 2's io.stat: `8:0 rbytes=1 wbytes=2 rios=3 ..`; a device without numbers is left out."""
    found = {}
    for line in text.splitlines():
        device, *fields = line.split()
        numbers = dict(field.split("=", 1) for field in fields if "=" in field)
        if "rbytes" in numbers and "wbytes" in numbers:
            found[device] = (float(int(numbers["rbytes"])), float(int(numbers["wbytes"])))
    return found


def parse_blkio(text: str) -> dict[str, tuple[float, float]]:
    """Parse version 1's `8:0 Read 1` and `8:0 Write 2`; other operations and the totals are left out."""
    found: dict[str, tuple[float, float]] = {}
    for line in text.splitlines():
        device, *fields = line.split()
        read, written = found.get(device, (0.0, 0.0))
        if fields[:1] == ["Read"]:
            found[device] = (float(int(fields[1])), written)
        elif fields[:1] == ["Write"]:
            found[device] = (read, float(int(fields[1])))
    return found


def parse_limit(text: str) -> float:
    """A limit, or 0 for none: `max` in version 2, a number that no machine reaches in version 1."""
    limit = _UNLIMITED if text.strip() == "max" else float(int(text))
    return 0.0 if limit >= _UNLIMITED else limit


def _limit(path: str) -> float | None:
    return files.load_optional(path, parse_limit)


def parse_cpu_max(text: str) -> tuple[float | None, float]:
    """`max 100000` or `50000 100000`: quota (None without a limit) and period in microseconds."""
    quota, period = text.split()
    return (None if quota == "max" else float(int(quota)), float(int(period)))


def _seconds(number: float | None, a_second: int) -> float | None:
    return None if number is None else number / a_second
