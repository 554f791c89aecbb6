"""The plain forms of `run` and `health --probe`, read without typer.

The one is the process that stays, the other is started every few seconds, and typer with what it needs costs a fifth of
a second and 10 MiB. What is read here means exactly what typer would have understood; whatever is not plain (help, a
mistake, an unknown option) is None, and typer answers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

_OPTIONS = {"--config": "config", "-c": "config", "--set": "overrides", "--directory": "directory", "-d": "directory"}
_COMMANDS = ("run", "health")


class Said:
    """What a plain command line says. Not a dataclass: to import what makes one takes a health check's time."""

    def __init__(self) -> None:
        self.command = ""
        self.config: str | None = None
        self.overrides: list[str] = []
        self.directory: str | None = None
        self.probe = False


def read(words: Sequence[str]) -> Said | None:
    """The command line of `run` or `health --probe`, or None when typer must read it."""
    said, places = Said(), 0
    rest = iter(words)
    for word in rest:
        name, joined, value = word.partition("=") if word.startswith("--") else (word, "", "")
        option = _OPTIONS.get(name)
        if option is not None:
            given = value if joined else next(rest, None)
            # `run` takes the directory as a word of its own.
            if given is None or (said.command == "run" and option == "directory"):
                return None
            if option == "overrides":
                said.overrides.append(given)
            else:
                setattr(said, option, given)
        elif said.command == "health" and word == "--probe":
            said.probe = True
        elif said.command == "run" and not word.startswith("-") and not places:
            said.directory, places = word or said.directory, 1
        elif not said.command and word in _COMMANDS:
            said.command = word
        else:
            return None
    return said if said.command == "run" or said.probe else None


def run(said: Said) -> int:
    """Run the agent in the foreground; the exit status. Raises AgentError when it cannot start."""
    from agent import app, config

    loaded = config.load(said.config, environ=os.environ, overrides=said.overrides, directory=said.directory)
    config.require_directory(loaded.config)
    return app.run(loaded)
