"""`support`: everything that helps to find a fault, in one archive without secrets."""

from __future__ import annotations

import io
import json as codec
import os
import platform
import tarfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from agent import __version__
from agent.cli.options import ConfigFile, Overrides, WatchedDirectory, load_managed
from agent.kit.errors import AgentError, printable

if TYPE_CHECKING:
    from agent.config import Loaded
    from agent.web.remote import RemoteControl

_AUDITED = 1000
"""Entries of the audit trail, the newest ones."""
_EXPLAINED = """\
A support bundle of telemetry-agent. No record and no live file is in it. The values of secret keys of the
configuration, and what looks like a credential, stand as (secret) wherever they were. Names of files and streams are
in it.

"""


def support(
    context: typer.Context,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="The archive, ending in .tar.gz.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, max=600, help="Time between the two readings of the metrics.")
    ] = 5.0,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
) -> None:
    """Collect what helps to find a fault into one archive, without secrets.

    In it are configuration, status, health, metrics twice, the last audit entries and log lines, stacks and versions.
    Look into it before you hand it on.

    Example: telemetry-agent support --output /tmp/telemetry-agent.tar.gz
    """
    from agent.config.secrets import secret_texts
    from agent.kit.disk import Directory, write_atomic
    from agent.sinks.hiding import Hider

    loaded = load_managed(context, config, overrides, directory)
    hide = Hider(secret_texts(loaded.config), _variables(loaded.config.state_path))
    path = os.path.abspath(output or time.strftime("telemetry-agent-support-%Y%m%d-%H%M%S.tar.gz", time.gmtime()))
    members = {name: hide(text) for name, text in _members(loaded, seconds)}
    try:
        with Directory.open(os.path.dirname(path)) as target:
            write_atomic(target, os.path.basename(path), _archive(members), 0o600)
    except OSError as error:
        raise AgentError(f"cannot write the bundle: {error.strerror or error}", path=path) from error
    print(f"wrote {printable(path)}")
    for name, text in members.items():
        print(f"  {name:20} {len(text.encode()):>9} bytes")


def _variables(state: str) -> dict[str, str]:
    """What references may stand for: the variables of the running agent, which may have others than this command."""
    from agent.web.remote import RemoteControl

    found = dict(os.environ)
    try:
        with open(f"/proc/{RemoteControl(state).status().pid}/environ", "rb") as file:
            pairs = file.read().split(b"\0")
    except (AgentError, OSError):
        return found
    return found | {os.fsdecode(name): os.fsdecode(value) for name, _, value in (one.partition(b"=") for one in pairs)}


def _members(loaded: Loaded, seconds: float) -> Iterator[tuple[str, str]]:
    """Name and content of every file; what cannot be had is told in README.txt, which comes last."""
    from agent.web.remote import RemoteControl

    missing: list[str] = []
    agent = RemoteControl(loaded.config.state_path)
    running = _runs(agent, missing)
    parts = chain(_always(loaded), _of_the_running(agent, seconds) if running else _of_files(loaded))
    for name, make in parts:
        try:
            yield name, make()
        except (AgentError, OSError) as error:
            missing.append(f"{name} is missing: {error}")
    yield "README.txt", _EXPLAINED + "".join(f"{line}\n" for line in missing)


def _runs(agent: RemoteControl, missing: list[str]) -> bool:
    try:
        if agent.listens():
            return True
        missing.append("No agent runs: metrics, log lines and stacks are missing, the others are from files.")
    except AgentError as error:
        missing.append(f"The agent was not asked: {error}")
    return False


def _always(loaded: Loaded) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "versions.json", _versions
    yield "configuration.json", lambda: _configuration(loaded)
    yield "audit.jsonl", lambda: _audit(loaded.config.state_path)


def _of_the_running(agent: RemoteControl, seconds: float) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "metrics-1.txt", agent.metrics
    yield "in-force.json", lambda: _json(agent.configuration())
    yield "status.json", lambda: _json(agent.status())
    yield "health.json", lambda: _json(agent.health())
    yield "log.txt", lambda: "".join(f"{line}\n" for line in agent.inside().log)
    yield "stacks.txt", lambda: "\n".join(agent.inside().stacks)

    def again() -> str:
        time.sleep(seconds)
        return agent.metrics()

    yield "metrics-2.txt", again


def _of_files(loaded: Loaded) -> Iterator[tuple[str, Callable[[], str]]]:
    from agent.cli import reach

    yield "status.json", lambda: _json(reach.status(loaded.config, loaded.path))
    yield "health.json", lambda: _json(reach.health(loaded.config))


def _versions() -> str:
    from importlib.metadata import distributions

    found = {
        "telemetry-agent": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "packages": dict(sorted((one.name, one.version) for one in distributions())),
    }
    return codec.dumps(found, indent=2) + "\n"


def _configuration(loaded: Loaded) -> str:
    from agent.config.render import effective

    keys = [{"key": key, "value": value, "origin": origin} for key, value, origin in effective(loaded)]
    return _json({"path": loaded.path, "keys": keys})


def _audit(state: str) -> str:
    from agent import audit
    from agent.kit.disk import Directory

    with Directory.open(state) as directory:
        newest = deque(audit.read(directory), maxlen=_AUDITED)
    return "".join(codec.dumps(entry) + "\n" for entry in newest)


def _json(value: object) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def _archive(members: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in members.items():
            content = text.encode("utf-8", "surrogateescape")
            entry = tarfile.TarInfo(f"telemetry-agent/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()
