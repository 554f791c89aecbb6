"""The crontab line for those who want the classic job."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from agent.cli.setup.units import executable


def line(directory: str, config_path: str, overrides: Sequence[str]) -> str:
    """`cleanup` every five minutes with the same configuration as this command line.

    Its table goes nowhere, its errors to cron's mail. `%` would end the command (crontab(5)).
    """
    command = [executable(), "cleanup", "--directory", directory]
    # cron starts it in the user's home, not here
    command += ["--config", os.path.abspath(config_path)] if config_path else []
    for override in overrides:
        command += ["--set", override]
    return f"*/5 * * * * {shlex.join(command)} >/dev/null".replace("%", "\\%")
