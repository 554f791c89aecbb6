"""What can be asked of a running agent, and of a command that does its work while none runs."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from agent.control.status import Status


class Rotated(msgspec.Struct, frozen=True, kw_only=True):
    """What a rotation request did to one stream."""

    stream: str
    outcome: Literal["sealed", "nothing", "refused", "failed"]
    segment: str = ""
    bytes: int = 0
    records: int = 0
    message: str = ""


class PlanItem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing cleanup does, or with `dry_run` would do."""

    action: Literal["seal", "retire", "mark", "release", "forget"]
    stream: str
    target: str
    reason: str
    bytes: int
    done: bool = False
    message: str = ""


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a reload."""

    ok: bool
    changed: list[str] = []
    """Keys whose value differs from before."""
    restart_needed: list[str] = []
    """Changed keys that only a restart brings into force."""
    message: str = ""


class Control(Protocol):
    """The agent as commands and pages see it. Every call may come from any thread and returns within its time.

    Raises AgentError with what, where and a hint.
    """

    def status(self) -> Status:
        """The newest snapshot; never waits for the disk."""
        ...

    def rotate(self, streams: list[str], *, timeout: float = 60.0) -> list[Rotated]:
        """Seal these streams now, or all where the list is empty."""
        ...

    def cleanup(self, *, dry_run: bool = False, timeout: float = 300.0) -> list[PlanItem]:
        """One pass of everything that is due: rotation and retention."""
        ...

    def reload(self, *, timeout: float = 30.0) -> Reloaded:
        """Read the configuration again; a bad one changes nothing."""
        ...
