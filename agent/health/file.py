"""One file: that it is there or not, fresh, and of a size."""

from __future__ import annotations

import os

from agent.config.checks import File
from agent.health.check import Finding, healthy, unhealthy
from agent.kit.clock import Clock
from agent.kit.units import Duration


class FileCheck:
    """One path; a link is followed."""

    def __init__(self, rule: File, clock: Clock) -> None:
        self._rule = rule
        self._clock = clock

    def run(self) -> Finding:
        """Look at it; OSError where that is not allowed."""
        rule = self._rule
        try:
            info = os.stat(rule.path)
        except (FileNotFoundError, NotADirectoryError):
            return unhealthy(f"{rule.path} does not exist") if rule.exists else healthy(f"{rule.path} does not exist")
        if not rule.exists:
            return unhealthy(f"{rule.path} exists")
        age = max(0.0, self._clock.now() - info.st_mtime)
        message = f"{rule.path}: {info.st_size} bytes, modified {Duration(round(age))} ago"
        if rule.max_age is not None and age > rule.max_age:
            return unhealthy(f"{message}, expected within {rule.max_age}", value=age)
        if rule.min_size is not None and info.st_size < rule.min_size:
            return unhealthy(f"{message}, expected at least {rule.min_size}", value=info.st_size)
        if rule.max_size is not None and info.st_size > rule.max_size:
            return unhealthy(f"{message}, expected at most {rule.max_size}", value=info.st_size)
        return healthy(message)
