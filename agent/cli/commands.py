"""The command line as a whole: which commands there are, and what stands before their names."""

from __future__ import annotations

from typing import Annotated

import typer

from agent import __version__
from agent.cli import (
    alerts,
    audit,
    cat,
    change,
    check,
    cursors,
    deadletters,
    demo,
    generate,
    health,
    rehearse,
    run,
    setup,
    status,
    support,
    top,
    verify,
)
from agent.cli.options import ConfigFile, Invocation, Overrides, WatchedDirectory

_EXIT_CODES = """Exit codes: 0 done; 1 a finding, or failed; 2 wrong command line; 75 try again later (the directory is
locked, or the agent cannot be reached); 78 wrong configuration; 130 interrupted.

Configuration: --config, else $TELEMETRY_AGENT_CONFIG, ./agent.toml, /etc/telemetry-agent/agent.toml."""

app = typer.Typer(
    help="Rotates, compresses and keeps telemetry files that somebody else is writing, and loses no record.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    # Errors are ours to print: one sentence, not a picture of the stack.
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"telemetry-agent {__version__}")
        raise typer.Exit


@app.callback()
def program(
    context: typer.Context,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show errors with their traceback.")] = False,
    version: Annotated[  # noqa: ARG001 - the callback has answered before this body runs
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Keep what was said before the command's name."""
    invocation: Invocation = context.obj
    invocation.config = config
    invocation.overrides = list(overrides or ())
    invocation.directory = directory
    invocation.debug = debug


_COMMANDS = (
    run.run,
    status.status,
    top.top,
    change.rotate,
    change.cleanup,
    verify.verify,
    cat.cat,
    audit.audit,
    change.reload,
    check.check_config,
    health.health,
    alerts.alerts,
    demo.demo,
    generate.generate,
    support.support,
)
for _command in _COMMANDS:
    app.command(epilog=_EXIT_CODES.partition("\n\n")[0])(_command)
app.add_typer(setup.app, name="setup")
app.add_typer(cursors.app, name="cursors", epilog=_EXIT_CODES.partition("\n\n")[0])
app.add_typer(rehearse.app, name="rehearse", epilog=_EXIT_CODES.partition("\n\n")[0])
app.add_typer(deadletters.app, name="dead-letters", epilog=_EXIT_CODES.partition("\n\n")[0])
