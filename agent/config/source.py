"""Where settings come from: a TOML file, the environment, the command line. Nothing is converted here.

A setting's key is dotted (`rotation.max_size`); an entry of an array of tables has its number (`stream[0].match`).
Every key is checked against the schema, and an unknown one is an error that names its place and a near match.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agent.config.checks import KINDS, PLUGINS, Check
from agent.config.keys import concrete, entry, fields, kinds, known, near, table, unnumbered
from agent.config.lines import key_lines
from agent.config.schema import Config
from agent.kit.errors import ConfigError

PREFIX = "TELEMETRY_AGENT__"


class Setting(msgspec.Struct, frozen=True):
    """A value that somebody gave for a key."""

    key: str
    value: object
    origin: str
    """As it is shown: `file agent.toml:12`, `environment TELEMETRY_AGENT__..`, `--set`, `profile production`."""
    text: bool = False
    """The value is text to be read as the key's type, as in the environment."""


def fail(origin: str, key: str, problem: str, hint: str = "") -> ConfigError:
    """The error for `key`, found at `origin`."""
    place = origin.removeprefix("file ")
    return ConfigError(f"{place}: {key} {problem}" if key else f"{place}: {problem}", hint=hint)


# -- the file


def read_file(path: str) -> list[Setting]:
    """The settings of a TOML file, and one for each entry of an array of tables.

    Raises ConfigError when it cannot be read, is no TOML, or has an unknown key or a table in the wrong place.
    """
    try:
        text = Path(path).read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the configuration: {error.strerror}", path=path) from error
    except UnicodeDecodeError as error:
        raise ConfigError("the configuration is not UTF-8", path=path, position=error.start) from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(path, str(error)) from error
    lines = key_lines(text)
    return list(_walk(document, Config, "", lambda key: f"file {path}:{_line(lines, key)}"))


def _not_toml(path: str, message: str) -> ConfigError:
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if place is None:
        return fail(path, "", f"is not TOML: {message}")
    return fail(f"{path}:{place[1]}", "", f"is not TOML: {message[: place.start()]}, column {place[2]}")


def _line(lines: Mapping[str, int], key: str) -> int:
    """The line of a key; of a table without a header of its own, the first line that is about it."""
    return lines.get(key) or min(line for one, line in lines.items() if one.startswith((f"{key}.", f"{key}[")))


def _walk(
    values: Mapping[str, Any], struct: type[msgspec.Struct], prefix: str, origin: Callable[[str], str]
) -> Iterator[Setting]:
    for name, value in values.items():
        key = prefix + name
        annotation = fields(struct).get(name)
        if annotation is None:
            raise fail(origin(key), key, "is no known key", near(key))
        if below := table(annotation):
            if not isinstance(value, dict):
                raise fail(origin(key), key, "is not a table", f"write [{key}] on a line of its own")
            yield from _walk(value, below, f"{key}.", origin)
        elif below := entry(annotation):
            if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
                raise fail(origin(key), key, "is not an array of tables", f"write [[{key}]], once for each entry")
            for number, one in enumerate(value):
                place = f"{key}[{number}]"
                yield Setting(place, None, origin(place))
                if below is Check:
                    _check_kind(one.get("kind"), place, origin)
                yield from _walk(one, concrete(below, one.get("kind")), f"{place}.", origin)
        else:
            yield Setting(key, value, origin(key))


def _check_kind(kind: object, place: str, origin: Callable[[str], str]) -> None:
    """Raise ConfigError for a check of no kind, or of one that neither we nor an installed package has."""
    from difflib import get_close_matches
    from importlib.metadata import entry_points

    if kind is None:
        raise fail(origin(place), place, "has no kind", f"known are {', '.join(KINDS)}")
    if not isinstance(kind, str) or (kind not in KINDS and not entry_points(group=PLUGINS, name=kind)):
        close = get_close_matches(str(kind), KINDS, 1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(KINDS)}, and installed plug-ins"
        raise fail(origin(f"{place}.kind"), f"{place}.kind", f"is {kind!r}, which no package here provides", hint)


# -- the environment and the command line


def read_environment(environ: Mapping[str, str]) -> list[Setting]:
    """The settings in variables such as TELEMETRY_AGENT__ROTATION__MAX_SIZE; an unknown one is a ConfigError."""
    found = []
    for name in sorted(environ):
        if name.startswith(PREFIX):
            key = name.removeprefix(PREFIX).lower().replace("__", ".")
            found.append(_text_setting(key, environ[name], f"environment {name}"))
    return found


def read_overrides(overrides: Sequence[str]) -> list[Setting]:
    """The settings of `--set section.key=value`; an unknown key or a missing "=" is a ConfigError."""
    found = []
    for one in overrides:
        key, equals, value = one.partition("=")
        if not equals:
            raise ConfigError(f"--set {one}: no value", hint="write --set section.key=value")
        found.append(_text_setting(key.strip(), value, "--set"))
    return found


def _text_setting(key: str, value: str, origin: str) -> Setting:
    if key in kinds():
        return Setting(key, value, origin, text=True)
    if unnumbered(key) in known():
        raise fail(origin, key, "is a table or in an array of tables; such are only read from the file")
    raise fail(origin, key, "is no known key", near(key))
