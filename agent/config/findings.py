"""What is wrong with a configuration: collected, so that all of it is told at once."""

from __future__ import annotations

import re
from collections.abc import Mapping

from agent.kit.errors import ConfigError, together


class Findings:
    """The errors found so far, in the order in which a reader meets them: the file's by line, then the others."""

    def __init__(self) -> None:
        self._errors: list[tuple[tuple[int, int], ConfigError]] = []

    def __bool__(self) -> bool:
        return bool(self._errors)

    def add(self, origin: str, key: str, problem: str, hint: str = "") -> None:
        """Something is wrong with `key`, which was given at `origin`; the same is told once."""
        found = (_order(origin), fail(origin, key, problem, hint))
        if str(found[1]) not in {str(error) for _, error in self._errors}:
            self._errors.append(found)

    def tell(self) -> None:
        """Raise ConfigError where there is anything."""
        errors = [error for _, error in sorted(self._errors, key=lambda one: one[0])]
        if errors:
            raise together(errors)


def fail(origin: str, key: str, problem: str, hint: str = "") -> ConfigError:
    """The error for `key`, found at `origin`."""
    place = origin.removeprefix("file ")
    return ConfigError(f"{place}: {key} {problem}" if key else f"{place}: {problem}", hint=hint)


def where(key: str, origins: Mapping[str, str]) -> str:
    """Where a key's value came from; for one that an entry inherits, the entry."""
    while key and key not in origins:
        key = key.rpartition(".")[0]
    return origins.get(key, "configuration")


def _order(origin: str) -> tuple[int, int]:
    line = re.search(r":(\d+)$", origin)
    return (0, int(line[1])) if line and origin.startswith("file ") else (1, 0)
