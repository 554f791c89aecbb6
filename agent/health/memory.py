"""Memory in use: of the machine, or of the own container against its limit, never one taken for the other."""

from __future__ import annotations

from agent.config.checks import Memory
from agent.health.check import Finding, unknown
from agent.health.limits import judge, percent
from agent.system import cgroup, container, files, memory


class MemoryCheck:
    """The host's memory or the container's."""

    def __init__(self, rule: Memory, procfs: str) -> None:
        self._rule = rule
        self._procfs = procfs

    def run(self) -> Finding:
        """Read meminfo or the control group; ReadingError where proc is not what it should be."""
        rule = self._rule
        share = None if rule.scope == "host" else self._container()
        whose = "the container's limit"
        if share is None and rule.scope == "container":
            return unknown("this process is in no control group with a memory limit", hint='use scope = "host"')
        if share is None:
            share, whose = self._host(), "the host's memory"
        message = f"{percent(share)} of {whose} in use"
        return judge(share, message, warn=rule.warn, critical=rule.critical, margin=rule.margin)

    def _container(self) -> float | None:
        group = cgroup.locate(self._procfs)
        numbers = cgroup.read(group) if group else None
        used = container.working_set(numbers) if numbers else None
        if numbers is None or used is None or not numbers.memory_limit:
            return None
        return used / numbers.memory_limit

    def _host(self) -> float:
        info = files.load(f"{self._procfs}/meminfo", memory.parse)
        return 1.0 - memory.available(info) / info["MemTotal"].value
