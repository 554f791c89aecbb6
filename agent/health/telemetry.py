"""The watched directory: there, the same one, writable, below its critical size."""

from __future__ import annotations

import os
import stat

from agent.health.check import Finding, healthy, unhealthy
from agent.health.surroundings import Surroundings
from agent.kit.words import size


class TelemetryCheck:
    """The directory that the agent works in."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._identity: tuple[int, int] | None = None

    def run(self) -> Finding:
        """Look at it, and at the newest snapshot. Raises AgentError while there is none."""
        path = self._around.directory
        try:
            info = os.stat(path)
        except OSError as error:
            return unhealthy(f"{path}: {error.strerror}", hint="make it again and restart the agent")
        if not stat.S_ISDIR(info.st_mode):
            return unhealthy(f"{path} is no directory", hint="make it again and restart the agent")
        self._identity = self._identity or (info.st_dev, info.st_ino)
        if self._identity != (info.st_dev, info.st_ino):
            return unhealthy(f"another directory lies at {path} now", hint="restart the agent")
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            return unhealthy(f"{path} may not be read and written by the agent's user")
        directory = self._around.status().directory
        if directory.critical:
            said = "; ".join(directory.problems) or f"{size(directory.total_bytes)} are above its critical size"
            return unhealthy(said, hint="give it more room, or lower the limits in [rotation] and [retention]")
        return healthy(f"{path} takes {size(directory.total_bytes)}", value=directory.total_bytes)
