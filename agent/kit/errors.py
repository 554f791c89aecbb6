"""The errors of the agent: what happened, where, and what the operator can do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Made = TypeVar("Made")


class AgentError(Exception):
    """An error that an operator can act on.

    `what` is one sentence, `path` the file or directory concerned, `position` an uncompressed byte offset in a
    stream or a physical offset in a file (the sentence says which), `hint` the remedy.
    """

    def __init__(self, what: str, *, path: str = "", position: int | None = None, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.path = path
        self.position = position
        self.hint = hint

    def __str__(self) -> str:
        parts = [self.what]
        if self.path:
            parts.append(f"path {printable(self.path)}")
        if self.position is not None:
            parts.append(f"position {self.position}")
        text = ", ".join(parts)
        return f"{text}; {self.hint}" if self.hint else text


class ConfigError(AgentError):
    """The configuration is wrong; the process exits with 78 (EX_CONFIG, sysexits.h).

    `others` are what else is wrong with it: whoever tells this error tells them too.
    """

    others: tuple[ConfigError, ...] = ()

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *map(str, self.others)])


def together(errors: list[ConfigError]) -> ConfigError:
    """One error that tells them all; there is at least one."""
    first, *others = errors
    first.others += tuple(others)
    return first


def every(makes: Iterable[Callable[[], Made]]) -> list[Made]:
    """What each of them makes. Raises one ConfigError that tells what is wrong with any of them."""
    made, errors = [], []
    for make in makes:
        try:
            made.append(make())
        except ConfigError as error:
            errors.append(error)
    if errors:
        raise together(errors)
    return made


class LockedError(AgentError):
    """Another agent, or a command that changes things, holds the directory."""

    def __init__(self, what: str, *, path: str = "", pid: int | None = None, hint: str = "") -> None:
        super().__init__(what, path=path, hint=hint)
        self.pid = pid


class RefusedError(AgentError):
    """A file that must not be sealed: it is no line log, not ours to open, or on a file system without holes.

    `reason` is one word of a bounded set, fit for a metric's label.
    """

    reason = ""


class CorruptError(AgentError):
    """A segment, part or state file whose content contradicts its own checksums or its neighbours."""


class UnknownError(AgentError):
    """There is nothing of the name that was asked for."""


class NoAnswerError(AgentError):
    """Whoever should carry out a request did not in time; it may still be carried out."""


class StoppingError(AgentError):
    """A long step was asked to end early; whatever it did so far is safe to find again."""


def printable(name: str | bytes) -> str:
    """A file name fit for a log line, a label or a terminal: no control characters, no lone surrogates.

    Every character that is not printable becomes its escape, so two names never print alike by accident.
    """
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
