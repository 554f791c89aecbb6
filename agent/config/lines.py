"""Where each key stands in a TOML document; tomllib does not tell."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any


def key_lines(text: str) -> dict[str, int]:
    """The line, from 1, of every table header and key in a valid TOML document."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    prefix = ""
    for line, statement in _statements(text):
        content = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            prefix = _header(content, counts)
            lines.setdefault(prefix, line)
        else:
            for key in _leaves(content, prefix):
                lines.setdefault(key, line)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each statement with its first line: the fewest lines that are TOML, because no beginning of one is."""
    pending: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        pending.append(line)
        statement = "\n".join(pending)
        try:
            tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        yield number - len(pending) + 1, statement
        pending.clear()


def _header(content: dict[str, Any], counts: dict[str, int]) -> str:
    """The dotted key of a table header, with the numbers of the entries that it is in."""
    key = ""
    while content:
        name, below = next(iter(content.items()))
        key = f"{key}.{name}" if key else name
        if isinstance(below, list):
            counts[key] = counts.get(key, 0) + 1
            below = below[0]
        if key in counts:
            key = f"{key}[{counts[key] - 1}]"
        content = below
    return key


def _leaves(value: object, key: str) -> Iterator[str]:
    """The dotted keys in a value, its own first."""
    if key:
        yield key
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _leaves(below, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _leaves(below, f"{key}[{number}]")
