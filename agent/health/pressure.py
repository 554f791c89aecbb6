"""How much of the last minute tasks waited for CPU, memory or I/O."""

from __future__ import annotations

from agent.config.checks import Pressure
from agent.health.check import Finding, unknown
from agent.health.limits import judge, percent
from agent.system import cgroup, pressure


class PressureCheck:
    """The host's stalls or the container's."""

    def __init__(self, rule: Pressure, procfs: str) -> None:
        self._rule = rule
        self._procfs = procfs

    def run(self) -> Finding:
        """Read the pressure files; ReadingError for content that psi.rst does not describe."""
        rule = self._rule
        found = {} if rule.scope == "host" else self._container()
        whose = "the container"
        if not found and rule.scope != "container":
            found, whose = pressure.host(self._procfs), "the host"
        stall = found.get(rule.resource, {}).get(rule.tasks)
        if stall is None:
            return unknown(f"no pressure information for {rule.resource}", hint="it needs Linux 4.20 and psi=1")
        share = stall.avg60 / 100
        message = f"{rule.tasks} tasks of {whose} waited for {rule.resource} {percent(share)} of the last minute"
        return judge(share, message, warn=rule.warn, critical=rule.critical, margin=rule.margin)

    def _container(self) -> pressure.Pressure:
        group = cgroup.locate(self._procfs)
        return pressure.container(group.directories[""]) if group and group.version == 2 else {}
