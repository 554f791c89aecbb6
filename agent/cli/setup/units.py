"""The systemd units of the project, fitted to one place. Nothing here touches the machine.

The unit files are those of the project's `systemd/`, reached by the link beside this module; what fits them to a
place is a drop-in, so that an administrator sees the difference (systemd.unit(5)).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from agent.cli.setup.place import Place, settings
from agent.cli.setup.plan import Plan, Written
from agent.kit.errors import AgentError

SHIPPED = Path(__file__).with_name("shipped")
EXECUTABLE = "/usr/bin/telemetry-agent"
"""Where the unit files expect the program; replaced by where it is."""

_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - compared with, never written to


def installation(place: Place, *, root: str = "/", timer: bool = False, extra: tuple[str, ...] = ()) -> Plan:
    """Everything that makes a service, or with `timer` a periodic job, of the agent for this place.

    With a `root` other than `/` the units are installed into that image: enabled, not started. `extra` names
    drop-ins that are shipped. Raises AgentError for an unknown name or a path that no unit can hold.
    """
    _refuse(place.writable)
    service = "telemetry-agent-cleanup.service" if timer else "telemetry-agent.service"
    names = [service, "telemetry-agent-cleanup.timer"] if timer else [service]
    home = os.path.join(root, "etc/systemd/system")
    wanted = dict.fromkeys([*(["root"] if place.uid == 0 else []), *extra])
    files = [Written(os.path.join(home, name), _unit(name)) for name in names]
    files.append(Written(os.path.join(home, f"{service}.d", "10-directory.conf"), directory_drop_in(place)))
    files += [Written(os.path.join(home, f"{service}.d", f"20-{name}.conf"), _drop_in(name)) for name in wanted]
    if not place.configured:
        files.append(Written(settings(root), _configuration(place)))
    return Plan(tuple(files), tuple(_commands(names[-1], root)), tuple(_notes(place)))


def directory_drop_in(place: Place) -> str:
    """The drop-in that lets the unit work in this place, as its owner."""
    lines = ["# Written by `telemetry-agent setup systemd`; it is written anew each time.", "[Unit]"]
    lines += [f"RequiresMountsFor={_word(path)}" for path in place.writable]
    lines += ["", "[Service]"]
    if place.uid:
        lines += ["DynamicUser=no", f"User={place.user}", f"Group={place.gid}"]
        # A user namespace of the unit's own knows this user and this group: other groups cannot be given to segments.
        lines += ["PrivateUsers=no"] if place.groups else []
    lines += _reached(place.writable)
    return "\n".join(lines) + "\n"


def executable() -> str:
    """The program of this installation."""
    return os.path.join(sys.prefix, "bin", "telemetry-agent")


def _reached(writable: tuple[str, ...]) -> Iterator[str]:
    """The paths to write in, and those that ProtectHome and PrivateTmp hide: the program may be there too.

    A path that is bound back is writable by that; naming it in ReadWritePaths as well fails, it is not there yet.
    """
    program = dict.fromkeys([sys.prefix, sys.base_prefix])
    if any(_below(path, _HOMES) for path in (*writable, *program)):
        yield "ProtectHome=tmpfs"
    for path in writable:
        hidden = _below(path, (*_HOMES, *_TEMPORARY))
        yield f"BindPaths={_source(path)}" if hidden else f"ReadWritePaths={_word(path)}"
    for path in program:
        if _below(path, (*_HOMES, *_TEMPORARY)):
            yield f"BindReadOnlyPaths={_source(path)}"


def _below(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _unit(name: str) -> str:
    return (SHIPPED / name).read_text("utf-8").replace(EXECUTABLE, _word(executable()))


def _drop_in(name: str) -> str:
    known = sorted(file.stem for file in (SHIPPED / "drop-ins").glob("*.conf"))
    if name not in known:
        raise AgentError(f"no drop-in is called {name!r}", hint=f"there are: {', '.join(known)}")
    return (SHIPPED / "drop-ins" / f"{name}.conf").read_text("utf-8")


def _notes(place: Place) -> Iterator[str]:
    if place.uid == 0:
        yield f"it runs as root, with four capabilities: {place.why}"
    if place.intruder:
        word = "the configuration trusts them" if not place.configured else "the configuration must trust them"
        yield f'{place.intruder}: {word} by [agent] user = "root"'


def _configuration(place: Place) -> str:
    return (
        "# Written by `telemetry-agent setup systemd`. Every key and its default: `telemetry-agent check-config`.\n"
        f"[files]\ndirectory = {json.dumps(place.directory, ensure_ascii=False)}\n"
    ) + (f'[agent]\nuser = "root"  # trusted: {place.intruder}\n' if place.intruder else "")


def _commands(unit: str, root: str) -> Iterator[tuple[str, ...]]:
    if root != "/":
        yield "systemctl", f"--root={root}", "enable", unit
        return
    yield "systemctl", "daemon-reload"
    yield "systemctl", "enable", unit
    # Also where it runs already: what is new in the unit then counts.
    yield "systemctl", "restart", unit


def _word(path: str) -> str:
    """One word of a unit file: `%` begins a specifier, blanks end a word (systemd.syntax(7))."""
    escaped = path.replace("%", "%%")
    return f'"{escaped}"' if " " in escaped else escaped


def _source(path: str) -> str:
    """The source of a bind mount as a word: a colon would end it."""
    return _word(path).replace(":", "\\:")


def _refuse(paths: tuple[str, ...]) -> None:
    """Line breaks would be directives; quotes and backslashes mean different things to different directives."""
    for path in paths:
        if not path.isprintable() or set(path) & set("\\\"';"):
            raise AgentError("a unit file cannot hold this path", path=path, hint="rename the directory")
