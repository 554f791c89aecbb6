"""Processes that run, found by their command lines in procfs; ours does not count."""

from __future__ import annotations

import os
import re

import psutil

from agent.config.checks import Process
from agent.health.check import Finding, healthy, unhealthy


class ProcessCheck:
    """How many processes match."""

    def __init__(self, rule: Process, procfs: str) -> None:
        self._rule = rule
        self._pattern = re.compile(rule.command_line)
        psutil.PROCFS_PATH = procfs  # the host's, where it is mounted in; the same for all checks

    def run(self) -> Finding:
        """Look through procfs; OSError where there is none."""
        rule = self._rule
        count = sum(map(self._matches, psutil.pids()))
        message = f"{count} processes match {rule.command_line!r}"
        if count < rule.at_least:
            hint = "with hidepid or ProtectProc= the processes of other users cannot be seen"
            return unhealthy(f"{message}, expected at least {rule.at_least}", hint=hint, value=count)
        if rule.at_most is not None and count > rule.at_most:
            return unhealthy(f"{message}, expected at most {rule.at_most}", value=count)
        return healthy(message, value=count)

    def _matches(self, pid: int) -> bool:
        if pid == os.getpid():
            return False
        try:
            line = psutil.Process(pid).cmdline()
        except psutil.Error:  # it ended meanwhile, is a zombie, or may not be seen
            return False
        return bool(self._pattern.search(" ".join(line)))
