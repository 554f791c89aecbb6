"""The commands: one file a command group; each parses, calls control and prints.

Exit codes, the same for every command:

| code | meaning |
|---|---|
| 0 | done |
| 1 | a finding, or the command failed |
| 2 | the command line is wrong |
| 75 | try again later: the directory is locked, or the agent cannot be reached (EX_TEMPFAIL, sysexits.h) |
| 78 | the configuration is wrong (EX_CONFIG, sysexits.h) |
| 130 | interrupted (128 + SIGINT, as a shell counts) |

`health` alone has those of monitoring plug-ins: 0 healthy, 1 degraded, 2 unhealthy, 3 unknown.

Importing this package imports nothing else, and starting a command imports only what that command needs: start-up
time is a promise, and the agent itself is one of the commands.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.kit.errors import AgentError

OK = 0
FAILED = 1
UNAVAILABLE = 75
BAD_CONFIG = 78


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return its exit code.

    What typer itself ends (help, usage errors, `typer.Exit`) leaves as SystemExit with the code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    from agent.cli.quick import read, run

    said = read(words)
    if said is None:
        return _typed(words)
    if said.probe:
        from agent.cli.probe import probe

        return _guarded(lambda: probe(said.config, said.overrides, said.directory), lambda: False)
    return _guarded(lambda: run(said), lambda: False)


def _typed(words: Sequence[str]) -> int:
    from agent.cli.commands import app
    from agent.cli.options import Invocation

    invocation = Invocation()

    def act() -> int:
        app(words, prog_name="telemetry-agent", obj=invocation)
        return OK

    return _guarded(act, lambda: invocation.debug)


def _guarded(act: Callable[[], int], debugging: Callable[[], bool]) -> int:
    """Do it; an error is told in a sentence, or shown whole when that was asked for."""
    try:
        return act()
    except Exception as error:
        if debugging():
            raise
        from agent.kit.errors import AgentError

        if isinstance(error, AgentError):
            return _tell(error)
        print(_unexpected(error), file=sys.stderr)
        return FAILED


def _tell(error: AgentError) -> int:
    from agent.cli.output import explain
    from agent.cli.reach import UnreachableError
    from agent.kit.errors import ConfigError, LockedError

    print(explain(error), file=sys.stderr)
    if isinstance(error, ConfigError):
        return BAD_CONFIG
    return UNAVAILABLE if isinstance(error, LockedError | UnreachableError) else FAILED


def _unexpected(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"error: {error}\n hint: telemetry-agent --debug COMMAND shows where this happened"
    name = type(error).__name__
    return f"error: unexpected {name}: {error}\n hint: this is a defect; telemetry-agent --debug COMMAND shows it whole"
