"""Where settings come from: a TOML file, the environment, the command line. Nothing is converted here.

A setting's key is dotted (`rotation.max_size`); an entry of an array of tables has its number (`stream[0].match`).
Every key is checked against the schema; one that is unknown is left out, and found with its place and a near match.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agent.config.checks import KINDS, PLUGINS, Check
from agent.config.findings import Findings, fail
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


# -- the file


def read_file(path: str, findings: Findings) -> list[Setting]:
    """The settings of a TOML file, and one for each entry of an array of tables.

    Finds unknown keys and tables in the wrong place. Raises ConfigError when it cannot be read or is no TOML.
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
    return list(_Walk(findings, lambda key: f"file {path}:{_line(lines, key)}").settings(document, Config, ""))


def _not_toml(path: str, message: str) -> ConfigError:
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if place is None:
        return fail(path, "", f"is not TOML: {message}")
    return fail(f"{path}:{place[1]}", "", f"is not TOML: {message[: place.start()]}, column {place[2]}")


def _line(lines: Mapping[str, int], key: str) -> int:
    """The line of a key; of a table without a header of its own, the first line that is about it."""
    return lines.get(key) or min(line for one, line in lines.items() if one.startswith((f"{key}.", f"{key}[")))


class _Walk:
    """Goes through a document beside the schema."""

    def __init__(self, findings: Findings, origin: Callable[[str], str]) -> None:
        self._findings = findings
        self._origin = origin

    def settings(self, values: Mapping[str, Any], struct: type[msgspec.Struct], prefix: str) -> Iterator[Setting]:
        """Those of a table, with all below it."""
        for name, value in values.items():
            key = prefix + name
            annotation = fields(struct).get(name)
            if annotation is None:
                self._find(key, "is no known key", near(key))
            elif below := table(annotation):
                if isinstance(value, dict):
                    yield from self.settings(value, below, f"{key}.")
                else:
                    self._find(key, "is not a table", f"write [{key}] on a line of its own")
            elif below := entry(annotation):
                yield from self._entries(value, below, key)
            else:
                yield Setting(key, value, self._origin(key))

    def _entries(self, value: object, struct: type[msgspec.Struct], key: str) -> Iterator[Setting]:
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            self._find(key, "is not an array of tables", f"write [[{key}]], once for each entry")
            return
        for number, one in enumerate(value):
            place = f"{key}[{number}]"
            if struct is not Check or self._has_kind(one.get("kind"), place):
                yield Setting(place, None, self._origin(place))
                yield from self.settings(one, concrete(struct, one.get("kind")), f"{place}.")

    def _has_kind(self, kind: object, place: str) -> bool:
        """False for a check of no kind, or of one that neither we nor an installed package has."""
        from difflib import get_close_matches
        from importlib.metadata import entry_points

        if kind is None:
            self._find(place, "has no kind", f"known are {', '.join(KINDS)}")
        elif not isinstance(kind, str) or (kind not in KINDS and not entry_points(group=PLUGINS, name=kind)):
            close = get_close_matches(str(kind), KINDS, 1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(KINDS)}, and installed plug-ins"
            self._find(f"{place}.kind", f"is {kind!r}, which no package here provides", hint)
        else:
            return True
        return False

    def _find(self, key: str, problem: str, hint: str) -> None:
        self._findings.add(self._origin(key), key, problem, hint)


# -- the environment and the command line


def read_environment(environ: Mapping[str, str], findings: Findings) -> list[Setting]:
    """The settings in variables such as TELEMETRY_AGENT__ROTATION__MAX_SIZE; finds unknown ones."""
    found = []
    for name in sorted(environ):
        if name.startswith(PREFIX):
            key = name.removeprefix(PREFIX).lower().replace("__", ".")
            found += _text_setting(key, environ[name], f"environment {name}", findings)
    return found


def read_overrides(overrides: Sequence[str], findings: Findings) -> list[Setting]:
    """The settings of `--set section.key=value`; finds unknown keys and a missing "="."""
    found = []
    for one in overrides:
        key, equals, value = one.partition("=")
        if equals:
            found += _text_setting(key.strip(), value, "--set", findings)
        else:
            findings.add(f"--set {one}", "", "no value", "write --set section.key=value")
    return found


def _text_setting(key: str, value: str, origin: str, findings: Findings) -> list[Setting]:
    if key in kinds():
        return [Setting(key, value, origin, text=True)]
    if unnumbered(key) in known():
        findings.add(origin, key, "is a table or in an array of tables; such are only read from the file")
    else:
        findings.add(origin, key, "is no known key", near(key))
    return []
