"""How much memory this process may use, and how much of that is gone: what an out-of-memory kill goes by.

Page cache of files does not count: the kernel takes it back before it kills. What stays is anonymous memory, tmpfs
and the kernel's own. The limit of a group holds for everything below it, so the groups above ours count too, as far
as they can be seen (a container sees its own alone).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from agent.system import cgroup, files
from agent.system.cgroup import Cgroup
from agent.system.files import ReadingError

_V1 = ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file", "total_active_file")
_V2 = ("memory.current", "memory.max", "inactive_file", "active_file")


class Memory(NamedTuple):
    """Use against the limit that is nearest to being reached, in bytes."""

    used: int
    limit: int
    """0: there is none, and `used` is this process's."""
    source: str
    """Which limit this is, for people."""

    @property
    def share(self) -> float:
        """How much of the limit is used; 0 without one."""
        return self.used / self.limit if self.limit else 0.0


class MemoryReader:
    """Reads use and limit afresh each time: the limit of a running container can be changed."""

    def __init__(self, own_limit: int = 0, procfs: str = "/proc") -> None:
        """`own_limit` (`agent.memory_limit`, 0: none) is held against this process's own memory."""
        self._own = int(own_limit)  # a Size is no number to JSON
        self._procfs = procfs
        try:
            self._group = cgroup.locate(procfs)
        except ReadingError:  # no proc, no groups: the own limit still holds
            self._group = None

    def read(self) -> Memory:
        """Never raises: what cannot be read gives no limit."""
        try:
            found = list(levels(self._group)) if self._group else []
        except ReadingError:
            found = []
        if self._own or not found:
            found.append(Memory(self.resident(), self._own, "agent.memory_limit" if self._own else "none"))
        return max(found, key=lambda one: one.share)

    def resident(self) -> int:
        """Bytes of this process in memory without what it only maps from files (proc(5), `statm`)."""
        text = files.read_optional(f"{self._procfs}/self/statm")
        try:
            _, total, shared = (int(word) for word in (text or "").split()[:3])
        except ValueError:
            return 0
        return (total - shared) * os.sysconf("SC_PAGESIZE")

    def cpus(self) -> float | None:
        """CPUs that the group may use; None without a limit, or where it cannot be read."""
        try:
            numbers = cgroup.read(self._group) if self._group else None
        except ReadingError:
            return None
        return numbers.quota / numbers.period if numbers and numbers.quota and numbers.period else None


def levels(group: Cgroup) -> Iterator[Memory]:
    """The group and those above it, as far as they limit memory. ReadingError where a file is not understood."""
    current, maximum, inactive, active = _V2 if group.version == 2 else _V1
    directory = group.directories.get("" if group.version == 2 else "memory", "")
    while os.path.exists(f"{directory}/cgroup.procs") and not _is_root(directory):
        # Without a file its controller is off at this level, not above.
        limit = files.load_optional(f"{directory}/{maximum}", cgroup.parse_limit)
        if limit:
            used = files.read_number(f"{directory}/{current}") or 0.0
            stat = files.read_keyed(f"{directory}/memory.stat")
            cache = stat.get(inactive, 0.0) + stat.get(active, 0.0)
            yield Memory(int(max(0.0, used - cache)), int(limit), f"cgroup v{group.version} {directory}")
        directory = os.path.dirname(directory)


def _is_root(directory: str) -> bool:
    """True for the root of a version 1 hierarchy, whose limit is the machine's. Version 2's root has no limit file."""
    return os.path.exists(f"{directory}/release_agent")
