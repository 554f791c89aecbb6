"""Space and inodes in use on a file system, counted as df(1) does: what only root may use is not free."""

from __future__ import annotations

import os
from collections.abc import Callable

from agent.config.checks import Disk
from agent.health.check import Finding, unhealthy, worst
from agent.health.limits import judge, percent

_HINT = "free space, or lower the limits in [retention]"


class DiskCheck:
    """One file system."""

    def __init__(self, rule: Disk, statvfs: Callable[[str], os.statvfs_result] = os.statvfs) -> None:
        self._rule = rule
        self._statvfs = statvfs

    def run(self) -> Finding:
        """Ask the file system."""
        rule = self._rule
        try:
            info = self._statvfs(rule.path)
        except OSError as error:
            return unhealthy(f"{rule.path}: {error.strerror}", hint="is it mounted, and is the path right?")
        space = self._judge(info.f_blocks - info.f_bfree, info.f_bavail, "of the space")
        if not rule.inodes or not info.f_files:
            return space
        return worst(space, self._judge(info.f_files - info.f_ffree, info.f_favail, "of the inodes"))

    def _judge(self, used: int, available: int, of: str) -> Finding:
        rule = self._rule
        share = used / (used + available) if used + available else 0.0
        message = f"{percent(share)} {of} in use"
        return judge(share, message, warn=rule.warn, critical=rule.critical, margin=rule.margin, hint=_HINT)
