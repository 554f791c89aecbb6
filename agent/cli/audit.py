"""`audit`: the trail of everything the agent did to data, or saw happen to it."""

from __future__ import annotations

import json as codec
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.options import ConfigFile, Overrides, WatchedDirectory, load_managed
from agent.cli.since import Since
from agent.kit.errors import AgentError, printable
from agent.kit.words import moment, size

if TYPE_CHECKING:
    from agent.kit.disk import Directory


def audit(
    context: typer.Context,
    stream: Annotated[
        str | None, typer.Option("--stream", metavar="STREAM", help="Only what concerns this stream.")
    ] = None,
    since: Since = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more, until interrupted.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the entries as they are, one JSON object a line.")
    ] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
) -> None:
    """Show each seal, release, deletion, loss, quarantine, refusal, reload and moved cursor, oldest first.

    Example: telemetry-agent audit --since 1h --stream traces.json
    """
    from agent import audit as trail
    from agent.cli.tail import tail, wait

    managed = load_managed(context, config, overrides, directory).config
    after = None if since is None else time.time() - since
    with _open(managed.state_path) as state:
        entries = tail(state, wait) if follow else trail.read(state)
        for entry in entries:
            if _wanted(entry, stream, after):
                print(_as_json(entry) if json else line(entry), flush=follow)


def _open(path: str) -> Directory:
    from agent.kit.disk import Directory

    try:
        return Directory.open(path)
    except FileNotFoundError:
        raise AgentError(
            "there is no audit trail yet",
            path=path,
            hint="the agent makes it at its first start; is this its directory?",
        ) from None
    except PermissionError:
        raise AgentError(
            "the state directory may not be read", path=path, hint="run this as the agent's user, or as root"
        ) from None


def _wanted(entry: dict[str, Any], stream: str | None, after: float | None) -> bool:
    if stream is not None and entry.get("stream") != stream:
        return False
    return after is None or float(entry.get("time", 0)) >= after


def _as_json(entry: Any) -> str:
    return codec.dumps(entry, separators=(",", ":"))


def line(entry: dict[str, Any]) -> str:
    """One entry for people: when, what, which stream, why, then everything else as key=value."""
    rest = {key: value for key, value in entry.items() if key not in ("time", "event", "stream", "reason")}
    details = " ".join(f"{key}={_detail(key, value)}" for key, value in rest.items())
    event, stream, reason = (printable(str(entry.get(key, ""))) for key in ("event", "stream", "reason"))
    told = f"{moment(float(entry.get('time', 0)))}  {event:<11} {stream}"
    if reason:
        told += f" ({reason})"
    return f"{told}  {details}".rstrip()


def _detail(key: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and key.endswith("bytes"):
        return size(value).replace(" ", "")
    return printable(str(value)) if isinstance(value, str) else _as_json(value)
