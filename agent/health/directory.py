"""What a directory takes on disk: allocated blocks of everything below it, each file once, links not followed."""

from __future__ import annotations

import os
from collections.abc import Iterator

from agent.config.checks import Directory
from agent.health.check import Finding, unhealthy
from agent.health.limits import judge
from agent.kit.units import Size


class DirectoryCheck:
    """One directory."""

    def __init__(self, rule: Directory) -> None:
        self._rule = rule

    def run(self) -> Finding:
        """Add it up; what vanishes meanwhile does not count."""
        rule = self._rule
        if not os.path.isdir(rule.path):
            return unhealthy(f"{rule.path} is no directory, or may not be seen")
        total = sum({(info.st_dev, info.st_ino): info.st_blocks * 512 for info in _below(rule.path)}.values())
        message = f"{rule.path} takes {Size(total)}"
        return judge(total, message, warn=rule.warn, critical=rule.critical, margin=rule.margin)


def _below(path: str) -> Iterator[os.stat_result]:
    for place, _, names in os.walk(path):
        for name in names:
            try:
                yield os.lstat(os.path.join(place, name))
            except OSError:
                continue
