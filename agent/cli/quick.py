"""The plain forms of `run`, read without typer.

The agent is the process that stays, and typer with what it needs costs a fifth of a second and 10 MiB. What is read
here means exactly what typer would have understood; whatever is not plain (help, a mistake, an unknown option) is None,
and typer answers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

_OPTIONS = {"--config": "config", "-c": "config", "--set": "overrides", "--directory": "directory", "-d": "directory"}
_ONLY_BEFORE = "directory"


@dataclass
class Said:
    """What a plain command line of `run` says."""

    config: str | None = None
    overrides: list[str] = field(default_factory=list)
    directory: str | None = None


def read(words: Sequence[str]) -> Said | None:
    """The command line of `run`, or None when typer must read it."""
    said, running, places = Said(), False, 0
    rest = iter(words)
    for word in rest:
        name, joined, value = word.partition("=") if word.startswith("--") else (word, "", "")
        option = _OPTIONS.get(name)
        if option is not None:
            given = value if joined else next(rest, None)
            if given is None or (running and option == _ONLY_BEFORE):
                return None
            if option == "overrides":
                said.overrides.append(given)
            else:
                setattr(said, option, given)
        elif word.startswith("-") or (running and places):
            return None
        elif running:
            said.directory, places = word or said.directory, 1
        elif word == "run":
            running = True
        else:
            return None
    return said if running else None


def run(said: Said) -> int:
    """Run the agent in the foreground; the exit status. Raises AgentError when it cannot start."""
    from agent import app, config

    loaded = config.load(said.config, environ=os.environ, overrides=said.overrides, directory=said.directory)
    config.require_directory(loaded.config)
    return app.run(loaded)
