"""Load average over five minutes for each CPU."""

from __future__ import annotations

from agent.config.checks import Load
from agent.health.check import Finding
from agent.health.limits import judge
from agent.system import files, procstat
from agent.system.processes import parse_load


class LoadCheck:
    """The machine's load."""

    def __init__(self, rule: Load, procfs: str) -> None:
        self._rule = rule
        self._procfs = procfs

    def run(self) -> Finding:
        """Read loadavg and count CPUs in stat; ReadingError where that fails."""
        rule = self._rule
        load = files.load(f"{self._procfs}/loadavg", parse_load)
        cpus = max(1, len(files.load(f"{self._procfs}/stat", procstat.parse).cpus))
        each = load.five / cpus
        message = f"{load.five:g} tasks on {cpus} CPUs over 5 minutes"
        return judge(each, message, warn=rule.warn, critical=rule.critical, margin=rule.margin)
