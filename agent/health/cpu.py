"""The busy share of all CPUs between two runs; the first run has the share since boot."""

from __future__ import annotations

from agent.config.checks import Cpu
from agent.health.check import Finding, unknown
from agent.health.limits import judge, percent
from agent.system import files, procstat
from agent.system.cpu import busy_percent
from agent.system.procstat import Times


class CpuCheck:
    """The machine's CPUs."""

    def __init__(self, rule: Cpu, procfs: str) -> None:
        self._rule = rule
        self._path = f"{procfs}/stat"
        self._before: Times = ()

    def run(self) -> Finding:
        """Read /proc/stat; ReadingError where that fails."""
        rule = self._rule
        times = files.load(self._path, procstat.parse).total
        busy = busy_percent(self._before, times)
        self._before = times
        if busy is None:
            return unknown("no CPU time passed since the run before")
        share = busy / 100
        return judge(share, f"{percent(share)} busy", warn=rule.warn, critical=rule.critical, margin=rule.margin)
