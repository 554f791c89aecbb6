"""`check-config`: what the configuration comes to, where each value is from, and what looks like a mistake."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import AsJson, ConfigFile, Overrides, WatchedDirectory, load
from agent.cli.output import grid, print_json, screen
from agent.kit.errors import ConfigError, every

if TYPE_CHECKING:
    from agent.config import Config, Loaded, Retention, Rotation, Web


def check_config(
    context: typer.Context,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
    json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")] = False,
    deny_warnings: Annotated[
        bool, typer.Option("--deny-warnings", help="Exit with 1 where there is a warning.")
    ] = False,
) -> None:
    """Print the effective configuration, each value with its origin, secrets hidden.

    A wrong configuration exits with 78 and says everything that is wrong and where; what is only odd is a warning.

    Example: telemetry-agent check-config --config agent.toml
    """
    from agent.config.loader import find
    from agent.config.render import effective

    try:
        loaded = load(context, config, overrides, directory)
        _try_out(loaded)
    except ConfigError as error:
        if json:
            errors = [{"what": one.what, "path": one.path, "hint": one.hint} for one in (error, *error.others)]
            path = find(config or context.obj.config, os.environ)
            print_json({"path": path, "keys": [], "warnings": [], "errors": errors})
        raise
    rows = effective(loaded)
    odd = list(warnings(loaded.config))
    if json:
        keys = [{"key": key, "value": value, "origin": origin} for key, value, origin in rows]
        print_json({"path": loaded.path, "keys": keys, "warnings": odd, "errors": []})
    else:
        if not quiet:
            _show(loaded.path, rows)
        for warning in odd:
            print(f"warning: {warning}", file=sys.stderr)
    if odd and deny_warnings:
        raise typer.Exit(1)


def _try_out(loaded: Loaded) -> None:
    """Make what only making shows to be wrong: checks, alerts, doors, destinations. Raises ConfigError."""
    from agent.alerts.build import build
    from agent.config import extras
    from agent.duties import forwards
    from agent.duties.vitals import rehearse
    from agent.kit.clock import SystemClock
    from agent.web.doors import read

    config, clock = loaded.config, SystemClock()
    makes: list[Callable[[], object]] = [
        lambda: extras.require(loaded),
        lambda: rehearse(config, clock),
        lambda: build(config, clock),
        lambda: read(config.web),
        lambda: forwards.rehearse(config, clock, os.environ),
    ]
    every(makes)


def _show(path: str, rows: list[tuple[str, str, str]]) -> None:
    console = screen()
    console.print(f"Configuration: {path or 'no file found, defaults'}")
    table = grid(console, "KEY", "ORIGIN", "VALUE")
    for key, value, origin in rows:
        table.add_row(key, origin, value, style="dim" if origin == "default" else "")
    console.print(table)


def warnings(config: Config) -> Iterator[str]:
    """What is allowed but hardly meant, as sentences."""
    directory = config.files.directory
    if not directory:
        yield "files.directory is not set: every command needs --directory, and run its DIR"
    elif os.path.exists(directory) and not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        yield f"files.directory: {directory} may not be read and written by this user"
    critical, total = config.files.critical_total, config.retention.max_total
    if critical is not None and total is not None and critical < total:
        yield (
            f"files.critical_total ({critical}) is smaller than retention.max_total ({total}): "
            "the directory is critical before retention has anything to do"
        )
    yield from _rules("", config.rotation, config.retention)
    for rule in config.stream:
        rotation, retention = rule.rotation or config.rotation, rule.retention or config.retention
        if rule.rotation or rule.retention:
            yield from _rules(f"stream {rule.match}: ", rotation, retention)
    address = config.web.address
    if address and address[0] not in ("localhost", "::1") and not address[0].startswith("127."):
        yield from _open_doors(config.web)


def _open_doors(web: Web) -> Iterator[str]:
    """What others may read or hear where the port is open to the network."""
    from agent.web.doors import read

    rules = read(web)
    file = rules.file.tls_server_config
    if rules.users is None and not (file and file.client_auth_type == "RequireAndVerifyClientCert"):
        yield f"web.listen ({web.listen}) is open to the network: anybody who reaches it may read metrics"
    if rules.tls is None and (rules.users or rules.token):
        yield f"web.listen ({web.listen}) is open to the network without TLS: passwords and the token can be overheard"


def _rules(where: str, rotation: Rotation, retention: Retention) -> Iterator[str]:
    if rotation.max_size is None and rotation.max_age is None and not rotation.schedule:
        yield f"{where}rotation has neither max_size nor max_age nor schedule: nothing is ever rotated by itself"
    if rotation.method == "copytruncate":
        yield f"{where}rotation.method copytruncate may lose records; in-place does not"
    limits = (retention.max_age, retention.max_total, retention.min_free)
    if not retention.keep and all(limit is None for limit in limits):
        yield f"{where}retention has no limit: segments fill the disk in time"
    size, total = rotation.max_size, retention.max_total
    if size is not None and total is not None and total < size:
        yield (
            f"{where}retention.max_total ({total}) is smaller than rotation.max_size ({size}): "
            "live data alone can pass it, and every segment is then deleted as soon as it is sealed"
        )
    if rotation.min_size and size is None:
        yield f"{where}rotation.min_size ({rotation.min_size}) without max_size: a slow stream may never be rotated"
    kept, interval = retention.max_age, rotation.max_age
    if kept is not None and interval is not None and kept < interval:
        yield (
            f"{where}retention.max_age ({kept}) is shorter than rotation.max_age ({interval}): "
            "for a part of the time a slow stream has no segment at all"
        )
