"""Secrets in configured values: `${env:NAME}` is a variable's value, `${file:/path}` a file's content, trimmed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from agent.kit.errors import ConfigError

REFERENCE = re.compile(r"\$\{(env|file):([^}]+)\}")


def resolve(text: str, environ: Mapping[str, str]) -> str:
    """The text with every reference replaced. Raises ConfigError for one that leads nowhere; tells no secret."""

    def value(found: re.Match[str]) -> str:
        kind, name = found.groups()
        if kind == "env":
            if name not in environ:
                raise ConfigError(f"the variable {name} is not set", hint="it is named in [[forward]] or [[notifier]]")
            return environ[name]
        try:
            return Path(name).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            what = getattr(error, "strerror", None) or "not UTF-8"
            raise ConfigError(
                f"a secret cannot be read: {what}", path=name, hint="it is named in [[forward]] or [[notifier]]"
            ) from None

    return REFERENCE.sub(value, text)


def resolve_all(headers: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """The same for each value."""
    return {name: resolve(value, environ) for name, value in headers.items()}
