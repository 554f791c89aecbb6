"""The options every command shares, usable before or after the command's name.

Said twice, the one after the name wins; `--set` adds up, and the last value of a key wins.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from agent.config import Loaded

ConfigFile = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="FILE", help="The configuration file.", rich_help_panel="Configuration"),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one key, as in rotation.max_size=1MB; repeatable.",
        rich_help_panel="Configuration",
    ),
]
WatchedDirectory = Annotated[
    str | None,
    typer.Option(
        "--directory",
        "-d",
        metavar="DIR",
        help="The watched directory, instead of files.directory.",
        rich_help_panel="Configuration",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@dataclass
class Invocation:
    """What was said before the command's name; main makes it, the callback of the program fills it."""

    config: str | None = None
    overrides: list[str] = field(default_factory=list)
    directory: str | None = None
    debug: bool = False


def load(
    context: typer.Context, config: str | None, overrides: Sequence[str] | None, directory: str | None = None
) -> Loaded:
    """The configuration this command line asks for. Raises ConfigError."""
    from agent import config as configuration

    before: Invocation = context.obj
    return configuration.load(
        config or before.config,
        environ=os.environ,
        overrides=[*before.overrides, *(overrides or ())],
        directory=directory or before.directory,
    )


def load_managed(
    context: typer.Context, config: str | None, overrides: Sequence[str] | None, directory: str | None = None
) -> Loaded:
    """As `load`, for a command that needs to know the watched directory. Raises ConfigError where none is named."""
    from agent.config import require_directory

    loaded = load(context, config, overrides, directory)
    require_directory(loaded.config)
    return loaded
