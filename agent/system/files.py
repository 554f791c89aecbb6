"""Reading the kernel's files: whole, at once, below roots that the configuration may move.

procfs and sysfs generate a file's content as it is read, so a file is read in one go and never sought in.
Parsers take text, so a test feeds them without files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from agent.kit.errors import AgentError

T = TypeVar("T")
_CHUNK = 65536


class ReadingError(AgentError):
    """A file of the kernel is missing, may not be read, or does not have the form its manual page describes."""


def read(path: str) -> str:
    """The whole file. Bytes that are no UTF-8 come as surrogates."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = [piece := os.read(fd, _CHUNK)]
        while piece:
            pieces.append(piece := os.read(fd, _CHUNK))
    finally:
        os.close(fd)
    return b"".join(pieces).decode("utf-8", "surrogateescape")


def load(path: str, parse: Callable[[str], T]) -> T:
    """Read and parse a file that must be there; ReadingError says which file and what to look at."""
    try:
        text = read(path)
    except OSError as error:
        raise ReadingError(
            f"cannot read: {error.strerror}", path=path, hint="check [system] procfs, sysfs and rootfs"
        ) from error
    return _parsed(path, text, parse)


def load_optional(path: str, parse: Callable[[str], T]) -> T | None:
    """As load, but None where the file is missing or refuses to be read (a feature that is off)."""
    text = read_optional(path)
    return None if text is None else _parsed(path, text, parse)


def _parsed(path: str, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except (ValueError, LookupError) as error:
        raise ReadingError(
            f"unexpected content ({error})", path=path, hint="is this the kernel's own file? see proc(5)"
        ) from error


def read_optional(path: str) -> str | None:
    """The file's content; None where it is missing or refuses to be read."""
    try:
        return read(path)
    except OSError:
        return None


def read_number(path: str) -> float | None:
    """The one number in a file; None where there is no file. ReadingError where it says something else."""
    return load_optional(path, lambda text: float(int(text)))


def read_keyed(path: str) -> dict[str, float]:
    """A file of `key number` lines, as control groups have them; empty where it is missing."""
    return load_optional(path, parse_keyed) or {}


def parse_keyed(text: str) -> dict[str, float]:
    """Parse `key number` lines; other lines, which a newer kernel may add, are left out."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: float(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}
