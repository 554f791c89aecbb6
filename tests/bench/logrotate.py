"""The real logrotate, by its own configuration file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

_KEEP = 100_000


def configure(directory: Path, lines: Sequence[str]) -> Path:
    """Write a configuration for every *.json of `directory`; beside the directory, so that it is never rotated."""
    config = directory.with_suffix(".conf")
    rules = ["copytruncate", f"rotate {_KEEP}", "missingok", "nomail", *lines]
    body = "".join(f"    {line}\n" for line in rules)
    config.write_text(f"{directory}/*.json {{\n{body}}}\n", "utf-8")
    config.chmod(0o644)
    return config


def rotate(directory: Path, lines: Sequence[str]) -> float:
    """Rotate once, now; user and system seconds of logrotate and what it started."""
    config = configure(directory, lines)
    state = directory.with_suffix(".state")
    try:
        process = subprocess.Popen(["logrotate", "--force", "--state", str(state), str(config)])
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        config.unlink()
        state.unlink(missing_ok=True)
    if process.returncode:
        raise RuntimeError(f"logrotate ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime
