"""What a collector is: one method that reads, and the reading it gives.

A collector reads files and returns; it does not log, time itself, sleep or keep a thread. What it raises is
reported by the registry, which alone does those things.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from agent.system.family import Family

Scope = Literal["host", "container"]


class Reading(msgspec.Struct, frozen=True):
    """What one collector found in one pass."""

    source: str
    """Where the numbers come from, for people; or why there are none."""
    families: tuple[Family, ...] = ()
    problem: str = ""
    """What could not be read although the reading as a whole succeeded."""


class Collector(Protocol):
    """One subject's numbers."""

    @property
    def name(self) -> str:
        """The subject: a word, the `collector` label."""
        ...

    @property
    def scope(self) -> Scope:
        """Whose numbers these are; /proc shows the host's even inside a container."""
        ...

    def collect(self) -> Reading:
        """Read once. Raises AgentError where a file that must be there is missing or is not what proc(5) says."""
        ...
