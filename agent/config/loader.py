"""The configuration from all its sources: defaults < profile < file < environment < `--set` < `run DIR`.

Whatever is wrong is a ConfigError that names its place, the key, and what would be right; a configuration is loaded
whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from agent.config.build import build
from agent.config.check import problems
from agent.config.findings import Findings, where
from agent.config.keys import kind_of, kinds
from agent.config.schema import PROFILES, Config
from agent.config.source import Setting, read_environment, read_file, read_overrides
from agent.config.standard import read_standard
from agent.kit.errors import ConfigError

PATH_VARIABLE = "TELEMETRY_AGENT_CONFIG"
SEARCH = ("agent.toml", "/etc/telemetry-agent/agent.toml")
"""Where the file is looked for when neither `--config` nor PATH_VARIABLE names one."""


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration and where it came from."""

    config: Config
    path: str
    """The file, or empty when there is none: the defaults are fine."""
    origins: Mapping[str, str]
    """For each dotted key: `default`, `profile ..`, `file PATH:LINE`, `environment NAME`, `--set`, `command line`.
    Of an entry of `[[stream]]` only the keys that were given."""
    overrides: tuple[str, ...] = ()
    """What the command line gave with `--set`: it holds on a reload too."""
    directory: str | None = None
    """What the command line gave as the directory."""

    def again(self, environ: Mapping[str, str]) -> Loaded:
        """Read the same sources once more. Raises ConfigError."""
        return load(self.path or None, environ=environ, overrides=self.overrides, directory=self.directory)


def load(
    path: str | None = None,
    *,
    environ: Mapping[str, str],
    overrides: Sequence[str] = (),
    directory: str | None = None,
) -> Loaded:
    """Find, read, merge and check the configuration.

    `path` is that of `--config`, `overrides` those of `--set`, `directory` that of `run DIR`. Raises ConfigError, which
    tells everything that is wrong; values are held against each other only where each alone is right.
    """
    file = find(path, environ)
    findings = Findings()
    given = [
        *(read_file(file, findings) if file else []),
        *read_environment(environ, findings),
        *read_overrides(overrides, findings),
    ]
    if directory is not None:
        given.append(Setting("files.directory", directory, "command line", text=True))
    standard = read_standard(environ, given, findings)
    given = [*standard, *given]
    values, origins = _merge(given, findings)
    profile = values.get("agent.profile", "")
    if profile:
        below = [Setting(key, value, f"profile {profile}") for key, value in PROFILES[profile].items()]
        values, origins = _merge([*below, *given], Findings())
    config = build(values, origins, findings)
    if not findings:
        for problem in problems(config):
            findings.add(where(problem.key, origins), *problem)
    findings.tell()
    return Loaded(
        config=config,
        path=file,
        origins=dict.fromkeys(kinds(), "default") | origins,
        overrides=tuple(overrides),
        directory=directory,
    )


def find(path: str | None, environ: Mapping[str, str]) -> str:
    """The configuration file to read: the one named, else the first that is there, else none (empty)."""
    named = path or environ.get(PATH_VARIABLE)
    return named or next((one for one in SEARCH if os.path.exists(one)), "")


def _merge(settings: Iterable[Setting], findings: Findings) -> tuple[dict[str, Any], dict[str, str]]:
    """The last value of each key, converted, and its origin; values that do not fit are found and left out.

    The header of an entry has the value None.
    """
    last = {setting.key: setting for setting in settings}
    given = {key: setting.value for key, setting in last.items()}
    values: dict[str, Any] = {}
    for key, setting in last.items():
        if key.endswith("]"):
            values[key] = None
            continue
        kind = kind_of(key, given)
        try:
            values[key] = kind.from_text(str(setting.value)) if setting.text else kind.convert(setting.value)
        except ValueError as error:
            what, _, hint = str(error).partition("; ")
            findings.add(setting.origin, f"{key}:", what, hint)
    return values, {key: setting.origin for key, setting in last.items()}


def require_directory(config: Config) -> str:
    """The watched directory; ConfigError with a remedy when none is configured."""
    if not config.files.directory:
        raise ConfigError(
            "no directory to watch: files.directory is not set",
            hint='name it on the command line, or write directory = "/path" under [files] in agent.toml',
        )
    return config.files.directory
